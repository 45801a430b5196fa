#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "hub/http.h"
#include "hub/model_name.h"
#include "hub/settings.h"

namespace salient::hub {

/// A file of a repository. Its path has been checked to stay inside the model's folder.
struct RemoteFile {
  std::string path;
  uint64_t size = 0;
  std::string etag = {};    ///< names its content: what the cache calls it; empty where the list of files has none
  std::string sha256 = {};  ///< of files kept outside git; else empty
  std::string git_id = {};  ///< of files kept in git; else empty
};

/// What a hub says about one revision of a model.
struct Repository {
  ModelName name;
  std::string commit;   ///< what the revision is now
  std::string license;  ///< as the model card names it: "mit"; empty when it does not
  bool gated = false;   ///< its files are for accounts that accepted the licence
  std::vector<RemoteFile> files;
};

/// Asks the hub. Throws not_found, invalid_input (gated; an answer that makes no sense), network or cancelled, with
/// what to do.
Repository read_repository(const ModelName& name, const Settings& settings, const TransferOptions& options);

/// Notes what the hub calls a file's content: a SHA-256, a git blob id, or a name of its own, which proves nothing.
/// Throws invalid_input for what cannot be a file's name; `url` says whose answer it is.
void set_content_name(RemoteFile& file, const std::string& etag, const std::string& url);

/// Where a file of this commit is.
std::string file_url(const Repository& repository, const std::string& path, const Settings& settings);

/// Throws the sentence for a transfer that is not done: what the hub's answer means and what to do.
[[noreturn]] void fail_for(const TransferOutcome& outcome, const ModelName& name, const std::string& url,
                           const Settings& settings);

}  // namespace salient::hub
