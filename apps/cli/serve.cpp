#include <fmt/format.h>

#include <cstdio>
#include <optional>
#include <set>

#include "api/config.h"
#include "api/locate.h"
#include "api/run_options.h"
#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/model.h"
#include "core/error.h"
#include "core/os.h"
#include "serve/chat_routes.h"
#include "serve/page_routes.h"
#include "serve/server.h"

namespace salient::cli {

namespace {

struct Flags {
  std::vector<std::string> models;
  ModelOptions model;
  GenerationConfig sampling;
  serve::ServerOptions server;
  serve::AccessRules access;
  bool allow_public = false;
  int64_t context = 0;
  int64_t parallel = 16;
  int64_t most_waiting = 256;
  int64_t most_loaded = 1;
  double kv_gigabytes = 0;
  int64_t grace = 10;
  int64_t ping = 15;
  std::string store;
  std::string open = "auto";
};

constexpr const char* kNoStore = "off";

/// A model's name in the API: the last part of a path, or the name on the hub as it was given.
std::string name_of(const std::string& model) {
  const std::filesystem::path path(model);
  if (!std::filesystem::exists(path)) return model;
  const auto whole = std::filesystem::weakly_canonical(path);
  return (whole.extension() == ".gguf" ? whole.stem() : whole.filename()).string();
}

std::vector<serve::ModelEntry> find_models(const Flags& flags, const std::stop_token& stop) {
  std::vector<serve::ModelEntry> entries;
  std::set<std::string> names;
  for (const std::string& model : flags.models) {
    std::string name = name_of(model);
    if (!names.insert(name).second) {
      core::fail(core::ErrorKind::kInvalidInput, "two models are called {}: name their folders differently", name);
    }
    entries.push_back({std::move(name), api::locate_model(model, show(stop))});
  }
  return entries;
}

void check_address(const Flags& flags) {
  if (serve::is_loopback(flags.server.host) || !flags.access.api_keys.empty() || flags.allow_public) return;
  core::fail(core::ErrorKind::kInvalidInput,
             "--host is {}, where others can reach this server, and there is no --api-key: give one, or "
             "--allow-public to let everybody use it",
             flags.server.host);
}

/// The conversations of the page; nothing with --store off.
struct Chats {
  Chats(serve::Engine& engine, const std::filesystem::path& file, const serve::RequestDefaults& defaults)
      : store(file), writer(engine, store), routes(engine, store, writer, defaults) {}
  serve::ChatStore store;
  serve::ReplyWriter writer;
  serve::ChatRoutes routes;
};

std::string default_store() {
  const std::filesystem::path folder = core::os::data_folder();
  return folder.empty() ? kNoStore : (folder / "chats.sqlite").string();
}

/// Where the server is.
std::string url_of(const std::string& host, uint16_t port) {
  const bool is_ipv6 = host.find(':') != std::string::npos;
  return fmt::format("http://{}{}{}:{}", is_ipv6 ? "[" : "", host, is_ipv6 ? "]" : "", port);
}

void open_page(const Flags& flags, const std::string& url) {
  constexpr int kOutput = 1;
  const bool is_wanted =
      flags.open == "on" || (flags.open == "auto" && core::os::is_terminal(kOutput) && core::os::has_desktop());
  if (is_wanted && !core::os::open_in_browser(url)) fmt::print(stderr, "salient: no browser could be started\n");
}

/// Says what the default model runs on; it is not kept here, so that it can go when another one needs its place.
void load_first(serve::Engine& engine) {
  const auto model = engine.load(0, [] {}).get();
  if (!model->opened.reason.empty()) fmt::print(stderr, "{}\n", model->opened.reason);
  fmt::print(stderr, "{}\n", api::describe_run(model->runner));
}

void run(Flags& flags) {
  flags.sampling.check();
  check_address(flags);
  const Interrupt interrupt;
  serve::EngineOptions options;
  options.threads = flags.model.threads;
  options.most_open = flags.parallel + flags.most_waiting;
  options.most_loaded = flags.most_loaded;
  options.model.context = flags.context;
  options.model.parallel = flags.parallel;
  options.model.kv_bytes = static_cast<uint64_t>(flags.kv_gigabytes * (1 << 30));
  options.model.runner = api::runner_options(flags.model, {});
  serve::Engine engine(find_models(flags, interrupt.token()), options);
  // The first model is loaded before anything is answered, so that what is wrong with it is said here.
  load_first(engine);
  const serve::RequestDefaults defaults{api::to_options(flags.sampling).sampling};
  serve::Routes routes(engine, flags.access, defaults);
  serve::PageRoutes page(engine, {version(), build_commit(), active_kernel_name()});
  routes.add([&](const auto& request) { return page.answer(request); });
  std::optional<Chats> chats;
  if (flags.store == kNoStore) {
    routes.add(serve::answer_without_store);
  } else {
    chats.emplace(engine, flags.store, defaults);
    routes.add([&](const auto& request) { return chats->routes.answer(request); });
  }
  flags.server.grace = std::chrono::seconds(flags.grace);
  flags.server.ping_interval = std::chrono::seconds(flags.ping);
  serve::Server server(routes, engine, flags.server);
  const std::string url = url_of(flags.server.host, server.port());
  fmt::print("salient: listening on {}\n", url);
  std::fflush(stdout);
  open_page(flags, url);
  server.run(interrupt.token());
}

}  // namespace

void add_serve(CLI::App& program) {
  auto flags = std::make_shared<Flags>();
  CLI::App* command = program.add_subcommand("serve", "Serve models over HTTP with OpenAI's API and a chat page");
  command
      ->add_option("MODEL", flags->models, "Models: folders, GGUF files, or names on the hub; the first is the default")
      ->required();
  add_threads_option(*command, flags->model.threads);
  add_option(*command, "--host", flags->server.host, "Address to listen on; one that others can reach needs --api-key");
  add_option(*command, "--port", flags->server.port, "Port to listen on; 0: any that is free");
  add_option(*command, "--api-key", flags->access.api_keys, "Key that clients must send (repeatable)");
  add_flag(*command, "--allow-public", flags->allow_public, "Listen where others can reach it without a key");
  add_option(*command, "--allowed-host", flags->access.allowed_hosts,
             "Name this server is reached by, besides localhost and addresses (repeatable)");
  add_option(*command, "--cors-origin", flags->access.cors_origins,
             "Origin whose web pages may use the API; *: all (repeatable)");
  add_option(*command, "--parallel", flags->parallel, "Replies written at once")->check(CLI::Range(1, 1024));
  add_option(*command, "--queue", flags->most_waiting, "Replies that may wait; more are refused with 429")
      ->check(at_least(0));
  add_option(*command, "--context", flags->context, "Prompt and reply together; 0: what the model was trained for")
      ->check(at_least(0));
  add_option(*command, "--kv-memory", flags->kv_gigabytes,
             "GiB for keys and values, kept prompts included; 0: half of what is free once the model is loaded")
      ->check(at_least(0));
  add_option(*command, "--models-in-memory", flags->most_loaded,
             "Models to hold at once; for one more, the one that has been idle longest goes")
      ->check(CLI::Range(1, 64));
  add_option(*command, "--ping", flags->ping, "Seconds after which a stream with nothing to say says that it is alive")
      ->check(CLI::Range(1, 3600));
  add_option(*command, "--grace", flags->grace, "Seconds for replies to end when the server is stopped")
      ->check(at_least(0));
  flags->store = default_store();
  add_option(*command, "--store", flags->store, "File with the conversations of the chat page; off: keep none");
  add_option(*command, "--open", flags->open,
             "Open the chat page in a browser: on, off, or auto: from a terminal on a desktop")
      ->check(CLI::IsMember({"on", "off", "auto"}));
  add_device_option(*command, flags->model.device);
  add_precision_options(*command, flags->model);
  add_sampling_options(*command, flags->sampling);
  command->callback([flags] { run(*flags); });
}

}  // namespace salient::cli
