#pragma once

#include <string>
#include <vector>

#include "hub/repository.h"

namespace salient::hub {

/// The files of one model: weights in one format, and what belongs to them.
struct FileSelection {
  std::string path;    ///< of the model's folder or file in the repository; empty: the whole repository
  std::string format;  ///< "safetensors", "onnx" or "gguf"
  std::vector<RemoteFile> files;
};

/// Every model among `files`, as paths that `select_files` takes.
std::vector<std::string> models_in(const std::vector<RemoteFile>& files);

/// Chooses from `files` (of a repository, or of the part of it that is in a cache) the model at `name.path`:
/// safetensors with its configuration and tokenizer; a generate() folder; or one GGUF file. A folder that only has one
/// model somewhere below it stands for that one; of several, for the one whose path names `device` ("cpu"). Throws
/// not_found, listing the models there are, and unsupported for weights that Salient does not read.
FileSelection select_files(const std::vector<RemoteFile>& files, const ModelName& name, const std::string& device);

}  // namespace salient::hub
