#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <stop_token>
#include <string>

#include "serve/engine.h"
#include "serve/routes.h"

namespace salient::serve {

struct ServerOptions {
  std::string host = "127.0.0.1";  ///< an address, or a name of this machine
  uint16_t port = 8080;            ///< 0: any that is free
  int threads = 2;                 ///< for JSON, templates and sending
  int64_t most_connections = 512;
  uint64_t most_header_bytes = 16 << 10;
  uint64_t most_body_bytes = 8 << 20;
  std::chrono::seconds read_timeout{60};   ///< for a whole request, once it has begun or the connection is new
  std::chrono::seconds write_timeout{60};  ///< for a part of an answer that the reader does not take
  std::chrono::seconds ping_interval{15};  ///< a stream that has nothing to say says that it is alive
  std::chrono::seconds grace{10};          ///< for replies to end when the server is stopped
};

/// Speaks HTTP. Everything it is asked goes to the routes; it adds limits, timeouts and streams.
class Server {
 public:
  /// Listens. Throws invalid_input when the address cannot be had.
  Server(Routes& routes, Engine& engine, const ServerOptions& options);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  uint16_t port() const;
  /// Serves until a stop is requested: then nothing new is taken, and replies have the grace period to end.
  void run(const std::stop_token& stop);

 private:
  class Listener;
  std::unique_ptr<Listener> listener_;
};

}  // namespace salient::serve
