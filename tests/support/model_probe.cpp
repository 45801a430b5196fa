// Shows tests in other languages what Salient sees inside a model.
//   model_probe logits MODEL IDS OUT [--exact]   fp32 logits [tokens, vocab_size] of token ids, one a line in IDS
//   model_probe linears MODEL OUT                fp32 weights of the linears of all layers, as safetensors
//   model_probe encode MODEL TEXT OUT            token ids of the text file, one a line
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>

#include "checkpoint/checkpoint.h"
#include "checkpoint/safetensors_writer.h"
#include "core/error.h"
#include "runner/cpu_runner.h"
#include "text/tokenizer.h"

namespace {

using namespace salient;

void write_floats(const std::string& path, const std::vector<float>& values) {
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(values.data()), std::ssize(values) * int64_t{sizeof(float)});
}

void write_logits(const std::string& model, const std::string& ids_path, const std::string& out, bool exact) {
  std::ifstream file(ids_path);
  const std::vector<int32_t> ids{std::istream_iterator<int32_t>(file), {}};
  auto checkpoint = std::make_shared<checkpoint::Checkpoint>(checkpoint::open_checkpoint(model));
  core::ThreadPool pool;
  runner::CpuRunnerOptions options;
  if (exact) options = {.activations = runner::Activations::kFp32, .kv_dtype = core::DType::kF32};
  runner::CpuRunner runner(std::make_shared<model::Decoder>(std::move(checkpoint)), pool, options);
  runner::Sequence sequence = runner.new_sequence();
  const runner::TokenRun run{ids, &sequence, runner::Wanted::kAllLogits};
  write_floats(out, runner.forward(std::span(&run, 1)));
}

void write_linears(const std::string& model, const std::string& out) {
  const model::Decoder decoder(std::make_shared<checkpoint::Checkpoint>(checkpoint::open_checkpoint(model)));
  std::vector<checkpoint::OutputTensor> tensors;
  for (int64_t i = 0; i < decoder.spec().layers; ++i) {
    for (const model::LinearSlot& slot : model::linear_slots(decoder.spec())) {
      if (slot.first_row > 0) continue;  // what is stored as one is shown as one
      const core::LinearWeights weights =
          decoder.checkpoint().linear(model::layer_prefix(i) + slot.name, slot.stored_rows, slot.in_features);
      std::vector<float> values(weights.out_features() * weights.in_features());
      weights.read_rows(0, weights.out_features(), values.data());
      checkpoint::OutputTensor tensor{model::layer_prefix(i) + slot.name,
                                      core::DType::kF32,
                                      {weights.out_features(), weights.in_features()},
                                      std::vector<std::byte>(values.size() * sizeof(float))};
      std::memcpy(tensor.bytes.data(), values.data(), tensor.bytes.size());
      tensors.push_back(std::move(tensor));
    }
  }
  checkpoint::write_safetensors(out, tensors);
}

void write_ids(const std::string& model, const std::string& text_path, const std::string& out) {
  const checkpoint::Checkpoint checkpoint = checkpoint::open_checkpoint(model);
  const text::Tokenizer tokenizer(checkpoint.tokenizer_json, model);
  std::ifstream file(text_path, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  std::ofstream ids(out);
  for (const int32_t id : tokenizer.encode(text, true)) ids << id << '\n';
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> words(argv + 1, argv + argc);
  try {
    if (words.size() == 3 && words[0] == "linears") {
      write_linears(words[1], words[2]);
    } else if (words.size() >= 4 && words[0] == "logits") {
      write_logits(words[1], words[2], words[3], words.size() > 4 && words[4] == "--exact");
    } else if (words.size() == 4 && words[0] == "encode") {
      write_ids(words[1], words[2], words[3]);
    } else {
      core::fail(core::ErrorKind::kInvalidInput, "expected linears MODEL OUT, or logits or encode MODEL INPUT OUT");
    }
  } catch (const core::Error& error) {
    std::fprintf(stderr, "model_probe: %s\n", error.what());
    return 1;
  }
  return 0;
}
