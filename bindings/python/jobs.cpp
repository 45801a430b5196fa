#include <nanobind/stl/filesystem.h>

#include <string>
#include <utility>

#include "python/module.h"

namespace salient::python {

namespace {

namespace fs = std::filesystem;

using Dict = nb::typed<nb::dict, nb::str, nb::any>;
using DictList = nb::typed<nb::list, Dict>;

/// A JSON text as the objects of Python.
nb::object parse(const std::string& json) {
  return nb::module_::import_("json").attr("loads")(nb::str(json.c_str(), json.size()));
}

/// Runs long work without the interpreter's lock and gives its report.
template <typename Result, typename Work>
Result run(nb::object on_progress, nb::object on_message, const Cancel* cancel, Work&& work) {
  const Monitor monitor = make_monitor(std::move(on_progress), std::move(on_message), cancel);
  std::string json;
  {
    const nb::gil_scoped_release unlocked;
    json = work(monitor);
  }
  return nb::borrow<Result>(parse(json));
}

Dict quantize(const ModelName& model, const fs::path& output, const std::string& format, const std::string& method,
              bool clip, int group_size, bool symmetric, uint64_t target_bytes, double target_divergence,
              const std::string& calibration, const fs::path& data_dir, int64_t calibration_sequences,
              int64_t calibration_tokens, uint64_t seed, bool resume, bool dry_run, int threads, nb::object on_progress,
              nb::object on_message, const Cancel* cancel) {
  const QuantizeOptions options{.output = output,
                                .format = format,
                                .method = method,
                                .clip = clip,
                                .group_size = group_size,
                                .symmetric = symmetric,
                                .target_bytes = target_bytes,
                                .target_divergence = target_divergence,
                                .calibration = calibration,
                                .data_dir = data_dir,
                                .calibration_sequences = calibration_sequences,
                                .calibration_tokens = calibration_tokens,
                                .seed = seed,
                                .resume = resume,
                                .dry_run = dry_run,
                                .threads = threads};
  return run<Dict>(std::move(on_progress), std::move(on_message), cancel,
                   [&](const Monitor& monitor) { return quantize_model(model, options, monitor).json; });
}

DictList perplexity(const ModelName& model, const std::vector<std::string>& data, const fs::path& data_dir,
                    const ModelName& base, const std::string& recipe, int64_t window, int64_t stride, int64_t limit,
                    bool exact, int threads, const std::string& head, const std::string& kv_cache,
                    const std::string& device, nb::object on_progress, nb::object on_message, const Cancel* cancel) {
  const PerplexityOptions options{
      data, data_dir, base, recipe, window, stride, limit, exact, {threads, head, kv_cache, device}};
  return run<DictList>(std::move(on_progress), std::move(on_message), cancel,
                       [&](const Monitor& monitor) { return measure_perplexity(model, options, monitor).json; });
}

Dict export_to(const ModelName& model, const fs::path& output, const std::string& format, const std::string& layout,
               std::optional<int> accuracy_level, bool exact, int64_t limit, int threads, nb::object on_progress,
               nb::object on_message, const Cancel* cancel) {
  const ExportOptions options{output, format, layout, accuracy_level, exact, limit, threads};
  return run<Dict>(std::move(on_progress), std::move(on_message), cancel,
                   [&](const Monitor& monitor) { return export_model(model, options, monitor).json; });
}

Dict describe(const CachedModel& model) {
  Dict result;
  result["name"] = model.name;
  result["repository"] = model.repository;
  result["revision"] = model.revision;
  result["commit"] = model.commit;
  result["folder"] = model.folder;
  result["path"] = model.path;
  result["format"] = model.format;
  result["license"] = model.license;
  result["bytes"] = model.bytes;
  return result;
}

Dict pull(const std::string& name, const std::string& device, bool base, nb::object on_progress, nb::object on_message,
          const Cancel* cancel) {
  const Monitor monitor = make_monitor(std::move(on_progress), std::move(on_message), cancel);
  CachedModel model;
  {
    const nb::gil_scoped_release unlocked;
    model = pull_model(name, {device, base}, monitor);
  }
  return describe(model);
}

}  // namespace

void add_jobs(nb::module_& module) {
  const auto progress = nb::arg("on_progress") = nb::none();
  const auto message = nb::arg("on_message") = nb::none();
  const auto cancel = nb::arg("cancel") = nb::none();
  module.def("quantize", quantize, nb::arg("model"), nb::arg("output"), nb::kw_only(), nb::arg("format") = "awq",
             nb::arg("method") = "awq+", nb::arg("clip") = true, nb::arg("group_size") = 0,
             nb::arg("symmetric") = false, nb::arg("target_bytes") = 0, nb::arg("target_divergence") = 0.0,
             nb::arg("calibration") = "", nb::arg("data_dir") = "", nb::arg("calibration_sequences") = 48,
             nb::arg("calibration_tokens") = 512, nb::arg("seed") = 0, nb::arg("resume") = false,
             nb::arg("dry_run") = false, nb::arg("threads") = 0, progress, message, cancel,
             "Makes a model four times smaller; returns the report of `salient quantize --json`.");
  module.def("perplexity", perplexity, nb::arg("model"), nb::kw_only(),
             nb::arg("data") = std::vector<std::string>{"wikitext2"}, nb::arg("data_dir") = "", nb::arg("base") = "",
             nb::arg("recipe") = "paper", nb::arg("window") = 0, nb::arg("stride") = 0, nb::arg("limit") = 0,
             nb::arg("exact") = false, nb::arg("threads") = 0, nb::arg("head") = "fp16", nb::arg("kv_cache") = "fp16",
             nb::arg("device") = "cpu", progress, message, cancel,
             "How well a model predicts texts, and with a base its divergence from that: a list with a dict for each "
             "of `data`, as `salient perplexity --json` prints it.");
  module.def("export", export_to, nb::arg("model"), nb::arg("output"), nb::kw_only(), nb::arg("format") = "awq",
             nb::arg("layout") = "cpu", nb::arg("accuracy_level") = nb::none(), nb::arg("exact") = false,
             nb::arg("limit") = 4, nb::arg("threads") = 0, progress, message, cancel,
             "Writes a model as awq, compressed-tensors, gguf or onnx; returns the report of `salient export --json`.");
  module.def("pull", pull, nb::arg("name"), nb::kw_only(), nb::arg("device") = "cpu", nb::arg("base") = false, progress,
             message, cancel, "Brings a model into the cache that Hugging Face tools share; `path` is where it is.");
  module.def(
      "models",
      [] {
        DictList list;
        for (const CachedModel& model : cached_models()) list.append(describe(model));
        return list;
      },
      "The models in that cache.");
  module.def(
      "inspect",
      [](const ModelName& model, bool tensors) {
        return run<Dict>(nb::none(), nb::none(), nullptr,
                         [&](const Monitor& monitor) { return inspect_model(model, tensors, monitor); });
      },
      nb::arg("model"), nb::arg("tensors") = false, "What a model is, without loading it.");
  module.def(
      "devices",
      [](bool measure, int threads) {
        return run<DictList>(nb::none(), nb::none(), nullptr, [&](const Monitor&) {
          return list_devices({measure, threads}).json;
        });
      },
      nb::kw_only(), nb::arg("measure") = false, nb::arg("threads") = 0,
      "What models can run on here: a list with a dict for each device, as `salient devices --json` prints it.");
  module.def("version", &version);
  module.def("build_commit", &build_commit);
  module.def("kernel_names", &kernel_names, "The instruction sets of this build, best first.");
  module.def("active_kernel_name", &active_kernel_name, "The one that runs here.");
}

}  // namespace salient::python
