#pragma once

#include <span>
#include <string_view>

namespace salient::serve {

struct HttpAnswer;
struct HttpRequest;

/// A file of the page that was built into the program.
struct PageFile {
  std::string_view path;  ///< "/index.html"
  std::string_view content_type;
  std::string_view bytes;
  std::string_view gzip;  ///< the same compressed; empty where that is no smaller
  std::string_view hash;  ///< of the bytes
};

/// What the build wrote; none when it built no page.
std::span<const PageFile> built_page_files();

/// The answer to a request for a file: compressed for who takes that, 304 for who has it.
HttpAnswer answer_with(const PageFile& file, const HttpRequest& request);

}  // namespace salient::serve
