#include "python/module.h"

NB_MODULE(_salient, module) {
  using namespace salient::python;
  module.doc() = "Four times smaller language models and their fast inference.";
  add_errors(module);
  add_generation(module);
  add_jobs(module);
}
