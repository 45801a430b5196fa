#include <salient/salient.hpp>

#include "api/build_commit.h"
#include "kernels/kernels.h"

namespace salient {

std::string v1::version() {
  return SALIENT_VERSION;
}

std::string v1::build_commit() {
  return api::kBuildCommit;
}

std::vector<std::string> v1::kernel_names() {
  std::vector<std::string> names;
  for (const auto& name : kernels::kernel_names()) names.emplace_back(name);
  return names;
}

std::string v1::active_kernel_name() {
  return kernels::active_kernels().name;
}

}  // namespace salient
