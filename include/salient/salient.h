#ifndef SALIENT_SALIENT_H
#define SALIENT_SALIENT_H

/* Salient's C interface: what salient.hpp has for opening a model, for generating and for the jobs around it, for other
 * languages too.
 *
 * Every function that can fail returns a SalientStatus; SalientLastError() then says in one sentence what was wrong, on
 * the same thread until its next call of this library. What a call gives in an `out` argument is untouched when it
 * fails. No exception crosses this border. A null handle or argument, where none is allowed, is
 * SALIENT_INVALID_INPUT; so is a destroyed handle in a debug build.
 *
 * Handles are destroyed by their SalientDestroy... function, in any order: a generator keeps its model alive. Null may
 * be destroyed. Texts and arrays that are given out belong to the caller, who frees them with SalientFree, unless said
 * otherwise. Texts are UTF-8 and end with a zero.
 *
 * Threads: a model and a tokenizer may be used from several threads at once, a configuration, stream or generator from
 * one at a time. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "salient/visibility.hpp"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum SalientStatus {
  SALIENT_OK = 0,
  SALIENT_INVALID_INPUT = 1,
  SALIENT_NOT_FOUND = 2,
  SALIENT_UNSUPPORTED = 3,
  SALIENT_OUT_OF_MEMORY = 4,
  SALIENT_DEVICE_LOST = 5,
  SALIENT_CANCELLED = 6,
  SALIENT_NETWORK = 7,
  SALIENT_INTERNAL = 8
} SalientStatus;

typedef struct SalientModel SalientModel;
typedef struct SalientTokenizer SalientTokenizer;
typedef struct SalientTokenStream SalientTokenStream;
typedef struct SalientConfig SalientConfig;
typedef struct SalientGenerator SalientGenerator;

/* "0.1.0"; not to be freed. */
SALIENT_API const char* SalientVersion(void);
/* What the last call that failed on this thread said; not to be freed. */
SALIENT_API const char* SalientLastError(void);
/* "invalid_input", ...; not to be freed. */
SALIENT_API const char* SalientStatusName(SalientStatus status);
SALIENT_API void SalientFree(void* text_or_array);

/* Opens a folder, GGUF file or name on the hub. `threads` of 0: all CPUs; `head` is "fp16", "int8" or "int4",
 * `kv_cache` "fp16" or "int8"; null: "fp16". `device` is "cpu", "gpu", "gpu:0", ..., "auto", or a
 * provider of ONNX Runtime as `ModelOptions` of salient.hpp lists them; null: "cpu". */
SALIENT_API SalientStatus SalientOpenModel(const char* name, int threads, const char* head, const char* kv_cache,
                                           const char* device, SalientModel** out);
SALIENT_API void SalientDestroyModel(SalientModel* model);
SALIENT_API SalientStatus SalientModelVocabSize(const SalientModel* model, int64_t* out);
SALIENT_API SalientStatus SalientModelContextLength(const SalientModel* model, int64_t* out);
/* One line: what runs, with which instructions, on how many threads. */
SALIENT_API SalientStatus SalientModelSummary(const SalientModel* model, char** out);
/* The prompt of a conversation: `messages` is a JSON array of {"role", "content"}, `tools` one of tools, or null. */
SALIENT_API SalientStatus SalientApplyChatTemplate(const SalientModel* model, const char* messages, const char* tools,
                                                   bool add_generation_prompt, char** out);

SALIENT_API SalientStatus SalientCreateTokenizer(const SalientModel* model, SalientTokenizer** out);
SALIENT_API void SalientDestroyTokenizer(SalientTokenizer* tokenizer);
SALIENT_API SalientStatus SalientEncode(const SalientTokenizer* tokenizer, const char* text, bool add_special_tokens,
                                        int32_t** out, size_t* out_count);
SALIENT_API SalientStatus SalientDecode(const SalientTokenizer* tokenizer, const int32_t* ids, size_t count,
                                        bool skip_special_tokens, char** out);
/* -1 when no token is spelled so. */
SALIENT_API SalientStatus SalientTokenId(const SalientTokenizer* tokenizer, const char* token, int32_t* out);

/* Decodes a text token by token. The pieces belong to the stream and live until its next call. */
SALIENT_API SalientStatus SalientCreateTokenStream(const SalientTokenizer* tokenizer, SalientTokenStream** out);
SALIENT_API void SalientDestroyTokenStream(SalientTokenStream* stream);
SALIENT_API SalientStatus SalientTokenStreamPush(SalientTokenStream* stream, int32_t id, const char** out);
SALIENT_API SalientStatus SalientTokenStreamFinish(SalientTokenStream* stream, const char** out);

/* How tokens are chosen. The names are those of salient::GenerationConfig: "temperature", "top_k", "max_tokens", ...;
 * switches are 0 or 1. An unknown one is an error that lists those that are known. */
SALIENT_API SalientStatus SalientCreateConfig(SalientConfig** out);
SALIENT_API void SalientDestroyConfig(SalientConfig* config);
SALIENT_API SalientStatus SalientConfigSet(SalientConfig* config, const char* name, double value);
SALIENT_API SalientStatus SalientConfigGet(const SalientConfig* config, const char* name, double* out);
SALIENT_API SalientStatus SalientConfigAddStopString(SalientConfig* config, const char* text);
/* What the reply must follow: `kind` is "json_schema", "regex" or "lark"; it is compiled when a generator is made. */
SALIENT_API SalientStatus SalientConfigSetGrammar(SalientConfig* config, const char* kind, const char* text);
SALIENT_API SalientStatus SalientConfigSetLogitBias(SalientConfig* config, int32_t token, float bias);

/* `config` may be null: the defaults. */
SALIENT_API SalientStatus SalientCreateGenerator(const SalientModel* model, const SalientConfig* config,
                                                 SalientGenerator** out);
SALIENT_API void SalientDestroyGenerator(SalientGenerator* generator);
SALIENT_API SalientStatus SalientAppendTokens(SalientGenerator* generator, const int32_t* ids, size_t count);
/* The token, which is no part of the reply if it ends it, and in `piece`, unless that is null, the text that is certain
 * with it; the piece belongs to the generator and lives until its next call. */
SALIENT_API SalientStatus SalientNextToken(SalientGenerator* generator, int32_t* id, const char** piece);
SALIENT_API SalientStatus SalientIsDone(const SalientGenerator* generator, bool* out);
/* "stop" or "length"; not to be freed. */
SALIENT_API SalientStatus SalientFinishReason(const SalientGenerator* generator, const char** out);
SALIENT_API SalientStatus SalientTokens(const SalientGenerator* generator, int32_t** out, size_t* out_count);
SALIENT_API SalientStatus SalientRewind(SalientGenerator* generator, size_t length);
/* For the next token: `count` must be the vocabulary's size. */
SALIENT_API SalientStatus SalientGetLogits(SalientGenerator* generator, float* logits, size_t count);
SALIENT_API SalientStatus SalientSetLogits(SalientGenerator* generator, const float* logits, size_t count);

/* Called as a reply grows; false stops it. */
typedef bool (*SalientPieceCallback)(void* context, const char* piece, size_t size);
/* The whole reply to a prompt, which takes the place of the text so far. `on_piece` may be null. */
SALIENT_API SalientStatus SalientReply(SalientGenerator* generator, const int32_t* prompt, size_t count,
                                       SalientPieceCallback on_piece, void* context, char** text);

/* Who watches a job. Its functions are called by the thread that does the work, with texts that live as long as the
 * call; either may be null. */
typedef struct SalientMonitor {
  /* How far it is; `unit` is what `done` and `total` count: "layers", "windows", "bytes". Another value than 0 ends the
   * work, which is then SALIENT_CANCELLED. */
  int (*on_progress)(void* context, const char* task, int64_t done, int64_t total, const char* unit);
  /* What happens, in single lines for a person. */
  void (*on_message)(void* context, const char* message);
  void* context;
} SalientMonitor;

/* The jobs. A model is a folder, a GGUF file or a name on the hub. `options` is the text of a JSON object, or null: the
 * defaults. Its names are those of the structure of salient.hpp that each function has; an unknown one is an error that
 * lists those that are known. `monitor` may be null. A report is the JSON text that the command of the program prints
 * with --json. */

/* Makes a model four times smaller: writes the folder `output`, which must not exist. Options: QuantizeOptions. */
SALIENT_API SalientStatus SalientQuantize(const char* model, const char* output, const char* options,
                                          const SalientMonitor* monitor, char** report);
/* How well a model predicts texts and, with "base", how far its predictions are from that one's. Options:
 * PerplexityOptions, and beside them "threads", "head" and "kv_cache". */
SALIENT_API SalientStatus SalientMeasurePerplexity(const char* model, const char* options,
                                                   const SalientMonitor* monitor, char** report);
/* Writes a model in another format: the folder, or for gguf the file, `output`, which must not exist. Options:
 * ExportOptions. */
SALIENT_API SalientStatus SalientExport(const char* model, const char* output, const char* options,
                                        const SalientMonitor* monitor, char** report);
/* Brings a model into the cache that Hugging Face tools share; gives where it is then. Options: PullOptions. */
SALIENT_API SalientStatus SalientPull(const char* name, const char* options, const SalientMonitor* monitor,
                                      char** path);

#ifdef __cplusplus
}
#endif

#endif
