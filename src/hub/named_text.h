#pragma once

#include <filesystem>
#include <stop_token>
#include <string>

#include "core/progress.h"

namespace salient::hub {

/// The file of a named text of registry.json: wikitext2 (wiki.test.raw), wikitext2-train (wiki.train.raw), ptb
/// (ptb.test.txt), ptb-validation (ptb.valid.txt), pile-10k (pile-10k.txt) or pileval (pileval.jsonl). With a
/// `data_dir` it must be there; else it is looked for in the user's cache and downloaded into it once, from where
/// registry.json says. HF_ENDPOINT and SALIENT_TEXT_ENDPOINT name other servers with the same paths. Throws not_found
/// or network, saying how to provide the file by hand.
std::filesystem::path locate_text(const std::string& name, const std::filesystem::path& data_dir,
                                  const core::ProgressCallback& progress, std::stop_token stop);

}  // namespace salient::hub
