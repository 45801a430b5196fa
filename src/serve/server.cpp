#include "serve/server.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "core/error.h"
#include "serve/connection.h"

namespace salient::serve {

namespace {

namespace asio = boost::asio;
using asio::ip::tcp;

#ifdef _WIN32
// With the other option a second server could take the same port.
using PortIsOurs = asio::detail::socket_option::boolean<SOL_SOCKET, SO_EXCLUSIVEADDRUSE>;
#else
// Also right after an earlier server ended.
using PortIsOurs = tcp::acceptor::reuse_address;
#endif

tcp::endpoint resolve(asio::io_context& context, const std::string& host, uint16_t port) {
  boost::system::error_code error;
  tcp::resolver resolver(context);
  const auto found = resolver.resolve(host, std::to_string(port), tcp::resolver::passive, error);
  if (error || found.empty()) {
    core::fail(core::ErrorKind::kInvalidInput, "--host is {}, which is no address of this machine: {}", host,
               error.message());
  }
  return found.begin()->endpoint();
}

}  // namespace

class Server::Listener {
 public:
  Listener(Routes& routes, Engine& engine, const ServerOptions& options)
      : engine_(engine), state_{routes, engine.metrics(), options, {}, {}, {}}, acceptor_(context_) {
    const tcp::endpoint endpoint = resolve(context_, options.host, options.port);
    try {
      acceptor_.open(endpoint.protocol());
      acceptor_.set_option(PortIsOurs(true));
      acceptor_.bind(endpoint);
      acceptor_.listen();
    } catch (const boost::system::system_error& error) {
      core::fail(core::ErrorKind::kInvalidInput, "{} port {} cannot be listened on: {}", options.host, options.port,
                 error.code().message());
    }
  }

  uint16_t port() const { return acceptor_.local_endpoint().port(); }

  void run(const std::stop_token& stop) {
    asio::co_spawn(context_, accept(), asio::detached);
    std::vector<std::jthread> threads;
    for (int i = 0; i < state_.options.threads; ++i) threads.emplace_back([this] { context_.run(); });
    wait_for(stop);
    asio::post(context_, [this] { acceptor_.close(); });
    engine_.drain();
    wait_for([this] { return state_.exchanges > 0 || engine_.open_replies() > 0; }, state_.options.grace);
    state_.shut_down.request_stop();
    constexpr std::chrono::seconds kToSayGoodbye{2};
    wait_for([this] { return state_.exchanges > 0; }, kToSayGoodbye);
    context_.stop();
  }

 private:
  asio::awaitable<void> accept() {
    while (acceptor_.is_open()) {
      auto strand = asio::make_strand(context_);
      auto [error, socket] = co_await acceptor_.async_accept(strand, asio::as_tuple(asio::use_awaitable));
      if (!error) {
        asio::co_spawn(strand, serve(std::move(socket)), asio::detached);
        continue;
      }
      // Out of file handles, say: others will be closed.
      constexpr std::chrono::milliseconds kPause{50};
      asio::steady_timer pause(context_, kPause);
      co_await pause.async_wait(asio::as_tuple(asio::use_awaitable));
    }
  }

  asio::awaitable<void> serve(tcp::socket socket) {
    Connection connection(std::move(socket), state_);
    co_await connection.serve();
  }

  static void wait_for(const std::stop_token& stop) {
    std::mutex mutex;
    std::unique_lock lock(mutex);
    std::condition_variable_any never;
    never.wait(lock, stop, [] { return false; });
  }

  template <typename Busy>
  static void wait_for(const Busy& is_busy, std::chrono::seconds longest) {
    const auto end = std::chrono::steady_clock::now() + longest;
    constexpr std::chrono::milliseconds kLook{20};
    while (is_busy() && std::chrono::steady_clock::now() < end) std::this_thread::sleep_for(kLook);
  }

  Engine& engine_;
  ServerState state_;
  asio::io_context context_;  ///< destroyed before what connections refer to
  tcp::acceptor acceptor_;
};

Server::Server(Routes& routes, Engine& engine, const ServerOptions& options)
    : listener_(std::make_unique<Listener>(routes, engine, options)) {}

Server::~Server() = default;

uint16_t Server::port() const {
  return listener_->port();
}

void Server::run(const std::stop_token& stop) {
  listener_->run(stop);
}

}  // namespace salient::serve
