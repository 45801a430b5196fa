#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdlib>
#include <cstring>

#include "core/random.h"
#include "kernels/kernels.h"
#include "runner/cpu_runner.h"

namespace salient::runner {
namespace {

using checkpoint::Checkpoint;
using nlohmann::json;

/// FNV-1a of the bits of some numbers (Fowler, Noll and Vo), byte by byte from the lowest.
uint64_t digest(std::span<const float> numbers) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (const float number : numbers) {
    const auto bits = std::bit_cast<uint32_t>(number);
    for (int shift = 0; shift < 32; shift += 8) hash = (hash ^ (bits >> shift & 255)) * 0x100000001b3u;
  }
  return hash;
}

/// All logits of some tokens, given to the runner in pieces of these sizes, the last one again and again.
std::vector<float> logits_of(CpuRunner& runner, std::span<const int32_t> tokens, const std::vector<int64_t>& pieces) {
  Sequence sequence = runner.new_sequence();
  std::vector<float> all;
  size_t piece = 0;
  for (int64_t done = 0; done < std::ssize(tokens);) {
    const int64_t size = std::min(pieces[std::min(piece++, pieces.size() - 1)], std::ssize(tokens) - done);
    const TokenRun run{tokens.subspan(done, size), &sequence, Wanted::kAllLogits};
    const auto some = runner.forward(std::span(&run, 1));
    all.insert(all.end(), some.begin(), some.end());
    done += size;
  }
  return all;
}

/// Computes some tokens in one pass with two other sequences of the same text, one that goes on and one that begins:
/// expects the digest of the first one's logits, and the same rows for the others.
void expect_logits_in_batch(CpuRunner& runner, std::span<const int32_t> tokens, uint64_t expected) {
  const int64_t count = std::ssize(tokens);
  const int64_t before = count * 2 / 3;
  const int64_t more = count / 6;
  Sequence whole = runner.new_sequence();
  Sequence grown = runner.new_sequence();
  Sequence young = runner.new_sequence();
  const TokenRun earlier{tokens.first(before), &grown, Wanted::kNothing};
  runner.forward(std::span(&earlier, 1));
  const TokenRun runs[] = {{tokens.subspan(before, more), &grown, Wanted::kAllLogits},
                           {tokens, &whole, Wanted::kAllLogits},
                           {tokens.first(1), &young, Wanted::kAllLogits}};
  const auto all = runner.forward(runs);
  const int64_t vocab = runner.spec().vocab_size;
  ASSERT_EQ(std::ssize(all), (more + count + 1) * vocab);
  const auto rows = [&](int64_t first, int64_t size) { return std::span(all).subspan(first * vocab, size * vocab); };
  EXPECT_EQ(digest(rows(more, count)), expected);
  EXPECT_EQ(digest(rows(0, more)), digest(rows(more + before, more)));
  EXPECT_EQ(digest(rows(more + count, 1)), digest(rows(more, 1)));
}

/// Whether SALIENT_ISA names kernels that this CPU cannot run.
bool set_is_absent() {
  const char* wanted = std::getenv("SALIENT_ISA");
  return wanted && !kernels::find_kernels(wanted);
}

/// Fills a checkpoint with what its config.json asks for. Numbers are sums and products of few bits, so that they are
/// the same everywhere; std::normal_distribution's are not.
class ModelMaker {
 public:
  explicit ModelMaker(json config) {
    made_.path = config["model_type"].get<std::string>();
    made_.format = "synthetic";
    made_.config = std::move(config);
    made_.generation_config = json::object();
    spec_ = model::read_decoder_spec(made_.config, made_.generation_config, made_.path.string());
    add_matrix(model::kEmbeddingsName, spec_.vocab_size, spec_.hidden_size, 1.0f);
    if (!spec_.tied_embeddings) add_matrix(model::kHeadName, spec_.vocab_size, spec_.hidden_size, 0.25f);
    add_norm(spec_.names.final_norm, spec_.hidden_size);
    for (int64_t i = 0; i < spec_.layers; ++i) {
      for (const model::NormSlot& slot : model::norm_slots(spec_))
        add_norm(model::layer_prefix(i) + slot.name, slot.size);
    }
  }

  /// Linears in fp16, each with a bias.
  Checkpoint dense() {
    for_each_linear([this](const std::string& name, const model::LinearSlot& slot) {
      add_matrix(name, slot.stored_rows, slot.in_features, 0.25f);
      add_vector(name + ".bias", slot.stored_rows, 0.0f);
    });
    return made_;
  }

  /// Linears in groups of `group_size`, or of 16 where that does not divide their inputs. Scales are fp16 numbers, but
  /// not with offsets.
  Checkpoint quantized(int bits, int group_size, bool offsets) {
    for_each_linear([&](const std::string& name, const model::LinearSlot& slot) {
      core::QuantizedTensor weights;
      weights.out_features = slot.stored_rows;
      weights.in_features = slot.in_features;
      weights.bits = bits;
      weights.group_size = slot.in_features % group_size == 0 ? group_size : 16;
      const uint64_t codes = uint64_t{1} << bits;
      for (int64_t i = 0; i < slot.stored_rows * slot.in_features; ++i) {
        weights.codes.push_back(static_cast<uint8_t>(next() % codes));
      }
      for (int64_t i = 0; i < slot.stored_rows * weights.groups(); ++i) {
        const uint64_t steps = offsets ? 8192 : 64;
        const float scale = static_cast<float>(next() % steps + steps) / static_cast<float>(codes * steps * 4);
        weights.scales.push_back(scale);
        if (offsets) weights.offsets.push_back(-scale * static_cast<float>(codes / 2 - next() % 3));
        if (!offsets) weights.zeros.push_back(static_cast<uint8_t>(codes / 2 - next() % 3));
      }
      made_.quantized[name] = {core::hold(std::move(weights))};
    });
    return made_;
  }

 private:
  uint64_t next() { return core::random_bits(20261125, 0, counter_++); }
  /// Between -1 and 1, of 9 bits.
  float next_number() { return static_cast<float>(static_cast<int64_t>(next() % 512) - 256) / 256; }

  std::vector<float> numbers(int64_t count, float centre, float size) {
    std::vector<float> made(static_cast<size_t>(count));
    for (float& number : made) number = centre + size * next_number();
    return made;
  }
  void add_matrix(const std::string& name, int64_t rows, int64_t columns, float size) {
    made_.matrices[name + ".weight"] = {
        rows, columns, core::DType::kF16,
        [columns, values = numbers(rows * columns, 0.0f, size)](int64_t first, int64_t count, float* out) {
          std::memcpy(out, &values[first * columns], count * columns * sizeof(float));
        }};
  }
  void add_vector(const std::string& name, int64_t size, float centre) {
    const auto owned = std::make_shared<const std::vector<float>>(numbers(size, centre, 0.25f));
    checkpoint::StoredTensor stored;
    stored.view = {core::DType::kF32, {size}, std::as_bytes(std::span(*owned))};
    stored.file = {owned, nullptr};  // no file, but what keeps the numbers alive
    made_.tensors[name] = stored;
  }
  void add_norm(const std::string& name, int64_t size) {
    add_vector(name + ".weight", size, spec_.norm == model::NormKind::kRmsPlusOne ? 0.0f : 1.0f);
    if (spec_.norm == model::NormKind::kLayer) add_vector(name + ".bias", size, 0.0f);
  }
  template <typename Add>
  void for_each_linear(Add add) {
    for (int64_t i = 0; i < spec_.layers; ++i) {
      for (const model::LinearSlot& slot : model::linear_slots(spec_)) add(model::layer_prefix(i) + slot.name, slot);
    }
  }

  Checkpoint made_;
  model::DecoderSpec spec_;
  uint64_t counter_ = 0;
};

/// Three query heads share a key; 9 tiles of queries and 3 of keys; a vocabulary that ends inside a tile.
Checkpoint make_llama() {
  return ModelMaker({{"model_type", "llama"},
                     {"vocab_size", 251},
                     {"hidden_size", 96},
                     {"intermediate_size", 160},
                     {"num_hidden_layers", 2},
                     {"num_attention_heads", 3},
                     {"num_key_value_heads", 1},
                     {"head_dim", 48},
                     {"max_position_embeddings", 256},
                     {"rms_norm_eps", 1e-5}})
      .quantized(4, 32, /*offsets=*/false);
}

/// Norms around attention and MLP, a window in the first layer, bounded scores and logits, gelu.
Checkpoint make_gemma() {
  return ModelMaker({{"model_type", "gemma2"},
                     {"vocab_size", 203},
                     {"hidden_size", 128},
                     {"intermediate_size", 192},
                     {"num_hidden_layers", 2},
                     {"num_attention_heads", 4},
                     {"num_key_value_heads", 2},
                     {"head_dim", 32},
                     {"max_position_embeddings", 256},
                     {"rms_norm_eps", 1e-6},
                     {"hidden_activation", "gelu_pytorch_tanh"},
                     {"sliding_window", 21},
                     {"query_pre_attn_scalar", 32},
                     {"attn_logit_softcapping", 50.0},
                     {"final_logit_softcapping", 30.0}})
      .quantized(8, 64, /*offsets=*/true);
}

/// Norms that take the mean off, biases everywhere, heads that turn in part, an MLP beside attention.
Checkpoint make_phi() {
  return ModelMaker({{"model_type", "phi"},
                     {"vocab_size", 131},
                     {"hidden_size", 80},
                     {"intermediate_size", 144},
                     {"num_hidden_layers", 2},
                     {"num_attention_heads", 5},
                     {"head_dim", 16},
                     {"max_position_embeddings", 256},
                     {"layer_norm_eps", 1e-5},
                     {"partial_rotary_factor", 0.5},
                     {"hidden_act", "gelu_new"},
                     {"tie_word_embeddings", false}})
      .dense();
}

struct Case {
  const char* name;
  Checkpoint (*make)();
  core::DType kv_dtype;
  HeadPrecision head;
  /// Of the logits of all tokens, first computed by the scalar kernels on x86-64. It changes where the arithmetic or
  /// these models are changed on purpose, and for no other reason.
  uint64_t digest;
};

void PrintTo(const Case& tested, std::ostream* stream) {
  *stream << tested.name;
}

/// For the kernels that SALIENT_ISA names: ctest runs these tests once for each set of the build, so that every set, on
/// any processor, is held to the same digests.
class BitEquality : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    if (set_is_absent()) GTEST_SKIP() << "SALIENT_ISA cannot run on this CPU";
    decoder_ = std::make_shared<model::Decoder>(std::make_shared<Checkpoint>(GetParam().make()));
    for (int32_t i = 0; i < kTokens; ++i) tokens_.push_back(i * 37 % 127);
  }

  CpuRunner runner(core::ThreadPool& pool) const {
    return {decoder_, pool, {.kv_dtype = GetParam().kv_dtype, .head = GetParam().head}};
  }

  static constexpr int64_t kTokens = 75;  // more than a page of keys
  std::shared_ptr<model::Decoder> decoder_;
  std::vector<int32_t> tokens_;
};

TEST_P(BitEquality, LogitsAreTheSameForAnyNumberOfThreads) {
  for (const int threads : {1, 2, 3}) {
    core::ThreadPool pool(threads);
    CpuRunner tested = runner(pool);
    const auto all = logits_of(tested, tokens_, {kTokens});
    ASSERT_EQ(std::ssize(all), kTokens * decoder_->spec().vocab_size);
    ASSERT_TRUE(std::all_of(all.begin(), all.end(), [](float logit) { return std::isfinite(logit); }));
    EXPECT_EQ(digest(all), GetParam().digest)
        << fmt::format("{:#x} by {} kernels on {} threads", digest(all), kernels::active_kernels().name, threads);
  }
}

TEST_P(BitEquality, LogitsAreTheSameHoweverThePromptIsCut) {
  core::ThreadPool pool(2);
  CpuRunner tested = runner(pool);
  for (const std::vector<int64_t>& pieces : {std::vector<int64_t>{1}, {2}, {33, 1, 17, 3, 9, 8, 4}}) {
    const auto all = logits_of(tested, tokens_, pieces);
    EXPECT_EQ(digest(all), GetParam().digest) << fmt::format("{:#x} in pieces of {}", digest(all), pieces.front());
  }
}

TEST_P(BitEquality, LogitsAreTheSameInAMixedBatch) {
  for (const int threads : {1, 2, 3}) {
    core::ThreadPool pool(threads);
    CpuRunner tested = runner(pool);
    expect_logits_in_batch(tested, tokens_, GetParam().digest);
  }
}

constexpr auto kF32 = core::DType::kF32;
constexpr auto kF16 = core::DType::kF16;
constexpr auto kI8 = core::DType::kI8;

INSTANTIATE_TEST_SUITE_P(
    Models, BitEquality,
    testing::Values(Case{"Llama_int4_kv_fp32", make_llama, kF32, HeadPrecision::kInt4, 0xf213fe045094187a},
                    Case{"Llama_int4_kv_fp16", make_llama, kF16, HeadPrecision::kInt4, 0xb1d833c7afbdc58a},
                    Case{"Llama_int4_kv_int8", make_llama, kI8, HeadPrecision::kInt4, 0x84da4b5e8f5fd686},
                    Case{"Gemma_int8_kv_fp32", make_gemma, kF32, HeadPrecision::kStored, 0xe4848fe172df20aa},
                    Case{"Gemma_int8_kv_fp16", make_gemma, kF16, HeadPrecision::kStored, 0x2b30a66cec321d7f},
                    Case{"Gemma_int8_kv_int8", make_gemma, kI8, HeadPrecision::kStored, 0x2f17e2be89efa098},
                    Case{"Phi_fp16_kv_fp32", make_phi, kF32, HeadPrecision::kInt8, 0x887950bd4c4f3a36},
                    Case{"Phi_fp16_kv_fp16", make_phi, kF16, HeadPrecision::kInt8, 0x591a4f0b5086463f},
                    Case{"Phi_fp16_kv_int8", make_phi, kI8, HeadPrecision::kInt8, 0x97026043f24497b8}),
    [](const auto& test) { return std::string(test.param.name); });

/// A real model: SmolLM2-135M-Instruct, the file that scripts/fetch-smollm2 gets, where SALIENT_TEST_GGUF names it.
TEST(BitEqualityOfSmolLm2, LogitsAreTheSameForAnyThreadsCutsAndBatches) {
  const char* gguf = std::getenv("SALIENT_TEST_GGUF");
  if (!gguf || set_is_absent()) GTEST_SKIP() << "SALIENT_TEST_GGUF is not set, or SALIENT_ISA cannot run on this CPU";
  constexpr uint64_t kDigest = 0x6bef28e884f474d2;
  const auto decoder =
      std::make_shared<model::Decoder>(std::make_shared<Checkpoint>(checkpoint::open_checkpoint(gguf)));
  std::vector<int32_t> tokens;
  for (int32_t i = 0; i < 24; ++i) tokens.push_back(100 + i * 919 % 40000);
  for (const auto& [threads, pieces] : {std::pair{1, std::vector<int64_t>{24}}, std::pair{2, std::vector<int64_t>{1}},
                                        std::pair{3, std::vector<int64_t>{11, 1, 7, 3}}}) {
    core::ThreadPool pool(threads);
    CpuRunner runner(decoder, pool);
    const auto all = logits_of(runner, tokens, pieces);
    EXPECT_EQ(digest(all), kDigest) << fmt::format("{:#x} by {} kernels on {} threads", digest(all),
                                                   kernels::active_kernels().name, threads);
    if (threads == 3) expect_logits_in_batch(runner, tokens, kDigest);
  }
}

}  // namespace
}  // namespace salient::runner
