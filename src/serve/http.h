#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace salient::serve {

/// A request as the routes see it. Names of headers are in lower case.
struct HttpRequest {
  std::string method;
  std::string path;  ///< without the query
  std::map<std::string, std::string> headers;
  std::string body;
  std::string client;   ///< the address it comes from
  std::string query{};  ///< of the URL: what follows the question mark

  /// Empty when there is none.
  std::string_view header(const std::string& name) const;
};

struct HttpAnswer {
  int status = 200;
  std::string content_type = "application/json";
  std::string body;
  std::vector<std::pair<std::string, std::string>> headers;
};

/// An answer that takes time. Destroying it gives up what is still being done for it.
class Exchange {
 public:
  /// What there is to send now: a whole answer, or a part of a stream of events, which begins with the first part.
  struct Part {
    std::variant<std::string, HttpAnswer> content;
    bool last = false;
  };
  virtual ~Exchange() = default;
  /// `wake` is called, from any thread, when `next` may have something new. Called once, before `next`.
  virtual void on_news(std::function<void()> wake) = 0;
  /// Does not wait: an empty string that is not the last part means that there is nothing yet.
  virtual Part next() = 0;
  /// Whether the answer is a stream of events, which pings keep alive.
  virtual bool is_stream() const = 0;
};

using Answer = std::variant<HttpAnswer, std::unique_ptr<Exchange>>;

}  // namespace salient::serve
