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

/* Called with the bytes so far and in all (0 when unknown); false stops the download. */
typedef bool (*salient_download_progress)(void* context, uint64_t done, uint64_t total);

/* Downloads a URL into a file; goes on where the file ends if the server can. An incomplete file is left for that.
 * `status` is the server's answer, 0 when there was none. */
bool salient_download(const char* url, size_t url_size, const char* path, size_t path_size,
                      salient_download_progress progress, void* context, uint16_t* status, salient_text* error);
/* The SHA-256 of a file in lower-case hexadecimal. */
bool salient_sha256(const char* path, size_t path_size, salient_text* digest, salient_text* error);
/* Extracts one member of a zip archive into a file. */
bool salient_unzip_member(const char* archive, size_t archive_size, const char* member, size_t member_size,
                          const char* path, size_t path_size, salient_text* error);

#ifdef __cplusplus
}
#endif
