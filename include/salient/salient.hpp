#pragma once

/// Salient's C++ interface: open a model, generate, and the long jobs around it. Link `salient::salient`
/// (find_package(salient)) or what `pkg-config --cflags --libs salient` says.
///
/// Every function throws salient::Error, whose text is one sentence for a person, and nothing else but std::bad_alloc.
/// The library prints nothing.
///
/// Threads: a Model, Tokenizer and ChatTemplate may be used from several threads at once. A Generator and a TokenStream
/// belong to one thread at a time; a Generator that two use at once says so (invalid_input). Generators of one Model
/// take turns with its CPUs.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "salient/error.hpp"
#include "salient/progress.hpp"
#include "salient/visibility.hpp"

namespace salient {
inline namespace v1 {

/// Of the library, as "0.1.0".
SALIENT_API std::string version();
/// The commit it was built from; "unknown" where there was no repository.
SALIENT_API std::string build_commit();
/// The instruction sets it has kernels for, best first, and the one that runs on this machine ("avx512vnni", "scalar";
/// SALIENT_ISA forces one).
SALIENT_API std::vector<std::string> kernel_names();
SALIENT_API std::string active_kernel_name();

/// How long work is watched and stopped. Callbacks come from the thread that does the work.
struct Monitor {
  ProgressCallback on_progress = {};
  /// What happens, in single lines for a person: what is run, what is downloaded.
  std::function<void(std::string_view)> on_message = {};
  /// Once it is requested, the work throws an Error of kind cancelled.
  std::stop_token stop = {};
};

/// How a model is run. An unknown word throws invalid_input with those that are known.
struct ModelOptions {
  int threads = 0;                ///< 0: all CPUs this process may use
  std::string head = "fp16";      ///< output head: "fp16" (as it is stored), "int8" or "int4", rounded at load
  std::string kv_cache = "fp16";  ///< keys and values: "fp16" or "int8"
  /// What it runs on: "cpu", "gpu:0", "gpu:1", ... as list_devices shows them, "gpu", the best of those that are no
  /// software, or "auto": such a GPU if there is one and the model can run there and fits, else the CPU; or, for ONNX
  /// folders of the generate() API, a provider of ONNX Runtime: "ort-cpu", "webgpu", "dml", "cuda", "openvino" or
  /// "coreml". A device that was named is never replaced by another.
  std::string device = "cpu";
};

class Tokenizer;
class ChatTemplate;

/// What a name on the command line, in this header and in the modules calls a model: a folder (safetensors, AutoAWQ,
/// GPTQ, compressed-tensors, ONNX of the generate() API), a GGUF file, or a name on the hub.
using ModelName = std::filesystem::path;

/// A model ready to run. Copies are the same model, which lives as long as one of them or a Generator does.
class SALIENT_API Model {
 public:
  /// Opens and packs it. A name is looked for in the cache of the hub and downloaded when it is not there.
  explicit Model(const ModelName& name, const ModelOptions& options = {}, const Monitor& monitor = {});

  std::filesystem::path path() const;
  std::string format() const;      ///< "safetensors", "awq", "gptq", "compressed-tensors", "gguf", "onnx"
  std::string family() const;      ///< "llama", "phi3", "qwen2", ...
  std::string arithmetic() const;  ///< "int4 in groups of 128, int8 activations"
  std::string device() const;      ///< it runs on: "cpu", "gpu:0", "webgpu"
  std::string summary() const;     ///< one line: what runs, with which instructions, on how many threads
  int64_t vocab_size() const;
  int64_t context_length() const;              ///< tokens of prompt and reply that it was trained for
  std::vector<int32_t> end_tokens() const;     ///< those that end a reply
  std::optional<int32_t> begin_token() const;  ///< the one that texts begin with, when it names one
  std::string config_json() const;             ///< config.json, or what a file of another format says in its terms
  std::string generation_config_json() const;  ///< generation_config.json; "{}" without one
  std::string tokenizer_config_json() const;   ///< tokenizer_config.json; "{}" without one

  /// The logits after each of these tokens, in one pass: [tokens, vocab_size], fp32. Throws invalid_input when there
  /// are none, more than the context holds, or one is outside the vocabulary.
  std::vector<float> logits(std::span<const int32_t> tokens) const;

  /// Throws not_found when it has none.
  Tokenizer tokenizer() const;
  /// Throws unsupported when it is not a chat model.
  ChatTemplate chat_template() const;

  struct Parts;
  const std::shared_ptr<Parts>& parts() const { return parts_; }

 private:
  std::shared_ptr<Parts> parts_;
};

/// Text to token ids and back, as the model's tokenizer.json describes it. Immutable.
class SALIENT_API Tokenizer {
 public:
  /// `add_special_tokens` adds what the tokenizer's post-processor adds (a BOS, say); special tokens spelled out in the
  /// text are recognised either way. Throws invalid_input for text that is not UTF-8.
  std::vector<int32_t> encode(std::string_view text, bool add_special_tokens = true) const;
  /// An id outside the vocabulary has no text.
  std::string decode(std::span<const int32_t> ids, bool skip_special_tokens = true) const;
  /// The id of a token's exact spelling, for example "<|im_end|>".
  std::optional<int32_t> id_of(std::string_view token) const;
  /// One more than the highest id. A model's own table may be longer.
  int32_t vocab_size() const;

  /// That of a model which is not loaded for it. Throws not_found when it has none.
  static Tokenizer open(const ModelName& name, const Monitor& monitor = {});

  struct Parts;
  explicit Tokenizer(std::shared_ptr<const Parts> parts);
  const std::shared_ptr<const Parts>& parts() const { return parts_; }

 private:
  std::shared_ptr<const Parts> parts_;
};

/// Decodes a text that arrives token by token: no piece ends inside a UTF-8 character.
class SALIENT_API TokenStream {
 public:
  explicit TokenStream(const Tokenizer& tokenizer, bool skip_special_tokens = true);
  ~TokenStream();
  TokenStream(TokenStream&&) noexcept;
  TokenStream& operator=(TokenStream&&) noexcept;

  /// The text that this token completes; empty while a character is unfinished.
  std::string push(int32_t id);
  /// What is left when the text ends inside a character.
  std::string finish();

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

/// One turn of a conversation; role is "system", "user" or "assistant".
struct Message {
  std::string role;
  std::string content;
};

/// A model's chat template (Jinja), rendered as transformers does it. Immutable.
class SALIENT_API ChatTemplate {
 public:
  /// Another template for this model, with its special tokens. Throws invalid_input when it does not parse.
  ChatTemplate(const Model& model, const std::string& source);

  /// The prompt text. It has the special tokens it needs: encode it without adding any.
  std::string render(const std::vector<Message>& messages, bool add_generation_prompt = true) const;
  /// The same from JSON, so that messages may have what the template knows (tool calls, say): an array of objects, and
  /// an array of tools or an empty string.
  std::string render_json(std::string_view messages, std::string_view tools = {},
                          bool add_generation_prompt = true) const;

  /// That of a model which is not loaded for it, or with its special tokens another one.
  static ChatTemplate open(const ModelName& name, const std::optional<std::string>& source = {},
                           const Monitor& monitor = {});

  struct Parts;
  explicit ChatTemplate(std::shared_ptr<const Parts> parts);

 private:
  std::shared_ptr<const Parts> parts_;
};

/// What a reply must follow. `kind` is "json_schema", "regex" (of the whole reply) or "lark" (llguidance's dialect).
struct Grammar {
  std::string kind;
  std::string text;
};

/// How tokens are chosen and when a reply ends. The filters work in this order, which is that of transformers: logit
/// bias and penalties, no-repeat n-grams, then temperature, top_k, top_p, min_p, each on what the one before leaves.
/// The same seed gives the same text on every machine, instruction set and batch.
struct SALIENT_API GenerationConfig {
  double temperature = 0.7;             ///< 0: always the most likely token
  int64_t top_k = 40;                   ///< keep the k most likely; 0: all
  double top_p = 0.95;                  ///< keep the most likely until their probabilities reach this; 1: all
  double min_p = 0;                     ///< keep those at least this share as likely as the most likely; 0: all
  double repetition_penalty = 1;        ///< divides positive logits of what stands in prompt or reply; 1: none
  double presence_penalty = 0;          ///< taken off the logit of what stands in the reply
  double frequency_penalty = 0;         ///< the same for each time that it does
  int64_t no_repeat_ngram_size = 0;     ///< no n tokens stand twice in prompt and reply; 0: they may
  std::map<int32_t, float> logit_bias;  ///< added to logits; -infinity forbids a token
  uint64_t seed = 0;
  uint64_t stream = 0;  ///< another stream is another text of the same seed

  int64_t max_tokens = 0;                          ///< of the reply; 0: until the model ends it or the context is full
  int64_t context = 0;                             ///< of prompt and reply together; 0: what the model was trained for
  int64_t min_length = 0;                          ///< no token ends the reply before both together have so many
  std::vector<std::string> stop_strings;           ///< end the reply, which does not have them
  std::optional<std::vector<int32_t>> end_tokens;  ///< instead of those that the model names
  std::optional<Grammar> grammar;                  ///< what the reply must follow
  bool speculate = true;               ///< several tokens at once where that is faster; the text is the same
  int64_t top_log_probabilities = -1;  ///< with each token those of so many most likely; -1: none, not its own

  /// Throws invalid_input, naming what is out of range. A Generator does too.
  void check() const;
  /// Sets a number or switch (0 or 1) by its name here. Throws invalid_input for an unknown one, with those that are
  /// known, and for a number that cannot be one of them (1.5 tokens).
  void set(std::string_view name, double value);
  /// What it is set to.
  double get(std::string_view name) const;
  /// The names that `set` knows.
  static std::vector<std::string> names();
};

enum class FinishReason {
  kStop,       ///< the model ended it, or a stop string did
  kLength,     ///< max_tokens, or the context is full
  kCancelled,  ///< a stop request
};
/// "stop", "length" or "cancelled".
SALIENT_API std::string name_of(FinishReason reason);

struct LogProbability {
  int32_t id = 0;
  float value = 0;  ///< natural logarithm, of the model's own distribution: before temperature, filters, penalties
};

/// A token of a reply.
struct Token {
  int32_t id = 0;
  std::string text;         ///< what is certain with it; the rest of the reply's text comes with its last token
  bool ends_reply = false;  ///< an end token, which is no part of the reply
  std::optional<float> log_probability;               ///< where the configuration asks for it
  std::vector<LogProbability> top_log_probabilities;  ///< most likely first
};

/// What a reply was and what it cost.
struct Reply {
  std::string text;
  std::vector<int32_t> ids;  ///< the token that ended the reply not included
  FinishReason finish = FinishReason::kStop;
  int64_t prompt_tokens = 0;
  int64_t cached_tokens = 0;    ///< of the prompt, known from the text before
  int64_t drafted_tokens = 0;   ///< by speculation
  int64_t accepted_tokens = 0;  ///< of them, chosen
  double prompt_seconds = 0;
  double generate_seconds = 0;
  std::vector<float> log_probabilities;                            ///< of `ids`, where asked for
  std::vector<std::vector<LogProbability>> top_log_probabilities;  ///< of each of `ids`

  /// After the first token, whose logits came with the prompt.
  double tokens_per_second() const {
    return generate_seconds > 0 && ids.size() > 1 ? static_cast<double>(ids.size() - 1) / generate_seconds : 0;
  }
};

/// Receives a reply as it grows, in pieces of whole UTF-8 characters.
using PieceCallback = std::function<void(std::string_view piece)>;

/// One text of a model: prompts are appended, tokens chosen, and all can be taken back. It keeps the keys and values of
/// its text: of a prompt that goes on from it only the rest is computed.
class SALIENT_API Generator {
 public:
  /// Throws invalid_input for a configuration that makes no sense, not_found when the model has no tokenizer.
  explicit Generator(const Model& model, const GenerationConfig& config = {});
  ~Generator();
  Generator(Generator&&) noexcept;
  Generator& operator=(Generator&&) noexcept;

  /// Appends a prompt, or more of one, and computes it. Throws invalid_input when it is empty, has a token outside the
  /// vocabulary or leaves no room in the context; cancelled, with what was computed by then appended.
  void append_tokens(std::span<const int32_t> tokens, std::stop_token stop = {});
  /// Chooses the next token. Throws invalid_input without a prompt, and once the reply has reached its length.
  Token next_token();
  bool is_done() const;
  /// Throws invalid_input while the reply goes on.
  FinishReason finish_reason() const;
  /// Prompt and reply.
  std::vector<int32_t> tokens() const;
  int64_t token_count() const;
  /// Forgets all but the first `length` tokens; the reply goes on from there. Throws invalid_input when there are
  /// fewer.
  void rewind_to(int64_t length);
  /// For the token that comes next: [vocab_size], fp32.
  std::vector<float> logits();
  /// Lets the next token be chosen from these. Throws invalid_input for another size than vocab_size.
  void set_logits(std::span<const float> logits);

  /// The whole reply to a prompt, which takes the place of the text so far; what both begin with is kept. A stop
  /// request ends it after the token in work.
  Reply reply(std::span<const int32_t> prompt, const PieceCallback& on_piece = {}, std::stop_token stop = {});

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

/// Receives the replies of a batch as they grow; `index` is that of the prompt.
using BatchPieceCallback = std::function<void(size_t index, std::string_view piece)>;

/// The replies to several prompts, which go through the model together: the same texts as one after the other.
SALIENT_API std::vector<Reply> generate_batch(const Model& model, std::span<const std::vector<int32_t>> prompts,
                                              const GenerationConfig& config = {},
                                              const BatchPieceCallback& on_piece = {}, std::stop_token stop = {});

/// How beams are searched, as in transformers.
struct BeamOptions {
  int64_t num_beams = 4;
  int64_t num_return_sequences = 1;  ///< at most num_beams
  double length_penalty = 1;         ///< scores are divided by length ^ this: above 0 favours long replies
  bool early_stopping = false;       ///< end with num_beams replies; else when no beam can become better than they are
  bool count_prompt = false;         ///< in the length of scores, as onnxruntime-genai does
};
/// One of the best replies to a prompt.
struct BeamReply {
  std::string text;
  std::vector<int32_t> ids;  ///< the token that ended it not included
  double score = 0;          ///< sum of log probabilities / length ^ length_penalty
  FinishReason finish = FinishReason::kStop;
};
/// The best replies, best first. Of the configuration it obeys max_tokens, context, min_length, end_tokens,
/// repetition_penalty and no_repeat_ngram_size; a grammar is unsupported. Throws invalid_input, or cancelled.
SALIENT_API std::vector<BeamReply> beam_search(const Model& model, std::span<const int32_t> prompt,
                                               const BeamOptions& options = {}, const GenerationConfig& config = {},
                                               std::stop_token stop = {});

/// A report for a program, and the same for a person.
struct Report {
  std::string json;
  std::string text;
};

/// What a model is, without loading it, as JSON. `tensors`: how each is stored and would be run.
SALIENT_API std::string inspect_model(const ModelName& name, bool tensors = false, const Monitor& monitor = {});

struct QuantizeOptions {
  std::filesystem::path output;  ///< folder to write; must not exist
  std::string format = "awq";    ///< or "compressed-tensors"
  std::string method = "awq+";   ///< or "awq": no compensation, worse in half the time; or "rtn": plain rounding
  bool clip = true;              ///< search clipping too
  int group_size = 0;            ///< 128, 64 or 32; 0: the largest that fits
  bool symmetric = false;        ///< without zero points: a little worse and smaller; for compressed-tensors
  /// Where one of these is not 0, the layers that lose most get int8, which takes the format compressed-tensors: as
  /// many as `target_bytes` of tensors have room for, or as few as a KL divergence of `target_divergence` (nats a
  /// token, on a sixteenth of the calibration text, which is held out) needs.
  uint64_t target_bytes = 0;
  double target_divergence = 0;
  /// Text file, .jsonl file (in each line "text", "messages" or "conversations"), folder of such documents, or a set
  /// that is downloaded: "wikitext2-train", "pile-10k", "pileval"; empty: text that the model writes.
  std::string calibration;
  std::filesystem::path data_dir;
  int64_t calibration_sequences = 48;
  int64_t calibration_tokens = 512;  ///< of a sequence
  uint64_t seed = 0;                 ///< of the text that the model writes, or of the choice of documents
  bool resume = false;               ///< go on with an interrupted run of the same settings
  bool dry_run = false;              ///< report the size, memory and time it would take, and do no more
  int threads = 0;
};
/// Makes a model four times smaller, with salient-report.json and .html beside it. Throws invalid_input, unsupported or
/// cancelled: what was finished is then kept for a run that resumes.
SALIENT_API Report quantize_model(const ModelName& name, const QuantizeOptions& options, const Monitor& monitor = {});

struct PerplexityOptions {
  std::vector<std::string> data = {"wikitext2"};  ///< "wikitext2", "ptb", "self" or a text file
  std::filesystem::path data_dir;
  /// The model before quantization: adds difference, KL divergence and agreement. It runs on the CPU.
  ModelName base;
  std::string recipe = "paper";
  int64_t window = 0;  ///< 0: the recipe's; so is stride
  int64_t stride = 0;
  int64_t limit = 0;   ///< windows at most; 0: all
  bool exact = false;  ///< activations, keys and values in fp32; on a GPU keys and values stay in fp16
  ModelOptions model;
};
/// How well a model predicts a text, and with a base how far its predictions are from that one's.
struct PerplexityResult {
  std::string data;
  double perplexity = 0;
  double standard_error = 0;
  std::optional<double> base_perplexity;
  std::optional<double> kl_divergence;  ///< KL(base || model), nats
  std::optional<double> top1_agreement;
};
struct PerplexityReport : Report {
  std::vector<PerplexityResult> results;  ///< one for each of `data`
};
SALIENT_API PerplexityReport measure_perplexity(const ModelName& name, const PerplexityOptions& options = {},
                                                const Monitor& monitor = {});

struct ExportOptions {
  std::filesystem::path output;  ///< folder, or for gguf file; must not exist
  std::string format = "awq";    ///< "awq", "compressed-tensors", "gguf" or "onnx"
  std::string layout = "cpu";    ///< of an onnx graph: or "dml"
  std::optional<int> accuracy_level;
  bool exact = false;  ///< refuse where a quantized weight would change
  int64_t limit = 4;   ///< windows that a change is measured on; 0: none
  int threads = 0;     ///< for measuring
};
/// Writes a model in another format, as exactly as that can hold it, and says what changed.
SALIENT_API Report export_model(const ModelName& name, const ExportOptions& options, const Monitor& monitor = {});

struct PullOptions {
  std::string device = "cpu";  ///< of a short name's quantized variant: or "dml"
  bool base = false;           ///< of a short name: the model before quantization
};
/// A model in the cache that Hugging Face tools share.
struct CachedModel {
  std::string name;
  std::string repository;
  std::string revision;
  std::string commit;
  std::string folder;  ///< within the repository
  std::filesystem::path path;
  std::string format;
  std::string license;
  uint64_t bytes = 0;
};
/// Brings a model into the cache. An interrupted pull goes on where it was.
SALIENT_API CachedModel pull_model(const std::string& name, const PullOptions& options = {},
                                   const Monitor& monitor = {});
SALIENT_API std::vector<CachedModel> cached_models();
/// Where they are.
SALIENT_API std::filesystem::path cache_folder();
/// The short names that pull_model knows.
SALIENT_API std::vector<std::string> known_models();

struct SpeedOptions {
  std::string synthetic;  ///< instead of a model, random int4 weights in this one's shape
  int64_t prompt_tokens = 512;
  int64_t generate_tokens = 128;
  std::optional<int64_t> depth;  ///< nothing: 4096, or what the context holds
  int64_t repetitions = 5;
  ModelOptions model;
};
struct DeviceOptions {
  bool measure = false;  ///< how fast memory is read and, on GPUs, copied, and what that allows for some models
  int threads = 0;
};
/// What models can run on here.
SALIENT_API Report list_devices(const DeviceOptions& options = {});

/// How fast a model runs here, and how much of the machine's memory bandwidth it uses.
SALIENT_API Report measure_speed(const ModelName& name, const SpeedOptions& options = {}, const Monitor& monitor = {});
/// What decoding a token on a GPU moves through its memory, counted from the commands that are recorded for it and
/// not run, and how fast known devices could be by their published bandwidth: estimates. Of the options it obeys
/// synthetic, depth and model. Throws invalid_input for another device.
SALIENT_API Report count_traffic(const ModelName& name, const SpeedOptions& options = {}, const Monitor& monitor = {});
/// The names that `synthetic` may be.
SALIENT_API std::vector<std::string> synthetic_models();
/// Writes such a model as an AutoAWQ folder.
SALIENT_API Report write_synthetic_model(const std::string& name, const std::filesystem::path& output,
                                         const Monitor& monitor = {});

}  // namespace v1
}  // namespace salient
