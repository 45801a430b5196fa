#pragma once

#include <cstdint>
#include <filesystem>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "core/progress.h"
#include "evaluate/recipe.h"

namespace salient::evaluate {

/// A text to score, and what reports call it.
struct EvaluationText {
  std::string name;
  std::string text;
};

/// The rows of WikiText-2 as its data set has them: a line that is blank is an empty row, any other keeps its newline.
std::string join_wikitext(std::string_view file);
/// The rows of the Penn Treebank: lines without the spaces around them.
std::string join_ptb(std::string_view file);

/// `name` is wikitext2 or ptb (found in `data_dir`, or in the user's cache, or downloaded into it once), else a path of
/// a text file. Throws not_found or network, with what to do.
EvaluationText load_text(const std::string& name, const std::filesystem::path& data_dir, const Recipe& recipe,
                         const core::ProgressCallback& progress, std::stop_token stop);

}  // namespace salient::evaluate
