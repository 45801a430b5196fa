#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <mutex>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace salient::tests {

/// Marks an answer after which the server keeps the connection and says nothing more.
inline std::string hold_open(std::string answer) {
  return '\0' + std::move(answer);
}

/// A server on 127.0.0.1 that gives scripted answers, one a connection, the last one again and again.
class HttpServer {
 public:
  explicit HttpServer(std::vector<std::string> answers) : answers_(std::move(answers)) {
    listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* generic = reinterpret_cast<sockaddr*>(&address);
    if (listener_ < 0 || ::bind(listener_, generic, size) != 0 || ::listen(listener_, 8) != 0 ||
        ::getsockname(listener_, generic, &size) != 0) {
      throw std::runtime_error("the test's server cannot listen");
    }
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] { serve(); });
  }
  ~HttpServer() {
    ::shutdown(listener_, SHUT_RDWR);
    thread_.join();
    ::close(listener_);
    for (const int connection : held_) ::close(connection);
  }
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  std::string endpoint() const { return "http://127.0.0.1:" + std::to_string(port_); }

  /// The heads of the requests so far.
  std::vector<std::string> requests() const {
    const std::lock_guard lock(mutex_);
    return requests_;
  }

 private:
  void serve() {
    for (size_t i = 0;; ++i) {
      const int connection = ::accept(listener_, nullptr, nullptr);
      if (connection < 0) return;
      std::string request;
      char buffer[4096];
      while (request.find("\r\n\r\n") == std::string::npos) {
        const ssize_t count = ::recv(connection, buffer, sizeof buffer, 0);
        if (count <= 0) break;
        request.append(buffer, static_cast<size_t>(count));
      }
      {
        const std::lock_guard lock(mutex_);
        requests_.push_back(request);
      }
      std::string_view rest = answers_[std::min(i, answers_.size() - 1)];
      const bool hold = rest.starts_with('\0');
      if (hold) rest.remove_prefix(1);
      while (!rest.empty()) {
        const ssize_t count = ::send(connection, rest.data(), rest.size(), MSG_NOSIGNAL);
        if (count <= 0) break;
        rest.remove_prefix(static_cast<size_t>(count));
      }
      if (hold) {
        held_.push_back(connection);
        continue;
      }
      ::shutdown(connection, SHUT_RDWR);
      ::close(connection);
    }
  }

  std::vector<std::string> answers_;
  int listener_ = -1;
  int port_ = 0;
  std::vector<int> held_;  ///< connections that stay open
  std::thread thread_;
  mutable std::mutex mutex_;
  std::vector<std::string> requests_;
};

/// An answer with a body, and a length that may promise more than that.
inline std::string http_answer(const std::string& status, const std::string& body, const std::string& headers = {},
                               size_t missing = 0) {
  return "HTTP/1.1 " + status + "\r\nContent-Length: " + std::to_string(body.size() + missing) +
         "\r\nConnection: close\r\n" + headers + "\r\n" + body;
}

}  // namespace salient::tests
