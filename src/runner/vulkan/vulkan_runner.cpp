#include "runner/vulkan/vulkan_runner.h"

#include <algorithm>
#include <utility>

#include "core/error.h"
#include "kernels/kernels.h"
#include "runner/token_runs.h"
#include "runner/vulkan/vulkan_pass.h"

namespace salient::runner {

namespace {

/// A field of the spec that the shaders do not take, in a sentence.
void check_spec(const model::Decoder& decoder) {
  const model::DecoderSpec& spec = decoder.spec();
  const auto refuse = [&](const char* field, int64_t found, const char* expected) {
    core::fail(core::ErrorKind::kUnsupported, "{}: {} is {}, the Vulkan runner takes {}",
               decoder.checkpoint().path.string(), field, found, expected);
  };
  if (spec.head_dim % 8 != 0 || spec.head_dim > kernels::kMaxHeadDim) {
    refuse("head_dim", spec.head_dim, "multiples of 8 up to 256");
  }
  for (const model::Rope& rope : spec.ropes) {
    if (rope.rotary_dim % 2 != 0) refuse("the rotary dimension", rope.rotary_dim, "even numbers");
  }
}

Activations choose_activations(const VulkanRunnerOptions& options, const VulkanDevice& device) {
  if (options.activations) return *options.activations;
  const bool is_fast = device.features().integer_dot && device.adapter().fast_integer_dot;
  return is_fast ? Activations::kInt8 : Activations::kFp32;
}

}  // namespace

struct VulkanRunner::Parts {
  Parts(std::shared_ptr<const model::Decoder> opened, core::ThreadPool& pool, VulkanRunnerOptions chosen);

  const model::DecoderSpec& spec() const { return decoder->spec(); }
  void pack(core::ThreadPool& pool);
  void embed(std::span<const int32_t> tokens, std::vector<float>& hidden) const;
  /// Puts a sequence into the rotary regime of its coming length; what it holds in the other is computed again.
  void choose_regime(const TokenRun& run);
  std::vector<float> run(std::span<const TokenRun> runs);

  std::shared_ptr<const model::Decoder> decoder;
  VulkanRunnerOptions options;
  std::shared_ptr<const VulkanDevice> device;
  Activations activations;
  std::optional<HeadGroups> rounded_head;
  core::LinearWeights embeddings;
  Pipelines pipelines;
  DeviceArena arena;
  VulkanWeights weights;
  std::shared_ptr<VulkanKvCache> cache;
  std::optional<VulkanPass> pass;
};

VulkanRunner::Parts::Parts(std::shared_ptr<const model::Decoder> opened, core::ThreadPool& pool,
                           VulkanRunnerOptions chosen)
    : decoder(std::move(opened)),
      options(std::move(chosen)),
      device(std::make_shared<VulkanDevice>(options.adapter, options.features)),
      activations(choose_activations(options, *device)),
      rounded_head(choose_head_groups(*decoder, options.head)),
      embeddings(decoder->embeddings()),
      pipelines(*device),
      arena(*device) {
  check_spec(*decoder);
  pack(pool);
  cache = std::make_shared<VulkanKvCache>(device, pipelines, spec().layers, spec().kv_heads, spec().head_dim);
  pass.emplace(spec(), *device, pipelines, weights, *cache, activations);
}

void VulkanRunner::Parts::pack(core::ThreadPool& pool) {
  Uploader uploader(*device);
  const PackingContext context{*device, pool, arena, uploader};
  weights.head.emplace(rounded_head ? round_head(*decoder, *rounded_head) : decoder->head(), "the output head",
                       context);
  weights.final_norm = VulkanNorm(decoder->final_norm(), context);
  for (int64_t i = 0; i < spec().layers; ++i) {
    weights.layers.emplace_back(decoder->layer(i), spec().attention[static_cast<size_t>(i)],
                                decoder->checkpoint().path.string() + ": " + model::layer_prefix(i), context);
    decoder->checkpoint().release_pages();
    if (options.progress) options.progress({"loading", i + 1, spec().layers, "layers", {}});
  }
}

void VulkanRunner::Parts::embed(std::span<const int32_t> tokens, std::vector<float>& hidden) const {
  for (const int32_t token : tokens) {
    const size_t first = hidden.size();
    hidden.resize(first + static_cast<size_t>(spec().hidden_size));
    embeddings.read_rows(token, 1, &hidden[first]);
    if (spec().embedding_scale == 1) continue;
    for (size_t i = first; i < hidden.size(); ++i) hidden[i] *= spec().embedding_scale;
  }
}

void VulkanRunner::Parts::choose_regime(const TokenRun& run) {
  const std::vector<int32_t> history = enter_regime(spec(), run);
  if (history.empty()) return;
  const TokenRun again{history, run.sequence, Wanted::kNothing};
  if (options.progress) {
    options.progress({"computing the context again for its new length", 0, std::ssize(history), "tokens", {}});
  }
  this->run(std::span(&again, 1));
}

std::vector<float> VulkanRunner::Parts::run(std::span<const TokenRun> runs) {
  std::vector<float> logits;
  std::vector<VulkanSlice> slices;
  std::vector<float> hidden;
  std::vector<int64_t> wanted;
  int64_t tokens = 0;
  const auto finish = [&] {
    pass->run(slices, hidden, wanted, logits);
    slices.clear();
    hidden.clear();
    wanted.clear();
    tokens = 0;
  };
  for (const TokenRun& run : runs) {
    const int64_t total = std::ssize(run.tokens);
    for (int64_t done = 0; done < total;) {
      const int64_t count = std::min(total - done, VulkanPass::kMostTokens - tokens);
      const int64_t position = run.sequence->length();
      run.sequence->extend(count);
      const auto pages = run.sequence->pages();
      slices.push_back({tokens, count, position, run.sequence->long_rope(), {pages.begin(), pages.end()}});
      embed(run.tokens.subspan(static_cast<size_t>(done), static_cast<size_t>(count)), hidden);
      for (int64_t i = 0; i < count; ++i) {
        const bool is_last = done + i + 1 == total;
        if (run.wanted == Wanted::kAllLogits || (run.wanted == Wanted::kLastLogits && is_last)) {
          wanted.push_back(tokens + i);
        }
      }
      done += count;
      tokens += count;
      if (tokens == VulkanPass::kMostTokens) finish();
    }
  }
  if (tokens > 0) finish();
  if (spec().original_positions() > 0) {
    for (const TokenRun& run : runs) run.sequence->remember(run.tokens);
  }
  if (spec().logit_soft_cap > 0) {
    kernels::active_kernels().soft_cap(logits.data(), std::ssize(logits), spec().logit_soft_cap);
  }
  return logits;
}

VulkanRunner::VulkanRunner(std::shared_ptr<const model::Decoder> decoder, core::ThreadPool& pool,
                           VulkanRunnerOptions options) {
  translate_errors("Vulkan", [&] { parts_ = std::make_unique<Parts>(std::move(decoder), pool, std::move(options)); });
}

VulkanRunner::~VulkanRunner() = default;

const model::DecoderSpec& VulkanRunner::spec() const {
  return parts_->spec();
}

const model::Decoder& VulkanRunner::decoder() const {
  return *parts_->decoder;
}

const VulkanAdapter& VulkanRunner::adapter() const {
  return parts_->device->adapter();
}

const VulkanFeatures& VulkanRunner::features() const {
  return parts_->device->features();
}

Activations VulkanRunner::activations() const {
  return parts_->activations;
}

const std::optional<HeadGroups>& VulkanRunner::rounded_head() const {
  return parts_->rounded_head;
}

Sequence VulkanRunner::new_sequence() {
  return Sequence(parts_->cache);
}

std::vector<float> VulkanRunner::forward(std::span<const TokenRun> runs) {
  check_tokens(spec(), runs);
  return translate_errors(adapter().name, [&] {
    for (const TokenRun& run : runs) parts_->choose_regime(run);
    return keep_lengths_on_failure(runs, [&] { return parts_->run(runs); });
  });
}

int64_t VulkanRunner::bytes_per_token() const {
  int64_t bytes = parts_->weights.head->packed_bytes();
  for (const VulkanLayer& layer : parts_->weights.layers) bytes += layer.packed_bytes();
  return bytes;
}

int64_t VulkanRunner::kv_bytes_per_token() const {
  return parts_->cache->bytes_per_token();
}

int64_t VulkanRunner::dispatches() const {
  return parts_->pass->dispatches();
}

}  // namespace salient::runner
