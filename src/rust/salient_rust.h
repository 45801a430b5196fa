#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The C face of the Rust crate. Every function that can fail returns true on success; on failure it returns false and
 * puts one sentence into `error`. Text and ids handed out belong to the caller, who frees them here. Text handed in is
 * UTF-8, with its size in bytes. Nothing unwinds across this border. */

#ifdef __cplusplus
extern "C" {
#endif

typedef struct salient_tokenizer salient_tokenizer;

typedef struct {
  char* data;
  size_t size;
} salient_text;

typedef struct {
  uint32_t* data;
  size_t size;
} salient_ids;

void salient_text_free(salient_text text);
void salient_ids_free(salient_ids ids);

/* A tokenizer from the text of its tokenizer.json; immutable, usable from several threads. */
bool salient_tokenizer_new(const char* json, size_t json_size, salient_tokenizer** tokenizer, salient_text* error);
void salient_tokenizer_free(salient_tokenizer* tokenizer);
bool salient_tokenizer_encode(const salient_tokenizer* tokenizer, const char* text, size_t text_size,
                              bool add_special_tokens, salient_ids* ids, salient_text* error);
/* Ids outside the vocabulary add nothing to the text. */
bool salient_tokenizer_decode(const salient_tokenizer* tokenizer, const uint32_t* ids, size_t count,
                              bool skip_special_tokens, salient_text* text, salient_text* error);
/* The id of a token's exact spelling; -1 when there is none. */
int64_t salient_tokenizer_id_of(const salient_tokenizer* tokenizer, const char* token, size_t token_size);
/* One more than the highest id, added tokens included. */
uint32_t salient_tokenizer_vocab_size(const salient_tokenizer* tokenizer);

/* Whether a Jinja template parses. */
bool salient_template_check(const char* source, size_t source_size, salient_text* error);
/* Renders a Jinja template with the fields of a JSON object as its variables, as transformers does. */
bool salient_template_render(const char* source, size_t source_size, const char* context_json, size_t context_size,
                             salient_text* text, salient_text* error);

/* The tokens of a model as the bytes they stand for, from its tokenizer.json: `size` ids, of which `end` ends a reply.
 * Immutable, usable from several threads. */
typedef struct salient_vocabulary salient_vocabulary;
bool salient_vocabulary_new(const char* json, size_t json_size, size_t size, uint32_t end,
                            salient_vocabulary** vocabulary, salient_text* error);
void salient_vocabulary_free(salient_vocabulary* vocabulary);

/* A grammar of `kind` "json_schema", "regex" or "lark", and how far one reply has come in it. */
typedef struct salient_grammar salient_grammar;
bool salient_grammar_new(const salient_vocabulary* vocabulary, const char* kind, size_t kind_size, const char* text,
                         size_t text_size, salient_grammar** grammar, salient_text* error);
/* The same grammar at its start. */
salient_grammar* salient_grammar_clone(const salient_grammar* grammar);
void salient_grammar_free(salient_grammar* grammar);
/* For each of the vocabulary's ids whether it may come next. */
bool salient_grammar_allowed(salient_grammar* grammar, bool* allowed, salient_text* error);
bool salient_grammar_accept(salient_grammar* grammar, uint32_t token, salient_text* error);
bool salient_grammar_rewind(salient_grammar* grammar, size_t tokens, salient_text* error);
void salient_grammar_restart(salient_grammar* grammar);
/* Whether nothing can follow. */
bool salient_grammar_complete(const salient_grammar* grammar);

/* Called with the bytes so far and in all (0 when unknown), and some times a second while nothing comes; false stops
 * the transfer. */
typedef bool (*salient_progress)(void* context, uint64_t done, uint64_t total);

/* What to ask a server for. The token (none when empty) goes to the host of the URL only, not where that redirects to.
 * A server that sends next to nothing for `stall_milliseconds` is given up. */
typedef struct {
  const char* url;
  size_t url_size;
  const char* token;
  size_t token_size;
  uint64_t stall_milliseconds;
  salient_progress progress;
  void* context;
} salient_http_request;

/* Whose fault it is that a transfer is not done. */
typedef enum {
  salient_failure_network = 0, /* another try may succeed, if the status allows it */
  salient_failure_answer = 1,  /* the server answers other things than were asked for */
  salient_failure_local = 2,   /* a file of this machine cannot be written */
} salient_failure;

/* What the server said last. It is filled in on failure too; the caller frees its texts. */
typedef struct {
  uint16_t status;         /* 0 when there was no answer */
  uint8_t failure;         /* a salient_failure */
  uint64_t retry_after;    /* the seconds the server asks to wait; 0 when it does not */
  salient_text link;       /* the header Link */
  salient_text error_code; /* the header X-Error-Code */
  salient_text etag;       /* X-Linked-Etag of any redirect, else ETag; without quotes */
  uint64_t size;           /* X-Linked-Size, else Content-Length; 0 when unknown */
} salient_http_answer;

/* The body of a URL, of at most `most_bytes`; 0: asks with HEAD, for the answer alone. */
bool salient_http_get(const salient_http_request* request, uint64_t most_bytes, salient_text* body,
                      salient_http_answer* answer, salient_text* error);
/* Downloads a URL into a file of `expected_size` bytes (0: unknown); goes on where the file ends if the server can. An
 * incomplete file is left for that. */
bool salient_download(const salient_http_request* request, const char* path, size_t path_size, uint64_t expected_size,
                      salient_http_answer* answer, salient_text* error);

/* The SHA-256 of a file in lower-case hexadecimal. */
bool salient_sha256(const char* path, size_t path_size, salient_text* digest, salient_text* error);
/* What git calls a file of this content: a SHA-1 in lower-case hexadecimal. */
bool salient_git_blob_id(const char* path, size_t path_size, salient_text* id, salient_text* error);

/* Extracts one member of a zip archive into a file. */
bool salient_unzip_member(const char* archive, size_t archive_size, const char* member, size_t member_size,
                          const char* path, size_t path_size, salient_text* error);
/* Unpacks a file of `kind` "gzip" or "zstd" into another. */
bool salient_unpack(const char* archive, size_t archive_size, const char* kind, size_t kind_size, const char* path,
                    size_t path_size, salient_text* error);

/* What stands around each row of a column that becomes a file, and what an empty row becomes. */
typedef struct {
  const char* before;
  size_t before_size;
  const char* after;
  size_t after_size;
  const char* empty;
  size_t empty_size;
} salient_rows;

/* Writes one text column of a Parquet table into a file. */
bool salient_parquet_column(const char* table, size_t table_size, const char* column, size_t column_size,
                            const salient_rows* rows, const char* path, size_t path_size, salient_text* error);

#ifdef __cplusplus
}
#endif
