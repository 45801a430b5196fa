/* Continues a text, greedily: chat MODEL PROMPT */
#include <salient/salient.h>
#include <stdio.h>

static int failed(const char* what) {
  fprintf(stderr, "chat: %s: %s\n", what, SalientLastError());
  return 1;
}

int main(int argc, char** argv) {
  if (argc != 3) {
    fprintf(stderr, "usage: chat MODEL PROMPT\n");
    return 2;
  }
  SalientModel* model = NULL;
  SalientTokenizer* tokenizer = NULL;
  SalientConfig* config = NULL;
  SalientGenerator* generator = NULL;
  int32_t* ids = NULL;
  size_t count = 0;
  if (SalientOpenModel(argv[1], 0, NULL, NULL, NULL, &model)) return failed("open");
  if (SalientCreateTokenizer(model, &tokenizer)) return failed("tokenizer");
  if (SalientCreateConfig(&config) || SalientConfigSet(config, "temperature", 0) ||
      SalientConfigSet(config, "max_tokens", 100)) {
    return failed("configure");
  }
  if (SalientCreateGenerator(model, config, &generator)) return failed("generator");
  if (SalientEncode(tokenizer, argv[2], true, &ids, &count)) return failed("encode");
  if (SalientAppendTokens(generator, ids, count)) return failed("append");
  bool done = false;
  while (!SalientIsDone(generator, &done) && !done) {
    int32_t id;
    const char* piece;
    if (SalientNextToken(generator, &id, &piece)) return failed("generate");
    printf("%s", piece);
    fflush(stdout);
  }
  printf("\n");
  SalientFree(ids);
  SalientDestroyGenerator(generator);
  SalientDestroyConfig(config);
  SalientDestroyTokenizer(tokenizer);
  SalientDestroyModel(model);
  return 0;
}
