#pragma once

#include <atomic>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http/message.hpp>
#include <boost/beast/http/string_body.hpp>
#include <memory>
#include <stop_token>
#include <string>

#include "serve/http.h"
#include "serve/metrics.h"
#include "serve/routes.h"
#include "serve/server.h"

namespace salient::serve {

/// What all connections of a server share.
struct ServerState {
  Routes& routes;
  Metrics& metrics;
  const ServerOptions options;
  std::atomic<int64_t> connections = 0;
  std::atomic<int64_t> exchanges = 0;  ///< answers in work
  std::stop_source shut_down;          ///< the grace period is over
};

/// One client's connection: request after request until either side ends it.
class Connection {
 public:
  Connection(boost::asio::ip::tcp::socket socket, ServerState& state);
  ~Connection() { --state_.connections; }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  boost::asio::awaitable<void> serve();

 private:
  using Request = boost::beast::http::request<boost::beast::http::string_body>;
  struct News;

  boost::asio::awaitable<bool> read(Request& request);
  boost::asio::awaitable<bool> answer_one(const Request& request);
  boost::asio::awaitable<bool> send(HttpAnswer answer, const Request& request, const HttpRequest& ours);
  boost::asio::awaitable<bool> pump(std::unique_ptr<Exchange> exchange, const Request& request,
                                    const HttpRequest& ours);
  boost::asio::awaitable<bool> send_head(const Request& request, const HttpRequest& ours);
  boost::asio::awaitable<bool> send_part(const std::string& text, bool chunked);
  boost::asio::awaitable<void> linger();
  void watch(const std::shared_ptr<News>& news);

  boost::beast::tcp_stream stream_;
  ServerState& state_;
  boost::beast::flat_buffer buffer_;
  std::string client_;
};

}  // namespace salient::serve
