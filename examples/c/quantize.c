/* Makes a model four times smaller, says what that cost, and writes it for ONNX Runtime: quantize MODEL TEXT FOLDER
 * Ctrl-C ends it, and the next run goes on from there. */
#include <salient/salient.h>
#include <signal.h>
#include <stdio.h>

static volatile sig_atomic_t interrupted = 0;

static void interrupt(int signal_number) {
  (void)signal_number;
  interrupted = 1;
}

static int show(void* context, const char* task, int64_t done, int64_t total, const char* unit) {
  (void)context;
  fprintf(stderr, "\r%s: %lld of %lld %s", task, (long long)done, (long long)total, unit);
  if (done == total) fprintf(stderr, "\n");
  return interrupted;
}

static void say(void* context, const char* message) {
  (void)context;
  fprintf(stderr, "%s\n", message);
}

static int failed(const char* what) {
  fprintf(stderr, "quantize: %s: %s\n", what, SalientLastError());
  return 1;
}

int main(int argc, char** argv) {
  if (argc != 4) {
    fprintf(stderr, "usage: quantize MODEL TEXT FOLDER\n");
    return 2;
  }
  signal(SIGINT, interrupt);
  const SalientMonitor monitor = {show, say, NULL};
  char small[1000], onnx[1000], options[3000];
  char *path = NULL, *report = NULL;
  snprintf(small, sizeof small, "%s/small", argv[3]);
  snprintf(onnx, sizeof onnx, "%s/onnx", argv[3]);
  if (SalientPull(argv[1], "{\"base\": true}", &monitor, &path)) return failed("pull");
  if (SalientQuantize(path, small, "{\"resume\": true}", &monitor, &report)) return failed("quantize");
  SalientFree(report);
  /* A path with a quote or a backslash would have to be escaped here. */
  snprintf(options, sizeof options, "{\"data\": [\"%s\"], \"base\": \"%s\", \"window\": 256}", argv[2], path);
  if (SalientMeasurePerplexity(small, options, &monitor, &report)) return failed("perplexity");
  printf("%s\n", report);
  SalientFree(report);
  if (SalientExport(small, onnx, "{\"format\": \"onnx\"}", &monitor, &report)) return failed("export");
  SalientFree(report);
  SalientFree(path);
  return 0;
}
