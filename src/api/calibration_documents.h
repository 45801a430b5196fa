#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "core/mapped_file.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace salient::api {

/// A document that calibration may use: a whole file, a part of one, or a line of a .jsonl file.
struct Document {
  std::filesystem::path path;
  std::shared_ptr<const core::MappedFile> file;  ///< that holds `bytes`; null: the whole file at `path` is the document
  std::string_view bytes;
  int64_t line = 0;  ///< of a .jsonl file, from 1; 0: the document is text
};

/// The documents of a folder (each .txt and .md file is one, and each line of its .jsonl files), of a .jsonl file, or
/// of a text file: of that the parts between lines which are "<|endoftext|>", or else all of it. Empty ones are left
/// out. Throws not_found, or invalid_input where there is none.
std::vector<Document> list_documents(const std::filesystem::path& path);

/// Turns documents into a model's token ids. Text becomes what the tokenizer makes of it, special tokens around it
/// included. A line of JSON has the field "text", or a conversation, which the model's chat template renders:
/// "messages" (role and content; "tools" beside them) or "conversations" (also with from and value).
class DocumentEncoder {
 public:
  explicit DocumentEncoder(const checkpoint::Checkpoint& checkpoint);

  /// Throws invalid_input or unsupported, naming the file and the line.
  std::vector<int32_t> encode(const Document& document);

 private:
  std::vector<int32_t> encode_line(std::string_view line);
  const text::ChatTemplate& chat_template();

  const checkpoint::Checkpoint& checkpoint_;
  text::Tokenizer tokenizer_;
  std::optional<text::ChatTemplate> chat_template_;
};

/// How much of documents is taken.
struct DocumentBudget {
  int64_t tokens = 0;           ///< in all, at most
  int64_t sequence_tokens = 0;  ///< of a sequence; a longer document is cut into equal parts
  uint64_t seed = 0;            ///< of the choice
};

/// Takes documents in a random order, whole or of a long one a random part, and further parts once all had their turn,
/// until there are as many tokens as wanted; the last sequence is cut to what is left. `encode(i)` is asked for the
/// tokens of document i when its turn comes, so that not all of a large set need be read.
std::vector<std::vector<int32_t>> choose_documents(size_t documents, const DocumentBudget& budget,
                                                   const std::function<std::vector<int32_t>(size_t)>& encode);

}  // namespace salient::api
