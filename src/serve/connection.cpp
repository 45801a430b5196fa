#include "serve/connection.h"

#include <fmt/format.h>

#include <array>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/http.hpp>
#include <cctype>
#include <exception>
#include <optional>
#include <utility>

#include "serve/answer_json.h"
#include "serve/failure.h"

namespace salient::serve {

namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;

constexpr auto kAwait = asio::as_tuple(asio::use_awaitable);

HttpRequest to_ours(const http::request<http::string_body>& request, const std::string& client) {
  HttpRequest ours;
  ours.method = std::string(request.method_string());
  const std::string target(request.target());
  ours.path = target.substr(0, target.find('?'));
  if (ours.path.size() < target.size()) ours.query = target.substr(ours.path.size() + 1);
  for (const auto& field : request) {
    std::string name(field.name_string());
    for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    ours.headers[name] = std::string(field.value());
  }
  ours.body = request.body();
  ours.client = client;
  return ours;
}

/// The answer to a request that could not be read; none for a client that is gone.
std::optional<HttpAnswer> answer_to(const beast::error_code& error, const ServerOptions& options) {
  if (error == http::error::body_limit) {
    return to_answer(Refusal(
        413, fmt::format("the body is longer than the {} bytes that this server takes", options.most_body_bytes)));
  }
  if (error == http::error::header_limit) {
    return to_answer(Refusal(
        431, fmt::format("the head is longer than the {} bytes that this server takes", options.most_header_bytes)));
  }
  const bool is_gone = error == http::error::end_of_stream || error == http::error::partial_message;
  if (error.category() != make_error_code(http::error::bad_method).category() || is_gone) return std::nullopt;
  return to_answer(Refusal(400, "this is not HTTP: " + error.message()));
}

}  // namespace

/// Wakes the coroutine of an answer. Everything but `wake` happens on the connection's strand.
struct Connection::News : std::enable_shared_from_this<News> {
  explicit News(const asio::any_io_executor& executor) : timer(executor) {}
  /// From any thread.
  void wake() {
    asio::post(timer.get_executor(), [self = shared_from_this()] {
      self->is_here = true;
      self->timer.cancel();
    });
  }
  asio::steady_timer timer;
  bool is_here = false;
  bool client_left = false;
};

Connection::Connection(asio::ip::tcp::socket socket, ServerState& state) : stream_(std::move(socket)), state_(state) {
  ++state_.connections;
  beast::error_code ignored;
  client_ = stream_.socket().remote_endpoint(ignored).address().to_string();
  stream_.socket().set_option(asio::ip::tcp::no_delay(true), ignored);
}

asio::awaitable<void> Connection::serve() {
  Request request;
  if (state_.connections > state_.options.most_connections) {
    const HttpRequest unread;
    request.keep_alive(false);
    HttpAnswer refusal = to_answer(Refusal(503, "there are too many connections", {}, "too_many_connections"));
    co_await send(std::move(refusal), request, unread);
  } else {
    while (co_await read(request) && co_await answer_one(request)) request = {};
  }
  co_await linger();
}

/// Takes and forgets what the client still sends: closing before would take back the answer it has not read yet.
asio::awaitable<void> Connection::linger() {
  constexpr std::chrono::seconds kLongest{2};
  beast::error_code error;
  stream_.socket().shutdown(asio::ip::tcp::socket::shutdown_send, error);
  stream_.expires_after(kLongest);
  std::array<char, 16384> forgotten;
  while (!error) {
    const auto [read_error, size] = co_await stream_.async_read_some(asio::buffer(forgotten), kAwait);
    error = read_error;
  }
}

/// Reads a request; false when there is none, or one that has been refused.
asio::awaitable<bool> Connection::read(Request& request) {
  http::request_parser<http::string_body> parser;
  parser.header_limit(static_cast<uint32_t>(state_.options.most_header_bytes));
  parser.body_limit(state_.options.most_body_bytes);
  stream_.expires_after(state_.options.read_timeout);
  auto [error, size] = co_await http::async_read_header(stream_, buffer_, parser, kAwait);
  if (!error && beast::iequals(parser.get()[http::field::expect], "100-continue")) {
    http::response<http::empty_body> go_on(http::status::continue_, 11);
    co_await http::async_write(stream_, go_on, kAwait);
  }
  if (!error) {
    stream_.expires_after(state_.options.read_timeout);
    std::tie(error, size) = co_await http::async_read(stream_, buffer_, parser, kAwait);
  }
  if (error) {
    const HttpRequest unread;
    request.keep_alive(false);
    std::optional<HttpAnswer> refusal = answer_to(error, state_.options);
    if (refusal) co_await send(std::move(*refusal), request, unread);
    co_return false;
  }
  request = parser.release();
  co_return true;
}

asio::awaitable<bool> Connection::answer_one(const Request& request) {
  const HttpRequest ours = to_ours(request, client_);
  Answer answer = state_.routes.answer(ours);
  if (auto* whole = std::get_if<HttpAnswer>(&answer)) co_return co_await send(std::move(*whole), request, ours);
  ++state_.exchanges;
  const bool goes_on = co_await pump(std::get<std::unique_ptr<Exchange>>(std::move(answer)), request, ours);
  --state_.exchanges;
  co_return goes_on;
}

asio::awaitable<bool> Connection::send(HttpAnswer answer, const Request& request, const HttpRequest& ours) {
  state_.metrics.count_request(answer.status);
  http::response<http::string_body> response(static_cast<http::status>(answer.status), request.version());
  response.set(http::field::content_type, answer.content_type);
  response.set("X-Content-Type-Options", "nosniff");
  for (const auto& [name, value] : answer.headers) response.set(name, value);
  for (const auto& [name, value] : cors_headers(state_.routes.access(), ours)) response.set(name, value);
  response.body() = std::move(answer.body);
  response.keep_alive(request.keep_alive());
  response.prepare_payload();
  if (request.method() == http::verb::head) response.body().clear();
  stream_.expires_after(state_.options.write_timeout);
  const auto [error, size] = co_await http::async_write(stream_, response, kAwait);
  co_return !error && response.keep_alive();
}

/// Notices when the client goes while an answer is made for it.
void Connection::watch(const std::shared_ptr<News>& news) {
  auto& socket = stream_.socket();
  socket.async_wait(asio::ip::tcp::socket::wait_read, [&socket, news](const beast::error_code& error) {
    if (error) return;  // cancelled, or the socket is gone and with it what `socket` refers to
    beast::error_code peek_error;
    char byte;
    socket.non_blocking(true, peek_error);
    const size_t size = socket.receive(asio::buffer(&byte, 1), asio::ip::tcp::socket::message_peek, peek_error);
    // Bytes are the next request, sent early: it waits, and whether the client goes is seen when writing.
    news->client_left = size == 0 && peek_error != asio::error::would_block;
    news->is_here = true;
    news->timer.cancel();
  });
}

asio::awaitable<bool> Connection::pump(std::unique_ptr<Exchange> exchange, const Request& request,
                                       const HttpRequest& ours) {
  const auto news = std::make_shared<News>(stream_.get_executor());
  const std::stop_callback on_shut_down(state_.shut_down.get_token(), [news] { news->wake(); });
  watch(news);
  bool has_begun = false;
  bool goes_on = true;
  const bool chunked = request.version() >= 11;
  for (bool first = true, last = false; !last && goes_on; first = false) {
    news->is_here = false;
    Exchange::Part part;
    try {
      if (first) exchange->on_news([news] { news->wake(); });
      if (state_.shut_down.stop_requested()) throw Refusal(503, "the server is shutting down", {}, "shutting_down");
      part = exchange->next();
    } catch (...) {
      const Refusal refusal = refusal_of(std::current_exception());
      part = {to_answer(refusal), true};
      if (has_begun) part.content = event(to_json(refusal));
    }
    last = part.last;
    // What it holds, a model for one, is free before the client can ask for the next thing.
    if (last) exchange = nullptr;
    if (auto* whole = std::get_if<HttpAnswer>(&part.content)) {
      stream_.socket().cancel();
      co_return co_await send(std::move(*whole), request, ours);
    }
    std::string& text = std::get<std::string>(part.content);
    if (text.empty() && !last && !news->is_here) {
      news->timer.expires_after(state_.options.ping_interval);
      const auto [cancelled] = co_await news->timer.async_wait(kAwait);
      if (!cancelled && exchange->is_stream()) text = ": ping\n\n";
    }
    if (news->client_left) co_return false;
    if (text.empty()) continue;
    if (!has_begun) goes_on = co_await send_head(request, ours);
    has_begun = true;
    if (goes_on) goes_on = co_await send_part(text, chunked);
  }
  stream_.socket().cancel();
  if (!goes_on || !chunked) co_return false;
  stream_.expires_after(state_.options.write_timeout);
  const auto [error, size] = co_await asio::async_write(stream_, http::make_chunk_last(), kAwait);
  co_return !error && request.keep_alive();
}

asio::awaitable<bool> Connection::send_head(const Request& request, const HttpRequest& ours) {
  state_.metrics.count_request(200);
  http::response<http::empty_body> response(http::status::ok, request.version());
  response.set(http::field::content_type, "text/event-stream");
  response.set(http::field::cache_control, "no-cache");
  response.set("X-Accel-Buffering", "no");
  response.set("X-Content-Type-Options", "nosniff");
  for (const auto& [name, value] : cors_headers(state_.routes.access(), ours)) response.set(name, value);
  const bool chunked = request.version() >= 11;
  response.keep_alive(chunked && request.keep_alive());
  response.chunked(chunked);
  http::response_serializer<http::empty_body> serializer(response);
  stream_.expires_after(state_.options.write_timeout);
  const auto [error, size] = co_await http::async_write_header(stream_, serializer, kAwait);
  co_return !error;
}

asio::awaitable<bool> Connection::send_part(const std::string& text, bool chunked) {
  stream_.expires_after(state_.options.write_timeout);
  if (chunked) {
    const auto [error, size] = co_await asio::async_write(stream_, http::make_chunk(asio::buffer(text)), kAwait);
    co_return !error;
  }
  const auto [error, size] = co_await asio::async_write(stream_, asio::buffer(text), kAwait);
  co_return !error;
}

}  // namespace salient::serve
