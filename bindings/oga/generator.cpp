// The generator: one or several sequences, token by token.
#include <algorithm>
#include <mutex>
#include <random>

#include "oga/result.h"

using salient::oga::fail;
using salient::oga::guard;
using salient::oga::require;

namespace {

/// A generator, for one thread that must not wait: two in one generator is a mistake.
template <typename Generator>
class Held {
 public:
  explicit Held(Generator* generator)
      : generator_(require(generator, "generator")), lock_(generator_.busy, std::try_to_lock) {
    if (!lock_) fail("this generator is at work, expected one thread at a time");
  }
  Generator* operator->() { return &generator_; }

 private:
  Generator& generator_;
  std::unique_lock<std::mutex> lock_;
};

/// What a function that cannot fail gives: `other` for a handle that is not one, and when another thread is at work,
/// what there is after it.
template <typename Value, typename Body>
Value ask(const OgaGenerator* generator, Value other, Body&& body) {
  if (!OgaGenerator::is_alive(generator)) return other;
  const std::lock_guard lock(generator->busy);
  return body(*generator);
}

uint64_t seed_of(const salient::oga::Search& search) {
  const int64_t seed = search.whole("random_seed");
  return seed < 0 ? std::random_device()() : static_cast<uint64_t>(seed);
}

}  // namespace

OgaGenerator::OgaGenerator(const OgaModel& of, const OgaGeneratorParams& params)
    : model(of.model),
      search(params.search),
      end_tokens(salient::oga::end_tokens(of.config.document)),
      pad_token(static_cast<int32_t>(salient::oga::model_number(of.config.document, "pad_token_id").value_or(0))) {
  const int64_t context = salient::oga::context_length(of);
  search.check(context);
  if (end_tokens.empty()) end_tokens = model.end_tokens();
  const uint64_t seed = seed_of(search);
  for (int64_t row = 0; row < search.whole("batch_size"); ++row) {
    salient::GenerationConfig config = search.to_config(context, seed, static_cast<uint64_t>(row));
    config.end_tokens = end_tokens;
    config.grammar = params.guidance;
    rows.emplace_back(model, config);
  }
  sequences.resize(rows.size());
  ended.assign(rows.size(), false);
  next_tokens.assign(rows.size(), 0);
}

void OgaGenerator::check_session() const {
  if (terminated) fail("the session was terminated");
}

bool OgaGenerator::is_done() const {
  if (terminated || searched) return true;
  if (std::all_of(ended.begin(), ended.end(), [](bool row) { return row; })) return true;
  return length() > 0 && length() >= static_cast<size_t>(search.whole("max_length"));
}

void OgaGenerator::append(std::vector<std::vector<int32_t>> tokens) {
  check_session();
  if (tokens.size() != rows.size()) {
    fail(std::to_string(tokens.size()) + " sequences were given, batch_size is " + std::to_string(rows.size()));
  }
  if (length() > 0 && rows.size() > 1)
    fail("tokens can be appended once where batch_size is above 1; rewind to 0 first");
  size_t longest = 0;
  for (const auto& row : tokens) longest = std::max(longest, row.size());
  if (longest == 0) fail("there are no tokens to append");
  const auto most = static_cast<size_t>(search.whole("max_length"));
  if (longest + length() > most) {
    fail(std::to_string(longest) + " tokens and the " + std::to_string(length()) +
         " that there are exceed max_length, " + std::to_string(most));
  }
  for (size_t i = 0; i < rows.size(); ++i) {
    std::vector<int32_t> prompt = tokens[i];
    // Padding is for the eye of the caller: the model reads the text.
    while (rows.size() > 1 && prompt.size() > 1 && prompt.back() == pad_token) prompt.pop_back();
    try {
      rows[i].append_tokens(prompt);
    } catch (...) {
      for (size_t before = 0; before < i; ++before) rows[before].rewind_to(0);
      for (size_t before = 0; before < i; ++before) sequences[before].clear();
      throw;
    }
    tokens[i].resize(longest, pad_token);
    sequences[i].insert(sequences[i].end(), tokens[i].begin(), tokens[i].end());
  }
  last_run = longest;
  rewound = false;
  ended.assign(rows.size(), false);
}

void OgaGenerator::generate() {
  check_session();
  if (length() == 0) fail("there is no prompt: append tokens before the next one is generated");
  const auto most = static_cast<size_t>(search.whole("max_length"));
  if (search.whole("num_beams") > 1) return search_beams();
  if (length() >= most) fail("the sequence has max_length tokens, " + std::to_string(most));
  if (rewound) {
    // As there: a rewound text goes on with the token that followed.
    rows.front().append_tokens(next_tokens);
    sequences.front().push_back(next_tokens.front());
    rewound = false;
    if (length() >= most) return;
  }
  for (size_t i = 0; i < rows.size(); ++i) {
    if (ended[i] && rows.size() > 1) {
      next_tokens[i] = pad_token;
      continue;
    }
    const salient::Token token = rows[i].next_token();
    next_tokens[i] = token.id;
    ended[i] = token.ends_reply;
  }
  last_run = 1;
  // A token that ends the last of the replies is not appended.
  if (std::all_of(ended.begin(), ended.end(), [](bool row) { return row; })) return;
  for (size_t i = 0; i < rows.size(); ++i) sequences[i].push_back(next_tokens[i]);
}

/// All at once, and the best replies in the place of the prompt.
void OgaGenerator::search_beams() {
  if (searched) fail("the beams have been searched");
  const std::vector<int32_t> prompt = sequences.front();
  salient::GenerationConfig config = search.to_config(model.context_length(), 0, 0);
  config.context = search.whole("max_length");
  config.end_tokens = end_tokens;
  sequences.clear();
  for (const salient::BeamReply& reply : salient::beam_search(model, prompt, search.to_beams(), config)) {
    auto& sequence = sequences.emplace_back(prompt);
    sequence.insert(sequence.end(), reply.ids.begin(), reply.ids.end());
    if (reply.finish == salient::FinishReason::kStop) sequence.push_back(end_tokens.front());
  }
  next_tokens.clear();
  for (const auto& sequence : sequences) next_tokens.push_back(sequence.back());
  searched = true;
}

void OgaGenerator::rewind(size_t new_length) {
  if (new_length > length()) {
    fail("cannot rewind to " + std::to_string(new_length) + " tokens, there are " + std::to_string(length()));
  }
  if (new_length == length()) return;
  if (search.whole("num_beams") > 1) fail("beams cannot be rewound");
  if (rows.size() > 1 && new_length != 0) fail("a batch can only be rewound to 0");
  for (size_t i = 0; i < rows.size(); ++i) {
    rows[i].rewind_to(static_cast<int64_t>(new_length));
    next_tokens[i] = new_length > 0 ? sequences[i][new_length] : 0;
    sequences[i].resize(new_length);
  }
  ended.assign(rows.size(), false);
  rewound = new_length > 0;
}

std::unique_ptr<OgaTensor> OgaGenerator::logits() {
  const int64_t vocab_size = model.vocab_size();
  auto tensor = salient::oga::make_tensor(OgaElementType_float32, {static_cast<int64_t>(rows.size()), 1, vocab_size});
  auto* out = static_cast<float*>(tensor->data);
  for (salient::Generator& row : rows) {
    const std::vector<float> numbers = row.logits();
    out = std::copy(numbers.begin(), numbers.end(), out);
  }
  return tensor;
}

void OgaGenerator::set_logits(const OgaTensor& tensor) {
  const int64_t vocab_size = model.vocab_size();
  int64_t count = 1;
  for (const int64_t size : tensor.shape) count *= size;
  if (tensor.type != OgaElementType_float32 || count != static_cast<int64_t>(rows.size()) * vocab_size) {
    fail("the logits are " + std::to_string(count) + " numbers of type " + std::to_string(tensor.type) + ", expected " +
         std::to_string(rows.size()) + " x " + std::to_string(vocab_size) + " of fp32");
  }
  const auto* numbers = static_cast<const float*>(tensor.data);
  for (size_t i = 0; i < rows.size(); ++i) {
    rows[i].set_logits({numbers + i * static_cast<size_t>(vocab_size), static_cast<size_t>(vocab_size)});
  }
}

std::unique_ptr<OgaTensor> OgaGenerator::all_logits() {
  if (length() == 0) fail("there is no output yet: append tokens first");
  if (last_run == 1) return logits();
  const int64_t vocab_size = model.vocab_size();
  auto tensor = salient::oga::make_tensor(
      OgaElementType_float32, {static_cast<int64_t>(rows.size()), static_cast<int64_t>(last_run), vocab_size});
  auto* out = static_cast<float*>(tensor->data);
  for (const auto& sequence : sequences) {
    const std::vector<float> numbers = model.logits(sequence);
    out = std::copy(numbers.end() - static_cast<int64_t>(last_run) * vocab_size, numbers.end(), out);
  }
  return tensor;
}

OGA_EXPORT OgaResult* OgaCreateGenerator(const OgaModel* model, const OgaGeneratorParams* params, OgaGenerator** out) {
  return guard([&] { require(out, "out") = new OgaGenerator(require(model, "model"), require(params, "params")); });
}
OGA_EXPORT void OgaDestroyGenerator(OgaGenerator* generator) {
  OgaGenerator::destroy(generator);
}
OGA_EXPORT bool OgaGenerator_IsDone(OgaGenerator* generator) {
  return ask(generator, true, [](const OgaGenerator& of) { return of.is_done(); });
}
OGA_EXPORT bool OgaGenerator_IsSessionTerminated(const OgaGenerator* generator) {
  return OgaGenerator::is_alive(generator) && generator->terminated;
}
OGA_EXPORT OgaResult* OgaGenerator_AppendTokenSequences(OgaGenerator* generator, const OgaSequences* sequences) {
  return guard([&] { Held(generator)->append(require(sequences, "sequences").sequences); });
}
OGA_EXPORT OgaResult* OgaGenerator_AppendTokens(OgaGenerator* generator, const int32_t* tokens, size_t count) {
  return guard([&] {
    Held of(generator);
    if (count > 0) require(tokens, "input_ids");
    const size_t rows = of->rows.size();
    if (count == 0) fail("there are no tokens to append");
    if (count % rows != 0) {
      fail(std::to_string(count) + " tokens do not divide into " + std::to_string(rows) + " sequences");
    }
    std::vector<std::vector<int32_t>> sequences;
    for (size_t i = 0; i < count; i += count / rows) sequences.emplace_back(tokens + i, tokens + i + count / rows);
    of->append(std::move(sequences));
  });
}
OGA_EXPORT size_t OgaGenerator_TokenCount(const OgaGenerator* generator) {
  return ask(generator, size_t{0}, [](const OgaGenerator& of) { return of.length(); });
}
OGA_EXPORT OgaResult* OgaGenerator_GenerateNextToken(OgaGenerator* generator) {
  return guard([&] { Held(generator)->generate(); });
}
OGA_EXPORT OgaResult* OgaGenerator_GetNextTokens(const OgaGenerator* generator, const int32_t** out, size_t* count) {
  return guard([&] {
    Held of(generator);
    require(out, "out") = of->next_tokens.data();
    require(count, "out_count") = of->next_tokens.size();
  });
}
OGA_EXPORT OgaResult* OgaGenerator_SetRuntimeOption(OgaGenerator* generator, const char* key, const char* value) {
  return guard([&] {
    const std::string name = &require(key, "key");
    const std::string text = &require(value, "value");
    if (name != "terminate_session") fail("there is no runtime option \"" + name + "\"; there is terminate_session");
    if (text != "0" && text != "1") fail("terminate_session is \"" + text + "\", expected 0 or 1");
    require(generator, "generator").terminated = text == "1";
  });
}
OGA_EXPORT OgaResult* OgaGenerator_RewindTo(OgaGenerator* generator, size_t length) {
  return guard([&] { Held(generator)->rewind(length); });
}
OGA_EXPORT OgaResult* OgaGenerator_GetLogits(OgaGenerator* generator, OgaTensor** out) {
  return guard([&] {
    require(out, "out");
    *out = Held(generator)->logits().release();
  });
}
OGA_EXPORT OgaResult* OgaGenerator_SetLogits(OgaGenerator* generator, OgaTensor* tensor) {
  return guard([&] { Held(generator)->set_logits(require(tensor, "tensor")); });
}
OGA_EXPORT OgaResult* OgaGenerator_GetOutput(const OgaGenerator* generator, const char* name, OgaTensor** out) {
  return guard([&] {
    require(out, "out");
    const std::string wanted = &require(name, "name");
    if (wanted != "logits") fail("there is no output \"" + wanted + "\"; there is logits");
    // Asking computes what is not known yet; the text stays as it is.
    *out = Held(const_cast<OgaGenerator*>(generator))->all_logits().release();
  });
}
OGA_EXPORT OgaResult* OgaGenerator_GetInput(const OgaGenerator* generator, const char* name, OgaTensor** out) {
  return guard([&] {
    require(out, "out");
    Held of(generator);
    const std::string wanted = &require(name, "name");
    if (wanted != "input_ids") fail("there is no input \"" + wanted + "\"; there is input_ids");
    auto tensor = salient::oga::make_tensor(
        OgaElementType_int64, {static_cast<int64_t>(of->rows.size()), static_cast<int64_t>(of->last_run)});
    auto* ids = static_cast<int64_t*>(tensor->data);
    for (const auto& sequence : of->sequences) {
      ids = std::copy(sequence.end() - static_cast<int64_t>(of->last_run), sequence.end(), ids);
    }
    *out = tensor.release();
  });
}
OGA_EXPORT size_t OgaGenerator_GetSequenceCount(const OgaGenerator* generator, size_t index) {
  return ask(generator, size_t{0},
             [index](const OgaGenerator& of) { return index < of.sequences.size() ? of.sequences[index].size() : 0; });
}
OGA_EXPORT const int32_t* OgaGenerator_GetSequenceData(const OgaGenerator* generator, size_t index) {
  return ask<const int32_t*>(generator, nullptr, [index](const OgaGenerator& of) {
    return index < of.sequences.size() ? of.sequences[index].data() : nullptr;
  });
}
