#include "serve/metrics.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

namespace salient::serve {

namespace {

/// A label's value, quoted as the format wants it.
std::string quoted(const std::string& value) {
  std::string result = "\"";
  for (const char c : value) {
    if (c == '\\' || c == '"') result += '\\';
    result += c == '\n' ? ' ' : c;
  }
  return result + '"';
}

struct Gauge {
  const char* name;
  const char* kind;
  const char* help;
  int64_t (*value)(const ModelLoad& model);
};

constexpr Gauge kGauges[] = {
    {"salient_requests_running", "gauge", "Replies that every step goes on with.",
     [](const ModelLoad& model) { return model.status.running; }},
    {"salient_requests_waiting", "gauge", "Replies in the queue.",
     [](const ModelLoad& model) { return model.status.waiting; }},
    {"salient_kv_pages", "gauge", "Pages that keys and values may take.",
     [](const ModelLoad& model) { return model.status.most_pages; }},
    {"salient_kv_pages_in_use", "gauge", "Pages of running replies and of kept prompts.",
     [](const ModelLoad& model) { return model.status.pages_in_use; }},
    {"salient_kv_pages_kept", "gauge", "Pages kept for coming prompts.",
     [](const ModelLoad& model) { return model.status.pages_kept; }},
    {"salient_prompt_tokens_total", "counter", "Tokens of prompts, cached ones included.",
     [](const ModelLoad& model) { return model.status.prompt_tokens; }},
    {"salient_cached_tokens_total", "counter", "Tokens of prompts that needed no computing.",
     [](const ModelLoad& model) { return model.status.cached_tokens; }},
    {"salient_generated_tokens_total", "counter", "Tokens of replies.",
     [](const ModelLoad& model) { return model.status.generated_tokens; }},
    {"salient_preemptions_total", "counter", "Replies that gave up their pages for older ones for a while.",
     [](const ModelLoad& model) { return model.status.preemptions; }},
    {"salient_weight_bytes_total", "counter", "Bytes of weights read; its rate is the bandwidth.",
     [](const ModelLoad& model) { return static_cast<int64_t>(model.weight_bytes); }},
};

void add_header(std::string& out, const char* name, const char* kind, const char* help) {
  fmt::format_to(std::back_inserter(out), "# HELP {} {}\n# TYPE {} {}\n", name, help, name, kind);
}

}  // namespace

void Histogram::count(double seconds) {
  ++counts_[std::lower_bound(kBounds.begin(), kBounds.end(), seconds) - kBounds.begin()];
  sum_ += seconds;
}

std::string Histogram::text(const std::string& name) const {
  std::string out;
  uint64_t total = 0;
  for (size_t i = 0; i < counts_.size(); ++i) {
    total += counts_[i];
    const std::string bound = i < kBounds.size() ? fmt::format("{}", kBounds[i]) : "+Inf";
    fmt::format_to(std::back_inserter(out), "{}_bucket{{le=\"{}\"}} {}\n", name, bound, total);
  }
  return out + fmt::format("{}_sum {}\n{}_count {}\n", name, sum_, name, total);
}

void Metrics::count_request(int status) {
  const std::lock_guard lock(mutex_);
  ++requests_[status];
}

void Metrics::count_first_token(double seconds) {
  const std::lock_guard lock(mutex_);
  first_token_.count(seconds);
}

void Metrics::count_token(double seconds) {
  const std::lock_guard lock(mutex_);
  between_tokens_.count(seconds);
}

void Metrics::count_reply(double seconds, const char* finish) {
  const std::lock_guard lock(mutex_);
  reply_.count(seconds);
  ++replies_[finish];
}

std::string Metrics::text(const std::vector<ModelLoad>& models) const {
  std::string out;
  for (const Gauge& gauge : kGauges) {
    add_header(out, gauge.name, gauge.kind, gauge.help);
    for (const ModelLoad& model : models) {
      out += fmt::format("{}{{model={}}} {}\n", gauge.name, quoted(model.name), gauge.value(model));
    }
  }
  const std::lock_guard lock(mutex_);
  add_header(out, "salient_http_requests_total", "counter", "Answers by status.");
  for (const auto& [status, count] : requests_) {
    out += fmt::format("salient_http_requests_total{{status=\"{}\"}} {}\n", status, count);
  }
  add_header(out, "salient_replies_total", "counter", "Replies by what ended them.");
  for (const auto& [finish, count] : replies_) {
    out += fmt::format("salient_replies_total{{finish={}}} {}\n", quoted(finish), count);
  }
  add_header(out, "salient_time_to_first_token_seconds", "histogram", "From the request to its first token.");
  out += first_token_.text("salient_time_to_first_token_seconds");
  add_header(out, "salient_inter_token_seconds", "histogram", "Between two tokens of a reply.");
  out += between_tokens_.text("salient_inter_token_seconds");
  add_header(out, "salient_reply_seconds", "histogram", "From the request to the end of its reply.");
  out += reply_.text("salient_reply_seconds");
  return out;
}

}  // namespace salient::serve
