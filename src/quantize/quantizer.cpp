#include "quantize/quantizer.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <optional>
#include <system_error>

#include "checkpoint/packed_writer.h"
#include "core/atomic_output.h"
#include "core/error.h"
#include "quantize/calibration_pass.h"
#include "quantize/estimate.h"
#include "quantize/layer_search.h"

namespace salient::quantize {

using checkpoint::OutputTensor;
using core::ErrorKind;
using core::fail;
using model::DecoderSpec;
using nlohmann::json;

namespace {

constexpr const char* kOuterPart = "outer";
constexpr size_t kHeldOutShare = 16;

std::string part_name(int64_t layer) {
  return fmt::format("layer-{:05}", layer);
}

/// Tells calibration texts apart (FNV-1a, 64 bits): a file may have changed under the name that was given.
std::string fingerprint(std::span<const std::vector<int32_t>> calibration) {
  uint64_t hash = 0xcbf29ce484222325u;
  const auto add = [&](uint64_t value) { hash = (hash ^ value) * 0x100000001b3u; };
  for (const auto& sequence : calibration) {
    add(sequence.size());
    for (const int32_t token : sequence) add(static_cast<uint32_t>(token));
  }
  return fmt::format("{:016x}", hash);
}

/// Everything the result depends on.
json make_settings(const model::Decoder& decoder, std::span<const std::vector<int32_t>> calibration, int group_size,
                   const QuantizeOptions& options) {
  json files = json::object();
  for (const auto& [name, stored] : decoder.checkpoint().tensors) {
    const auto& path = stored.file->path();
    files[path.filename().string()] = {stored.file->bytes().size(),
                                       std::filesystem::last_write_time(path).time_since_epoch().count()};
  }
  const Steps& steps = options.steps;
  const bool calibrated = steps.need_calibration();
  return {{"format", checkpoint::name_of(options.format)},
          {"group_size", group_size},
          {"files", files},
          {"symmetric", steps.symmetric},
          {"scale", steps.scale},
          {"scale_values", steps.scale_values},
          {"clip", steps.search_grids},
          {"compensate", steps.compensate},
          {"sweeps", steps.sweeps},
          {"shrinkage", steps.shrinkage},
          {"damping", steps.damping},
          {"correction", steps.correction},
          {"calibration", calibrated ? options.identity : json()},
          {"calibration_tokens", calibrated ? json(fingerprint(calibration)) : json()}};
}

/// A matrix that stays dense, as fp16.
OutputTensor make_dense_tensor(const std::string& name, const core::LinearWeights& weights) {
  const int64_t rows = weights.out_features();
  const int64_t columns = weights.in_features();
  std::vector<float> values(static_cast<size_t>(rows * columns));
  weights.read_rows(0, rows, values.data());
  return checkpoint::make_f16_tensor(name, {rows, columns}, values);
}

/// A norm as it is stored.
void add_norm(const std::string& name, const model::Norm& norm, const DecoderSpec& spec,
              std::vector<OutputTensor>& tensors) {
  std::vector<float> weight = norm.weight;
  if (spec.norm == model::NormKind::kRmsPlusOne) {
    for (float& value : weight) value -= 1.0f;
  }
  tensors.push_back(checkpoint::make_f16_tensor(name + ".weight", {std::ssize(weight)}, weight));
  if (norm.bias.empty()) return;
  tensors.push_back(checkpoint::make_f16_tensor(name + ".bias", {std::ssize(norm.bias)}, norm.bias));
}

void add_bias(const std::string& name, const std::vector<float>& bias, std::vector<OutputTensor>& tensors) {
  if (!bias.empty()) tensors.push_back(checkpoint::make_f16_tensor(name + ".bias", {std::ssize(bias)}, bias));
}

std::vector<OutputTensor> make_outer_tensors(const model::Decoder& decoder) {
  const DecoderSpec& spec = decoder.spec();
  std::vector<OutputTensor> tensors;
  tensors.push_back(make_dense_tensor(std::string(model::kEmbeddingsName) + ".weight", decoder.embeddings()));
  add_norm(spec.names.final_norm, decoder.final_norm(), spec, tensors);
  if (!spec.tied_embeddings) {
    const core::LinearWeights head = decoder.head();
    tensors.push_back(make_dense_tensor(std::string(model::kHeadName) + ".weight", head));
    add_bias(model::kHeadName, head.bias, tensors);
  }
  return tensors;
}

/// The tensors of a layer; linears that are stored as one are put together again.
std::vector<OutputTensor> make_layer_tensors(int64_t index, const DecoderSpec& spec, DenseLayer& dense,
                                             const QuantizedLayer& quantized,
                                             const checkpoint::PackedSettings& settings) {
  const std::string prefix = model::layer_prefix(index);
  std::vector<OutputTensor> tensors;
  for (const model::NormSlot& slot : model::norm_slots(spec)) {
    add_norm(prefix + slot.name, quantized.norms.*slot.norm, spec, tensors);
  }
  const auto slots = model::linear_slots(spec);
  const auto linears = dense.linears();
  for (size_t i = 0; i < slots.size();) {
    core::QuantizedTensor weights = quantized.linears[i];
    std::vector<float> bias = linears[i]->bias;
    size_t next = i + 1;
    for (; next < slots.size() && slots[next].name == slots[i].name; ++next) {
      weights.append_rows(quantized.linears[next]);
      bias.insert(bias.end(), linears[next]->bias.begin(), linears[next]->bias.end());
    }
    for (OutputTensor& tensor : checkpoint::pack_linear(settings, weights, prefix + slots[i].name)) {
      tensors.push_back(std::move(tensor));
    }
    add_bias(prefix + slots[i].name, bias, tensors);
    i = next;
  }
  return tensors;
}

/// The names of a layer's linears as they are stored.
std::vector<std::string> linear_names(int64_t layer, const DecoderSpec& spec) {
  std::vector<std::string> names;
  for (const model::LinearSlot& slot : model::linear_slots(spec)) {
    if (slot.first_row == 0) names.push_back(model::layer_prefix(layer) + slot.name);
  }
  return names;
}

json to_json(const QuantizedLayer& layer) {
  json steps = json::array();
  for (const SearchReport& line : layer.report) {
    steps.push_back({{"kind", line.kind == SearchReport::Kind::kScales ? "scales" : "linear"},
                     {"part", line.part},
                     {"choice", line.choice},
                     {"loss_before", line.loss_before},
                     {"loss_after", line.loss_after}});
  }
  json inputs = json::array();
  for (const InputReport& report : layer.inputs) inputs.push_back(to_json(report));
  json channels = json::array();
  for (const ChannelReport& report : layer.channels) channels.push_back(to_json(report));
  json weights = json::array();
  for (const WeightReport& report : layer.weights) weights.push_back(to_json(report));
  return {{"steps", steps}, {"inputs", inputs}, {"channels", channels}, {"weights", weights}};
}

void check_calibration(const model::Decoder& decoder, std::span<const std::vector<int32_t>> calibration,
                       bool held_out) {
  const std::string path = decoder.checkpoint().path.string();
  const DecoderSpec& spec = decoder.spec();
  if (calibration.empty()) fail(ErrorKind::kInvalidInput, "there is no calibration text");
  if (held_out && calibration.size() < 2) {
    fail(ErrorKind::kInvalidInput, "calibration has 1 sequence; a target needs another one that is held out");
  }
  for (const auto& sequence : calibration) {
    if (sequence.empty()) fail(ErrorKind::kInvalidInput, "{}: a calibration sequence is empty", path);
    if (std::ssize(sequence) > spec.max_positions) {
      fail(ErrorKind::kInvalidInput, "{}: a calibration sequence has {} tokens, but its context holds {}", path,
           sequence.size(), spec.max_positions);
    }
    for (const int32_t token : sequence) {
      if (token >= 0 && token < spec.vocab_size) continue;
      fail(ErrorKind::kInvalidInput, "{}: calibration token {} is outside its vocabulary of {}", path, token,
           spec.vocab_size);
    }
  }
}

/// A weight that is no number would make every error NaN, and no candidate better than another.
void check_finite(DenseLayer& layer, const DecoderSpec& spec, const std::string& origin) {
  const auto slots = model::linear_slots(spec);
  const auto linears = layer.linears();
  for (size_t i = 0; i < linears.size(); ++i) {
    for (const float weight : linears[i]->weights.values) {
      if (std::isfinite(weight)) continue;
      fail(ErrorKind::kInvalidInput, "{}{}.weight holds {}: the model is damaged", origin, slots[i].name, weight);
    }
  }
}

void check_target(const DecoderSpec& spec, int group_size, const QuantizeOptions& options) {
  if (!options.target.is_set()) return;
  if (options.format != checkpoint::PackedFormat::kCompressedTensors) {
    fail(ErrorKind::kUnsupported,
         "a target size or KL divergence gives some layers 8 bits, which AutoAWQ's format does not have; expected the "
         "format compressed-tensors");
  }
  if (options.target.bytes != 0 && options.target.divergence != 0) {
    fail(ErrorKind::kInvalidInput, "a target size and a target KL divergence are given, expected one of them");
  }
  if (!options.steps.need_calibration()) {
    fail(ErrorKind::kUnsupported, "plain rounding looks at no text, so no target can be kept to; expected awq or awq+");
  }
  if (options.target.bytes != 0) {
    check_size(options.target.bytes, estimate(spec, group_size, options.steps, 1, 1).bytes);
  }
}

}  // namespace

int choose_group_size(const DecoderSpec& spec, int wanted) {
  const std::array<std::pair<const char*, int64_t>, 3> inputs = {{{"hidden_size", spec.hidden_size},
                                                                  {"num_attention_heads * head_dim", spec.query_size()},
                                                                  {"intermediate_size", spec.intermediate_size}}};
  constexpr std::array kSizes = {128, 64, 32};
  for (const int size : kSizes) {
    if (wanted != 0 && wanted != size) continue;
    const auto misfit = std::find_if(inputs.begin(), inputs.end(), [&](auto& i) { return i.second % size != 0; });
    if (misfit == inputs.end()) return size;
    if (wanted == 0 && size != kSizes.back()) continue;
    fail(ErrorKind::kUnsupported, "group size {} does not divide {}, which is {}", size, misfit->first, misfit->second);
  }
  fail(ErrorKind::kInvalidInput, "group size is {}, expected 128, 64 or 32", wanted);
}

void check_quantizable(const model::Decoder& decoder, const QuantizeOptions& options) {
  // A GGUF of good precision is the only source there is for some models.
  if (!decoder.checkpoint().quantized.empty() && decoder.checkpoint().format != "gguf") {
    fail(ErrorKind::kInvalidInput, "{}: is quantized already; quantize the model it was made from",
         decoder.checkpoint().path.string());
  }
  const json rope = decoder.checkpoint().config.value("rope_parameters", json());
  if (rope.is_object() && rope.value("rope_type", json()) == "frequencies") {
    fail(ErrorKind::kUnsupported,
         "{}: its rotary frequencies are those of a table, which a Hugging Face config.json cannot hold; quantize the "
         "model it was made from",
         decoder.checkpoint().path.string());
  }
  const int group_size = choose_group_size(decoder.spec(), options.group_size);
  if (options.steps.symmetric && options.format != checkpoint::PackedFormat::kCompressedTensors) {
    fail(ErrorKind::kUnsupported,
         "AutoAWQ's format stores zero points; symmetric weights take the format compressed-tensors");
  }
  check_target(decoder.spec(), group_size, options);
  const core::StagedFolder folder(options.output);
  std::error_code not_empty;
  std::filesystem::remove(folder.path(), not_empty);  // what an interrupted run left stays
}

std::string calibration_warning(const DecoderSpec& spec, std::span<const std::vector<int32_t>> calibration) {
  int64_t tokens = 0;
  for (const auto& sequence : calibration) tokens += std::ssize(sequence);
  const int64_t widest = std::max({spec.hidden_size, spec.query_size(), spec.intermediate_size});
  if (tokens >= widest) return {};
  // A Gram matrix has at most the rank of its number of tokens: in all other directions errors would look free.
  return fmt::format(
      "calibration has {} tokens, fewer than the {} inputs of the widest linear: errors that this text does not show "
      "will be taken for none",
      tokens, widest);
}

std::string coverage_warning(const json& layers) {
  constexpr double kTokensOfDirection = 8;
  double least = kTokensOfDirection;
  std::string sentence;
  for (size_t layer = 0; layer < layers.size(); ++layer) {
    for (const json& inputs : layers[layer].value("inputs", json::array())) {
      const double rank = inputs["effective_rank"];
      const auto tokens = inputs["tokens"].get<int64_t>();
      if (rank <= 0 || static_cast<double>(tokens) / rank >= least) continue;
      least = static_cast<double>(tokens) / rank;
      sentence = fmt::format(
          "calibration had {} tokens for inputs that vary in {:.0f} directions ({} of layer {}), {:.1f} for each; more "
          "text makes a better model where it is fewer than {:.0f}",
          tokens, rank, inputs["part"].get<std::string>(), layer, least, kTokensOfDirection);
    }
  }
  return sentence;
}

namespace {

/// The parts that a run has written, all layers in 4 bits, and those in 8 bits that it may still write.
class WrittenLayers {
 public:
  WrittenLayers(const model::Decoder& decoder, const checkpoint::PackedSettings& settings,
                checkpoint::PackedWriter& writer, core::ThreadPool& pool)
      : decoder_(decoder), settings_(settings), int8_settings_(settings), writer_(writer), pool_(pool) {
    int8_settings_.bits = 8;
    int8_settings_.symmetric = true;
  }

  /// Writes the part where it is not there yet, which only those of 8 bits may not be.
  void write(int64_t layer, int bits) const {
    if (bits == 8 && !writer_.has_part(part(layer, bits))) write_int8(layer);
  }
  std::shared_ptr<const model::Decoder> open(int64_t layer, int bits) const {
    write(layer, bits);
    return std::make_shared<model::Decoder>(std::make_shared<checkpoint::Checkpoint>(writer_.read_part(
        part(layer, bits), decoder_.checkpoint(), bits == 8 ? int8_settings_ : settings_, model::layer_prefix(layer))));
  }
  static std::string part(int64_t layer, int bits) { return part_name(layer) + (bits == 8 ? "-int8" : ""); }

  WidthSource source(const std::vector<std::string>& parts) const {
    WidthSource source;
    source.open = [this](int64_t layer, int bits) { return open(layer, bits); };
    for (const std::string& part : parts) source.int4_bytes += writer_.part_bytes(part);
    uint64_t codes = 0;
    for (const model::LinearSlot& slot : model::linear_slots(decoder_.spec())) {
      codes += static_cast<uint64_t>(slot.out_features * slot.in_features);
    }
    source.extra_bytes.assign(static_cast<size_t>(decoder_.spec().layers), codes / 2);
    return source;
  }

 private:
  void write_int8(int64_t layer) const {
    DenseLayer dense(decoder_.layer(layer), pool_);
    const std::string origin = decoder_.checkpoint().path.string() + ": " + model::layer_prefix(layer);
    const QuantizedLayer rounded = round_layer_to_int8(dense, settings_.group_size, origin, pool_);
    writer_.write_part(part(layer, 8), make_layer_tensors(layer, decoder_.spec(), dense, rounded, int8_settings_));
  }

  const model::Decoder& decoder_;
  checkpoint::PackedSettings settings_;
  checkpoint::PackedSettings int8_settings_;
  checkpoint::PackedWriter& writer_;
  core::ThreadPool& pool_;
};

/// Chooses the layers' widths and puts those of 8 bits in the place of the others.
void widen_layers(const std::shared_ptr<const model::Decoder>& decoder, std::span<const std::vector<int32_t>> held_out,
                  const QuantizeOptions& options, checkpoint::PackedWriter& writer, core::ThreadPool& pool,
                  std::vector<std::string>& parts, checkpoint::PackedSettings& settings, QuantizeReport& report) {
  const WrittenLayers written(*decoder, settings, writer, pool);
  const LayerWidths widths =
      choose_widths(decoder, written.source(parts), options.target, held_out, options.progress, options.stop, pool);
  report.divergence = widths.divergence;
  std::vector<std::string> names[2];
  for (int64_t i = 0; i < decoder->spec().layers; ++i) {
    const int bits = widths.bits[i];
    written.write(i, bits);
    parts[static_cast<size_t>(i) + 1] = WrittenLayers::part(i, bits);
    for (std::string& name : linear_names(i, decoder->spec())) names[bits == 8].push_back(std::move(name));
    report.layers[static_cast<size_t>(i)]["bits"] = bits;
    report.layers[static_cast<size_t>(i)]["sensitivity"] = widths.sensitivities[i];
  }
  if (names[1].empty()) return;
  settings.int4_linears = std::move(names[0]);
  settings.int8_linears = std::move(names[1]);
}

}  // namespace

QuantizeReport quantize(std::shared_ptr<const model::Decoder> decoder,
                        std::span<const std::vector<int32_t>> calibration, const QuantizeOptions& options,
                        core::ThreadPool& pool) {
  const auto start = std::chrono::steady_clock::now();
  const DecoderSpec& spec = decoder->spec();
  const bool calibrated = options.steps.need_calibration();
  check_quantizable(*decoder, options);
  if (calibrated) check_calibration(*decoder, calibration, options.target.is_set());
  const auto held_out =
      calibration.last(options.target.is_set() ? std::max<size_t>(calibration.size() / kHeldOutShare, 1) : 0);
  calibration = calibration.first(calibration.size() - held_out.size());
  QuantizeReport report;
  StageTimes times;
  report.group_size = choose_group_size(spec, options.group_size);
  report.layers = json::array();
  checkpoint::PackedSettings settings;
  settings.format = options.format;
  settings.group_size = report.group_size;
  settings.symmetric = options.steps.symmetric;
  checkpoint::PackedWriter writer(options.output, make_settings(*decoder, calibration, report.group_size, options),
                                  options.resume);
  if (!writer.has_part(kOuterPart)) writer.write_part(kOuterPart, make_outer_tensors(*decoder));

  std::optional<CalibrationPass> pass;
  if (calibrated) pass.emplace(decoder, calibration, options.steps.correction > 0, options.stop, pool);
  std::vector<std::string> parts = {kOuterPart};
  for (int64_t i = 0; i < spec.layers; ++i) {
    if (options.stop.stop_requested()) fail(ErrorKind::kCancelled, "interrupted; run again with --resume to go on");
    parts.push_back(part_name(i));
    const bool finished = writer.has_part(parts.back());
    if (finished) {
      ++report.resumed_layers;
      if (calibrated) times.time(Stage::kCalibration, [&] { pass->run_layer(i); });
    } else {
      DenseLayer dense(decoder->layer(i), pool);
      check_finite(dense, spec, decoder->checkpoint().path.string() + ": tensor " + model::layer_prefix(i));
      QuantizedLayer quantized;
      if (calibrated) {
        const LayerStatistics statistics =
            times.time(Stage::kCalibration, [&] { return pass->run_layer_observed(i, times); });
        quantized = search_layer(dense, statistics, spec, report.group_size, options.steps, times, pool);
      } else {
        quantized = round_layer(dense, report.group_size, options.steps, pool);
      }
      writer.write_note(parts.back(), to_json(quantized));
      writer.write_part(parts.back(), make_layer_tensors(i, spec, dense, quantized, settings));
    }
    if (calibrated && pass->is_corrected() && i + 1 < spec.layers) {
      // As it was written, so that a resumed run sees the same bits.
      const auto written = std::make_shared<checkpoint::Checkpoint>(
          writer.read_part(parts.back(), decoder->checkpoint(), settings, model::layer_prefix(i)));
      times.time(Stage::kCalibration, [&] { pass->run_quantized_layer(model::Decoder(written).layer(i), i); });
    }
    report.layers.push_back(writer.read_note(parts.back()));
    if (options.progress) options.progress({"quantizing", i + 1, spec.layers, "layers", {}});
  }
  if (options.target.is_set()) widen_layers(decoder, held_out, options, writer, pool, parts, settings, report);
  report.bytes = writer.finish(decoder->checkpoint(), settings, parts);
  report.stage_seconds = times.seconds();
  report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return report;
}

}  // namespace salient::quantize
