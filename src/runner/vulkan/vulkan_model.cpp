#include "runner/vulkan/vulkan_model.h"

#include <algorithm>
#include <utility>

#include "core/error.h"
#include "core/progress.h"
#include "kernels/kernels.h"
#include "runner/token_runs.h"
#include "runner/weight_bytes.h"

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

VulkanModel::VulkanModel(std::shared_ptr<const model::Decoder> decoder, core::ThreadPool& pool,
                         VulkanRunnerOptions options, Weights weights)
    : decoder_(std::move(decoder)),
      pool_(pool),
      options_(std::move(options)),
      device_(std::make_shared<VulkanDevice>(options_.adapter, options_.features)),
      activations_(choose_activations(options_, *device_)),
      rounded_head_(choose_head_groups(*decoder_, options_.head)),
      embeddings_(decoder_->embeddings()),
      pipelines_(*device_),
      arena_(*device_) {
  check_spec(*decoder_);
  if (weights == Weights::kUploaded) check_memory();
  pack(weights);
  cache_ = std::make_shared<VulkanKvCache>(device_, pipelines_, spec(), options_.kv_dtype);
  pass_.emplace(spec(), *device_, pipelines_, weights_, *cache_, activations_);
}

/// Before anything is packed, which takes long for a large model.
void VulkanModel::check_memory() const {
  const uint64_t weights = weight_bytes(*decoder_, options_.head, ZeroPoints::kLikeScale);
  const uint64_t work = VulkanPass::most_bytes(spec()) + VulkanKvCache::first_bytes(spec(), options_.kv_dtype);
  const uint64_t available = device_->available_memory();
  if (weights + work <= available) return;
  core::fail(core::ErrorKind::kOutOfMemory,
             "{}: it needs {} of the memory of gpu:{} ({}), {} of them for weights, but {} are free: choose another "
             "device, or a smaller model",
             decoder_->checkpoint().path.string(), core::format_bytes(weights + work), options_.adapter,
             device_->adapter().name, core::format_bytes(weights), core::format_bytes(available));
}

void VulkanModel::pack(Weights weights) {
  Uploader uploader(*device_);
  const PackingContext context{*device_, pool_, arena_, uploader, weights};
  weights_.head.emplace(rounded_head_ ? round_head(*decoder_, *rounded_head_) : decoder_->head(), "the output head",
                        context);
  weights_.final_norm = VulkanNorm(decoder_->final_norm(), context);
  for (int64_t i = 0; i < spec().layers; ++i) {
    weights_.layers.emplace_back(decoder_->layer(i), spec().attention[static_cast<size_t>(i)],
                                 decoder_->checkpoint().path.string() + ": " + model::layer_prefix(i), context);
    decoder_->checkpoint().release_pages();
    if (options_.progress) options_.progress({"loading", i + 1, spec().layers, "layers", {}});
  }
}

int64_t VulkanModel::bytes_per_token() const {
  int64_t bytes = weights_.head->packed_bytes();
  for (const VulkanLayer& layer : weights_.layers) bytes += layer.packed_bytes();
  return bytes;
}

void VulkanModel::embed(std::span<const int32_t> tokens, std::vector<float>& hidden) const {
  for (const int32_t token : tokens) {
    const size_t first = hidden.size();
    hidden.resize(first + static_cast<size_t>(spec().hidden_size));
    embeddings_.read_rows(token, 1, &hidden[first]);
    if (spec().embedding_scale == 1) continue;
    for (size_t i = first; i < hidden.size(); ++i) hidden[i] *= spec().embedding_scale;
  }
}

void VulkanModel::choose_regime(const TokenRun& run) {
  const std::vector<int32_t> history = enter_regime(spec(), run);
  if (history.empty()) return;
  const TokenRun again{history, run.sequence, Wanted::kNothing};
  if (options_.progress) {
    options_.progress({"computing the context again for its new length", 0, std::ssize(history), "tokens", {}});
  }
  this->run(std::span(&again, 1), 0);
}

VulkanOutput VulkanModel::run(std::span<const TokenRun> runs, int64_t top_count) {
  VulkanOutput output{.top_count = top_count};
  std::vector<VulkanSlice> slices;
  std::vector<float> hidden;
  std::vector<int64_t> wanted;
  int64_t tokens = 0;
  const auto finish = [&] {
    pass_->run(slices, hidden, wanted, output);
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
    kernels::active_kernels().soft_cap(output.logits.data(), std::ssize(output.logits), spec().logit_soft_cap);
  }
  return output;
}

}  // namespace salient::runner
