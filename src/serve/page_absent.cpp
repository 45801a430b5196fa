#include "serve/page_files.h"

namespace salient::serve {

std::span<const PageFile> built_page_files() {
  return {};
}

}  // namespace salient::serve
