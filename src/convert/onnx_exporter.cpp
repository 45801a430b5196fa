#include "convert/onnx_exporter.h"

#include <fmt/format.h>

#include "checkpoint/companions.h"
#include "convert/genai_config.h"
#include "convert/onnx_graph_builder.h"
#include "core/atomic_output.h"
#include "core/error.h"
#include "core/folder.h"

namespace salient::convert {

namespace fs = std::filesystem;

namespace {

/// A tied head is the embedding table again, unless the format stores quantized weights for it.
std::optional<core::LinearWeights> read_head(const model::Decoder& decoder) {
  core::LinearWeights head = decoder.head();
  if (decoder.spec().tied_embeddings && !head.quantized()) return std::nullopt;
  return head;
}

/// Quantized linears in the form that MatMulNBits holds; what had to change is added to `changes`.
class LinearFitter {
 public:
  LinearFitter(ElementType numbers, bool exact, const std::string& origin, std::vector<WeightChange>& changes)
      : numbers_(numbers), exact_(exact), origin_(origin), changes_(changes) {}

  void fit(core::LinearWeights& linear, const std::string& name) {
    if (!linear.quantized()) return;
    core::QuantizedTensor weights = linear.quantized()->read();
    const LinearFormat format = matmul_nbits_format(weights, numbers_, name);
    FittedLinear fitted = fit_linear(std::move(weights), format, name);
    linear.matrix = core::hold(std::move(fitted.weights));
    if (!fitted.change) return;
    if (exact_) refuse_change(*fitted.change, origin_, "ONNX");
    changes_.push_back(*fitted.change);
  }

  void fit(model::DecoderLayer& layer, const model::DecoderSpec& spec, int64_t index) {
    for (const model::LinearSlot& slot : model::linear_slots(spec)) {
      fit(layer.*slot.weights, model::layer_prefix(index) + slot.name);
    }
  }

 private:
  ElementType numbers_;
  bool exact_;
  const std::string& origin_;
  std::vector<WeightChange>& changes_;
};

void write_graph(const model::Decoder& decoder, const OnnxExportOptions& options, const fs::path& path,
                 std::vector<WeightChange>& changes) {
  const model::DecoderSpec& spec = decoder.spec();
  const bool cpu = options.layout == OnnxLayout::kCpu;
  const OnnxLinearSettings settings{cpu ? ElementType::kFloat : ElementType::kFloat16,
                                    options.accuracy_level.value_or(cpu ? 4 : 0), decoder.checkpoint().path.string()};
  const int64_t parts = spec.layers + 2;
  const auto step = [&](int64_t done) {
    if (options.stop.stop_requested()) core::fail(core::ErrorKind::kCancelled, "interrupted");
    if (options.progress && done > 0) options.progress({"exporting", done, parts, "parts", {}});
  };
  LinearFitter fitter(settings.numbers, options.exact, settings.origin, changes);
  OnnxModelWriter model(path);
  OnnxGraphBuilder builder(model, spec, options.layout, settings);
  step(0);
  builder.begin(decoder.embeddings());
  step(1);
  for (int64_t i = 0; i < spec.layers; ++i) {
    model::DecoderLayer layer = decoder.layer(i);
    fitter.fit(layer, spec, i);
    builder.add_layer(i, layer);
    step(i + 2);
  }
  std::optional<core::LinearWeights> head = read_head(decoder);
  if (head) fitter.fit(*head, spec.tied_embeddings ? model::kEmbeddingsName : model::kHeadName);
  builder.finish(decoder.final_norm(), head ? &*head : nullptr);
  model.finish();
  step(parts);
}

/// What DirectML's attention leaves out, and does not say so; that of other providers does not.
std::vector<std::string> directml_limits(const model::DecoderSpec& spec) {
  std::vector<std::string> limits;
  if (spec.attention_soft_cap != 0) {
    limits.push_back(
        fmt::format("DirectML does not cap the scores of attention, as this model does at {}: what it "
                    "computes is another model",
                    spec.attention_soft_cap));
  }
  int64_t window = 0;
  for (const model::LayerAttention& attention : spec.attention) {
    if (attention.window > 0 && (window == 0 || attention.window < window)) window = attention.window;
  }
  if (window > 0) {
    limits.push_back(
        fmt::format("DirectML has no windows of attention, as this model has of {} tokens: longer texts "
                    "are computed as by another model",
                    window));
  }
  return limits;
}

}  // namespace

OnnxExportReport export_onnx(const model::Decoder& decoder, const OnnxExportOptions& options) {
  const checkpoint::Checkpoint& source = decoder.checkpoint();
  check_graph_can_be_built(decoder.spec(), options.layout, source.path.string());
  core::StagedFolder folder(options.output);
  folder.discard();
  folder = core::StagedFolder(options.output);
  OnnxExportReport report;
  if (options.layout == OnnxLayout::kDml) report.limits = directml_limits(decoder.spec());
  try {
    write_graph(decoder, options, folder.path() / "model.onnx", report.changes);
    checkpoint::write_json(folder.path() / "genai_config.json",
                           make_genai_config(source, decoder.spec(), options.layout));
    checkpoint::write_companions(source, folder.path());
    for (const fs::path& path : core::entries_of(folder.path())) report.bytes += fs::file_size(path);
    folder.commit();
  } catch (...) {
    folder.discard();
    throw;
  }
  return report;
}

}  // namespace salient::convert
