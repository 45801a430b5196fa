// A C++ program for the generate() API of ONNX Runtime: a chat in one generator, several prompts at once, logits. It
// has its own RAII over the C functions, as ort_genai.h has. Arguments: the model's folder, a chat template.

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

extern "C" {
struct OgaResult;
struct OgaConfig;
struct OgaModel;
struct OgaTokenizer;
struct OgaSequences;
struct OgaGeneratorParams;
struct OgaGenerator;
struct OgaTensor;
const char* OgaResultGetError(const OgaResult*);
void OgaDestroyResult(OgaResult*);
void OgaDestroyString(const char*);
OgaResult* OgaCreateConfig(const char* path, OgaConfig** out);
void OgaDestroyConfig(OgaConfig*);
OgaResult* OgaConfigClearProviders(OgaConfig*);
OgaResult* OgaConfigOverlay(OgaConfig*, const char* json);
OgaResult* OgaCreateModelFromConfig(const OgaConfig*, OgaModel** out);
void OgaDestroyModel(OgaModel*);
OgaResult* OgaCreateTokenizer(const OgaModel*, OgaTokenizer** out);
void OgaDestroyTokenizer(OgaTokenizer*);
OgaResult* OgaTokenizerApplyChatTemplate(const OgaTokenizer*, const char* template_text, const char* messages,
                                         const char* tools, bool add_generation_prompt, const char** out);
OgaResult* OgaCreateSequences(OgaSequences** out);
void OgaDestroySequences(OgaSequences*);
OgaResult* OgaTokenizerEncode(const OgaTokenizer*, const char* text, OgaSequences*);
size_t OgaSequencesGetSequenceCount(const OgaSequences*, size_t index);
const int32_t* OgaSequencesGetSequenceData(const OgaSequences*, size_t index);
OgaResult* OgaCreateGeneratorParams(const OgaModel*, OgaGeneratorParams** out);
void OgaDestroyGeneratorParams(OgaGeneratorParams*);
OgaResult* OgaGeneratorParamsSetSearchNumber(OgaGeneratorParams*, const char* name, double value);
OgaResult* OgaCreateGenerator(const OgaModel*, const OgaGeneratorParams*, OgaGenerator** out);
void OgaDestroyGenerator(OgaGenerator*);
OgaResult* OgaGenerator_AppendTokens(OgaGenerator*, const int32_t* tokens, size_t count);
bool OgaGenerator_IsDone(OgaGenerator*);
OgaResult* OgaGenerator_GenerateNextToken(OgaGenerator*);
OgaResult* OgaGenerator_RewindTo(OgaGenerator*, size_t length);
OgaResult* OgaGenerator_GetLogits(OgaGenerator*, OgaTensor** out);
size_t OgaGenerator_GetSequenceCount(const OgaGenerator*, size_t index);
const int32_t* OgaGenerator_GetSequenceData(const OgaGenerator*, size_t index);
OgaResult* OgaTensorGetData(OgaTensor*, void** out);
OgaResult* OgaTensorGetShapeRank(OgaTensor*, size_t* out);
OgaResult* OgaTensorGetShape(OgaTensor*, int64_t* shape, size_t rank);
void OgaDestroyTensor(OgaTensor*);
}

namespace {

void check(OgaResult* result) {
  if (!result) return;
  const std::unique_ptr<OgaResult, decltype(&OgaDestroyResult)> owned(result, OgaDestroyResult);
  throw std::runtime_error(OgaResultGetError(result));
}

/// What `create`, which fills a handle, has made; `destroy` ends it.
template <typename T, typename Create>
auto own(void (*destroy)(T*), Create&& create) {
  T* handle = nullptr;
  check(create(&handle));
  return std::unique_ptr<T, void (*)(T*)>(handle, destroy);
}

std::vector<int32_t> encode(const OgaTokenizer& tokenizer, const std::string& text) {
  const auto sequences = own(OgaDestroySequences, OgaCreateSequences);
  check(OgaTokenizerEncode(&tokenizer, text.c_str(), sequences.get()));
  const int32_t* data = OgaSequencesGetSequenceData(sequences.get(), 0);
  return {data, data + OgaSequencesGetSequenceCount(sequences.get(), 0)};
}

std::string render(const OgaTokenizer& tokenizer, const char* chat_template, const std::string& text) {
  const std::string messages = R"([{"role": "user", "content": ")" + text + R"("}])";
  const char* rendered = nullptr;
  check(OgaTokenizerApplyChatTemplate(&tokenizer, chat_template, messages.c_str(), nullptr, true, &rendered));
  const std::string result = rendered;
  OgaDestroyString(rendered);
  return result;
}

void print(const OgaGenerator& generator, size_t row) {
  const int32_t* data = OgaGenerator_GetSequenceData(&generator, row);
  for (size_t i = 0; i < OgaGenerator_GetSequenceCount(&generator, row); ++i) std::printf(" %d", data[i]);
  std::printf("\n");
}

void write(OgaGenerator& generator) {
  while (!OgaGenerator_IsDone(&generator)) check(OgaGenerator_GenerateNextToken(&generator));
}

void chat(const OgaModel& model, const OgaTokenizer& tokenizer, const char* chat_template) {
  const auto params = own(OgaDestroyGeneratorParams, [&](auto out) { return OgaCreateGeneratorParams(&model, out); });
  check(OgaGeneratorParamsSetSearchNumber(params.get(), "max_length", 300));
  const auto generator =
      own(OgaDestroyGenerator, [&](auto out) { return OgaCreateGenerator(&model, params.get(), out); });
  size_t second_turn = 0;
  for (const char* text : {"hello there", "and then what"}) {
    const auto prompt = encode(tokenizer, render(tokenizer, chat_template, text));
    second_turn = OgaGenerator_GetSequenceCount(generator.get(), 0);
    check(OgaGenerator_AppendTokens(generator.get(), prompt.data(), prompt.size()));
    write(*generator);
    print(*generator, 0);
  }
  check(OgaGenerator_RewindTo(generator.get(), second_turn));
  const auto other = encode(tokenizer, render(tokenizer, chat_template, "something else"));
  check(OgaGenerator_AppendTokens(generator.get(), other.data(), other.size()));
  const auto logits = own(OgaDestroyTensor, [&](auto out) { return OgaGenerator_GetLogits(generator.get(), out); });
  size_t rank = 0;
  check(OgaTensorGetShapeRank(logits.get(), &rank));
  std::vector<int64_t> shape(rank);
  check(OgaTensorGetShape(logits.get(), shape.data(), rank));
  for (const int64_t size : shape) std::printf("%lld ", static_cast<long long>(size));
  void* data = nullptr;
  check(OgaTensorGetData(logits.get(), &data));
  const float* values = static_cast<const float*>(data);
  std::printf("best %td\n", std::max_element(values, values + shape.back()) - values);
  write(*generator);
  print(*generator, 0);
}

void batch(const OgaModel& model) {
  const auto params = own(OgaDestroyGeneratorParams, [&](auto out) { return OgaCreateGeneratorParams(&model, out); });
  check(OgaGeneratorParamsSetSearchNumber(params.get(), "max_length", 20));
  check(OgaGeneratorParamsSetSearchNumber(params.get(), "batch_size", 2));
  const auto generator =
      own(OgaDestroyGenerator, [&](auto out) { return OgaCreateGenerator(&model, params.get(), out); });
  const std::vector<int32_t> prompts = {'o', 'n', 'c', 'e', 't', 'h', 'e', 'n'};
  check(OgaGenerator_AppendTokens(generator.get(), prompts.data(), prompts.size()));
  write(*generator);
  for (size_t row = 0; row < 2; ++row) print(*generator, row);
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc != 3) return 2;
  const auto config = own(OgaDestroyConfig, [&](auto out) { return OgaCreateConfig(argv[1], out); });
  check(OgaConfigClearProviders(config.get()));
  check(OgaConfigOverlay(config.get(), R"({"search": {"do_sample": false}})"));
  const auto model = own(OgaDestroyModel, [&](auto out) { return OgaCreateModelFromConfig(config.get(), out); });
  const auto tokenizer = own(OgaDestroyTokenizer, [&](auto out) { return OgaCreateTokenizer(model.get(), out); });
  chat(*model, *tokenizer, argv[2]);
  batch(*model);
  try {
    own(OgaDestroyConfig, [](auto out) { return OgaCreateConfig("no/such/folder", out); });
  } catch (const std::runtime_error&) {
    std::printf("refused\n");
  }
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
