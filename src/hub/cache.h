#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "hub/file_selection.h"

namespace salient::hub {

/// One repository in the cache that all programs of the hub share: models--OWNER--NAME with
///   refs/REVISION        which commit a branch or tag was when it was last looked at
///   blobs/ETAG           contents, by the name the hub gives them; ETAG.incomplete is what a download has so far
///   snapshots/COMMIT/... the files of a commit under their own names, as links to blobs
/// and the locks of the downloads in .locks beside it.
class CachedRepository {
 public:
  CachedRepository(std::filesystem::path cache, std::string repository);

  /// The commit that a revision stands for here; nothing when it was never looked at.
  std::optional<std::string> commit_of(const std::string& revision) const;
  /// Notes what a branch or tag is. Nothing is noted for a commit.
  void set_commit(const std::string& revision, const std::string& commit) const;

  std::filesystem::path blob(const std::string& etag) const;
  std::filesystem::path incomplete(const std::string& etag) const;
  /// The lock of a blob's download; its folder is made.
  std::filesystem::path lock(const std::string& etag) const;
  std::filesystem::path snapshot(const std::string& commit) const;

  /// Every file of a commit that is here.
  std::vector<RemoteFile> files_of(const std::string& commit) const;
  /// Gives a blob a file's name in a commit: a relative symbolic link, or a hard link or copy where those cannot be.
  void link(const std::string& commit, const RemoteFile& file) const;
  /// Makes the folders that a download needs. Throws invalid_input, naming the one that cannot be made.
  void make_folders() const;

 private:
  std::filesystem::path cache_;
  std::filesystem::path folder_;
};

/// A model that is in the cache, whole.
struct CachedModel {
  ModelName name;  ///< with the revision it is known by, or its commit
  std::string commit;
  std::filesystem::path path;  ///< of its folder or GGUF file
  std::string format;          ///< as in FileSelection; for safetensors with the quantization's name: "awq"
  std::string license;         ///< as its model card says; empty when it does not
  uint64_t bytes = 0;
};

/// Looks a model up without asking the hub. Nothing when it, or a part of it, is not there.
std::optional<CachedModel> find_in_cache(const ModelName& name, const std::string& device,
                                         const std::filesystem::path& cache);

/// Every whole model in the cache, by name.
std::vector<CachedModel> list_cache(const std::filesystem::path& cache);

}  // namespace salient::hub
