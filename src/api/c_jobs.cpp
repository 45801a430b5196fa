#include <nlohmann/json.hpp>
#include <salient/salient.hpp>
#include <stop_token>
#include <string>

#include "api/c_call.h"
#include "api/json_options.h"
#include "api/json_text.h"

using salient::api::copy_for_c;
using salient::api::guard;
using salient::api::JsonOptions;
using salient::api::require;

namespace {

/// C's functions as a monitor, which stops the work when the first one says so.
salient::Monitor to_monitor(const SalientMonitor* given, std::stop_source& stop) {
  salient::Monitor monitor;
  monitor.stop = stop.get_token();
  if (given && given->on_progress) {
    monitor.on_progress = [given, &stop](const salient::Progress& progress) {
      const std::string task(progress.task);
      const std::string unit(progress.unit);
      if (given->on_progress(given->context, task.c_str(), progress.done, progress.total, unit.c_str()) != 0) {
        stop.request_stop();
      }
    };
  }
  if (given && given->on_message) {
    monitor.on_message = [given](std::string_view message) {
      given->on_message(given->context, std::string(message).c_str());
    };
  }
  return monitor;
}

salient::QuantizeOptions read_quantize_options(const char* text) {
  salient::QuantizeOptions result;
  JsonOptions options(text);
  options.read("format", result.format);
  options.read("method", result.method);
  options.read("clip", result.clip);
  options.read("group_size", result.group_size);
  options.read("symmetric", result.symmetric);
  options.read("target_bytes", result.target_bytes);
  options.read("target_divergence", result.target_divergence);
  options.read("calibration", result.calibration);
  options.read("data_dir", result.data_dir);
  options.read("calibration_sequences", result.calibration_sequences);
  options.read("calibration_tokens", result.calibration_tokens);
  options.read("seed", result.seed);
  options.read("resume", result.resume);
  options.read("dry_run", result.dry_run);
  options.read("threads", result.threads);
  options.check_names();
  return result;
}

salient::PerplexityOptions read_perplexity_options(const char* text) {
  salient::PerplexityOptions result;
  JsonOptions options(text);
  options.read("data", result.data);
  options.read("data_dir", result.data_dir);
  options.read("base", result.base);
  options.read("recipe", result.recipe);
  options.read("window", result.window);
  options.read("stride", result.stride);
  options.read("limit", result.limit);
  options.read("exact", result.exact);
  options.read("threads", result.model.threads);
  options.read("head", result.model.head);
  options.read("kv_cache", result.model.kv_cache);
  options.read("device", result.model.device);
  options.check_names();
  return result;
}

salient::ExportOptions read_export_options(const char* text) {
  salient::ExportOptions result;
  JsonOptions options(text);
  options.read("format", result.format);
  options.read("layout", result.layout);
  options.read("accuracy_level", result.accuracy_level);
  options.read("exact", result.exact);
  options.read("limit", result.limit);
  options.read("threads", result.threads);
  options.check_names();
  return result;
}

salient::PullOptions read_pull_options(const char* text) {
  salient::PullOptions result;
  JsonOptions options(text);
  options.read("device", result.device);
  options.read("base", result.base);
  options.check_names();
  return result;
}

}  // namespace

SalientStatus SalientQuantize(const char* model, const char* output, const char* options, const SalientMonitor* monitor,
                              char** report) {
  return guard([&] {
    require(model, "model");
    require(output, "output");
    require(report, "report");
    salient::QuantizeOptions wanted = read_quantize_options(options);
    wanted.output = output;
    std::stop_source stop;
    *report = copy_for_c(salient::quantize_model(model, wanted, to_monitor(monitor, stop)).json);
  });
}

SalientStatus SalientMeasurePerplexity(const char* model, const char* options, const SalientMonitor* monitor,
                                       char** report) {
  return guard([&] {
    require(model, "model");
    require(report, "report");
    const salient::PerplexityOptions wanted = read_perplexity_options(options);
    std::stop_source stop;
    *report = copy_for_c(salient::measure_perplexity(model, wanted, to_monitor(monitor, stop)).json);
  });
}

SalientStatus SalientExport(const char* model, const char* output, const char* options, const SalientMonitor* monitor,
                            char** report) {
  return guard([&] {
    require(model, "model");
    require(output, "output");
    require(report, "report");
    salient::ExportOptions wanted = read_export_options(options);
    wanted.output = output;
    std::stop_source stop;
    *report = copy_for_c(salient::export_model(model, wanted, to_monitor(monitor, stop)).json);
  });
}

SalientStatus SalientPull(const char* name, const char* options, const SalientMonitor* monitor, char** path) {
  return guard([&] {
    require(name, "name");
    require(path, "path");
    const salient::PullOptions wanted = read_pull_options(options);
    std::stop_source stop;
    *path = copy_for_c(salient::pull_model(name, wanted, to_monitor(monitor, stop)).path.string());
  });
}
