/* A C program for the generate() API of ONNX Runtime: questions and answers, as its documentation has them. The
 * declarations are those that such a program gets from ort_genai_c.h. Argument: the model's folder. */

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct OgaResult OgaResult;
typedef struct OgaModel OgaModel;
typedef struct OgaTokenizer OgaTokenizer;
typedef struct OgaTokenizerStream OgaTokenizerStream;
typedef struct OgaSequences OgaSequences;
typedef struct OgaGeneratorParams OgaGeneratorParams;
typedef struct OgaGenerator OgaGenerator;

const char* OgaResultGetError(const OgaResult* result);
void OgaDestroyResult(OgaResult*);
OgaResult* OgaCreateModel(const char* config_path, OgaModel** out);
void OgaDestroyModel(OgaModel*);
OgaResult* OgaModelGetType(const OgaModel* model, const char** out);
void OgaDestroyString(const char*);
OgaResult* OgaCreateTokenizer(const OgaModel* model, OgaTokenizer** out);
void OgaDestroyTokenizer(OgaTokenizer*);
OgaResult* OgaCreateTokenizerStream(const OgaTokenizer*, OgaTokenizerStream** out);
void OgaDestroyTokenizerStream(OgaTokenizerStream*);
OgaResult* OgaTokenizerStreamDecode(OgaTokenizerStream*, int32_t token, const char** out);
OgaResult* OgaCreateSequences(OgaSequences** out);
void OgaDestroySequences(OgaSequences*);
size_t OgaSequencesGetSequenceCount(const OgaSequences* sequences, size_t sequence_index);
OgaResult* OgaTokenizerEncode(const OgaTokenizer*, const char* text, OgaSequences* sequences);
OgaResult* OgaTokenizerDecode(const OgaTokenizer*, const int32_t* tokens, size_t token_count, const char** out_string);
OgaResult* OgaCreateGeneratorParams(const OgaModel* model, OgaGeneratorParams** out);
void OgaDestroyGeneratorParams(OgaGeneratorParams*);
OgaResult* OgaGeneratorParamsSetSearchNumber(OgaGeneratorParams*, const char* name, double value);
OgaResult* OgaGeneratorParamsSetSearchBool(OgaGeneratorParams*, const char* name, bool value);
OgaResult* OgaCreateGenerator(const OgaModel* model, const OgaGeneratorParams* params, OgaGenerator** out);
void OgaDestroyGenerator(OgaGenerator*);
OgaResult* OgaGenerator_AppendTokenSequences(OgaGenerator*, const OgaSequences*);
bool OgaGenerator_IsDone(OgaGenerator*);
OgaResult* OgaGenerator_GenerateNextToken(OgaGenerator*);
OgaResult* OgaGenerator_GetNextTokens(const OgaGenerator*, const int32_t** out, size_t* out_count);
size_t OgaGenerator_GetSequenceCount(const OgaGenerator*, size_t index);
const int32_t* OgaGenerator_GetSequenceData(const OgaGenerator*, size_t index);
void OgaShutdown(void);

static void check(OgaResult* result) {
  if (!result) return;
  fprintf(stderr, "%s\n", OgaResultGetError(result));
  OgaDestroyResult(result);
  exit(1);
}

static void answer(const OgaModel* model, const OgaTokenizer* tokenizer, const char* question) {
  OgaGeneratorParams* params = NULL;
  check(OgaCreateGeneratorParams(model, &params));
  check(OgaGeneratorParamsSetSearchNumber(params, "max_length", 60));
  check(OgaGeneratorParamsSetSearchBool(params, "do_sample", false));
  OgaSequences* prompt = NULL;
  check(OgaCreateSequences(&prompt));
  check(OgaTokenizerEncode(tokenizer, question, prompt));
  OgaGenerator* generator = NULL;
  check(OgaCreateGenerator(model, params, &generator));
  check(OgaGenerator_AppendTokenSequences(generator, prompt));
  OgaTokenizerStream* stream = NULL;
  check(OgaCreateTokenizerStream(tokenizer, &stream));

  printf("%s (%zu):", question, OgaSequencesGetSequenceCount(prompt, 0));
  while (!OgaGenerator_IsDone(generator)) {
    check(OgaGenerator_GenerateNextToken(generator));
    const int32_t* tokens = NULL;
    size_t count = 0;
    check(OgaGenerator_GetNextTokens(generator, &tokens, &count));
    const char* piece = NULL;
    check(OgaTokenizerStreamDecode(stream, tokens[0], &piece));
    printf(" %d/%zu <%s>", tokens[0], count, piece);
  }
  const size_t length = OgaGenerator_GetSequenceCount(generator, 0);
  const char* text = NULL;
  check(OgaTokenizerDecode(tokenizer, OgaGenerator_GetSequenceData(generator, 0), length, &text));
  printf("\n%zu: %s\n", length, text);
  OgaDestroyString(text);
  OgaDestroyTokenizerStream(stream);
  OgaDestroyGenerator(generator);
  OgaDestroySequences(prompt);
  OgaDestroyGeneratorParams(params);
}

int main(int argc, char** argv) {
  OgaModel* model = NULL;
  OgaTokenizer* tokenizer = NULL;
  OgaGeneratorParams* params = NULL;
  if (argc != 2) return 2;
  check(OgaCreateModel(argv[1], &model));
  const char* type = NULL;
  check(OgaModelGetType(model, &type));
  printf("%s\n", type);
  OgaDestroyString(type);
  check(OgaCreateTokenizer(model, &tokenizer));
  answer(model, tokenizer, "what is this");
  answer(model, tokenizer, "w\303\266rld, hello");
  check(OgaCreateGeneratorParams(model, &params));
  OgaResult* refusal = OgaGeneratorParamsSetSearchNumber(params, "foo", 1);
  printf("refused: %d\n", refusal != NULL);
  OgaDestroyResult(refusal);
  OgaDestroyGeneratorParams(params);
  OgaDestroyTokenizer(tokenizer);
  OgaDestroyModel(model);
  OgaShutdown();
  return 0;
}
