#include "api/calibration_documents.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>
#include <utility>

#include "api/run_options.h"
#include "core/error.h"
#include "core/folder.h"
#include "core/random.h"

namespace salient::api {

namespace {

namespace fs = std::filesystem;
using core::ErrorKind;
using core::fail;
using nlohmann::ordered_json;

/// What corpora in one file put between documents, on a line of its own.
constexpr std::string_view kEndOfDocument = "<|endoftext|>";

std::string_view text_of(const core::MappedFile& file) {
  return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()};
}

std::string_view trim(std::string_view text) {
  constexpr const char* kSpaces = " \t\r\n";
  const size_t first = text.find_first_not_of(kSpaces);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kSpaces) - first + 1);
}

/// Calls `visit(line, first, end)` for each line, without what ends it.
template <typename Visit>
void for_each_line(std::string_view text, Visit&& visit) {
  for (size_t first = 0; first < text.size();) {
    const size_t end = std::min(text.find('\n', first), text.size());
    visit(text.substr(first, end - first), first, end);
    first = end + 1;
  }
}

void list_lines(const fs::path& path, std::vector<Document>& documents) {
  const auto file = std::make_shared<const core::MappedFile>(path);
  int64_t number = 0;
  for_each_line(text_of(*file), [&](std::string_view line, size_t, size_t) {
    ++number;
    if (!trim(line).empty()) documents.push_back({path, file, line, number});
  });
}

void list_parts(const fs::path& path, std::vector<Document>& documents) {
  const auto file = std::make_shared<const core::MappedFile>(path);
  const std::string_view text = text_of(*file);
  size_t part = 0;
  const auto finish = [&](size_t end, size_t next) {
    const std::string_view bytes = text.substr(part, end - part);
    if (!trim(bytes).empty()) documents.push_back({path, file, bytes});
    part = std::min(next, text.size());
  };
  for_each_line(text, [&](std::string_view line, size_t first, size_t end) {
    if (trim(line) == kEndOfDocument) finish(first, end + 1);
  });
  finish(text.size(), text.size());
}

void list_folder(const fs::path& folder, std::vector<Document>& documents) {
  std::error_code error;
  for (const fs::path& path : core::files_below(folder, error)) {
    const auto extension = path.extension();
    std::error_code unknown;
    if (fs::file_size(path, unknown) == 0) continue;
    if (extension == ".jsonl") {
      list_lines(path, documents);
    } else if (extension == ".txt" || extension == ".md") {
      documents.push_back({path, nullptr, {}});
    }
  }
  if (error) fail(ErrorKind::kInvalidInput, "{}: cannot be read: {}", folder.string(), error.message());
  if (documents.empty()) fail(ErrorKind::kInvalidInput, "{}: has no .txt, .md or .jsonl files", folder.string());
}

/// A conversation as templates want it; ShareGPT's turns say "from" and "value", and name the two sides otherwise.
ordered_json to_messages(const ordered_json& turns) {
  ordered_json messages = ordered_json::array();
  for (const ordered_json& turn : turns) {
    if (!turn.is_object() || !turn.contains("from")) {
      messages.push_back(turn);
      continue;
    }
    const auto from = turn["from"].is_string() ? turn["from"].get<std::string>() : "";
    const char* role = from == "human" || from == "user"      ? "user"
                       : from == "gpt" || from == "assistant" ? "assistant"
                       : from == "system"                     ? "system"
                                                              : nullptr;
    if (!role) fail(ErrorKind::kUnsupported, "a turn is from {}, expected human, gpt or system", turn["from"].dump());
    messages.push_back({{"role", role}, {"content", turn.value("value", ordered_json())}});
  }
  return messages;
}

/// 0, 1, 2, ... in an order that depends on the seed and the stream alone.
std::vector<size_t> shuffled(size_t count, uint64_t seed, uint64_t stream) {
  std::vector<size_t> order(count);
  std::iota(order.begin(), order.end(), size_t{0});
  for (size_t i = count; i > 1; --i) std::swap(order[i - 1], order[core::random_bits(seed, stream, i) % i]);
  return order;
}

/// Cuts a document into as few parts as it takes, equal but for a token, and shuffles them.
std::vector<std::vector<int32_t>> cut(const std::vector<int32_t>& ids, int64_t sequence_tokens, uint64_t seed,
                                      uint64_t stream) {
  const auto count = (ids.size() + static_cast<size_t>(sequence_tokens) - 1) / static_cast<size_t>(sequence_tokens);
  std::vector<std::vector<int32_t>> parts;
  for (const size_t i : shuffled(count, seed, stream)) {
    parts.emplace_back(ids.begin() + static_cast<int64_t>(ids.size() * i / count),
                       ids.begin() + static_cast<int64_t>(ids.size() * (i + 1) / count));
  }
  return parts;
}

}  // namespace

std::vector<Document> list_documents(const fs::path& path) {
  std::vector<Document> documents;
  if (fs::is_directory(path)) {
    list_folder(path, documents);
  } else if (path.extension() == ".jsonl") {
    list_lines(path, documents);
  } else {
    list_parts(path, documents);
  }
  if (documents.empty()) fail(ErrorKind::kInvalidInput, "{}: has no documents, only white space", path.string());
  return documents;
}

DocumentEncoder::DocumentEncoder(const checkpoint::Checkpoint& checkpoint)
    : checkpoint_(checkpoint), tokenizer_(open_tokenizer(checkpoint)) {}

std::vector<int32_t> DocumentEncoder::encode(const Document& document) {
  const auto what =
      document.line > 0 ? fmt::format("{}: line {}", document.path.string(), document.line) : document.path.string();
  const auto whole = document.file ? nullptr : std::make_unique<core::MappedFile>(document.path);
  try {
    if (document.line > 0) return encode_line(document.bytes);
    return tokenizer_.encode(whole ? text_of(*whole) : document.bytes, true);
  } catch (const core::Error& error) {
    fail(error.kind(), "{}: {}", what, error.what());
  }
}

std::vector<int32_t> DocumentEncoder::encode_line(std::string_view line) {
  const auto json = ordered_json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) fail(ErrorKind::kInvalidInput, "is no JSON object");
  if (const auto text = json.find("text"); text != json.end() && text->is_string()) {
    return tokenizer_.encode(text->get_ref<const std::string&>(), true);
  }
  for (const char* field : {"messages", "conversations"}) {
    const auto turns = json.find(field);
    if (turns == json.end() || !turns->is_array()) continue;
    const auto tools = json.find("tools");
    const std::string tools_text = tools != json.end() && tools->is_array() ? tools->dump() : "";
    return tokenizer_.encode(chat_template().render_json(to_messages(*turns).dump(), tools_text, false), false);
  }
  fail(ErrorKind::kInvalidInput, "has no \"text\" and no conversation in \"messages\" or \"conversations\"");
}

const text::ChatTemplate& DocumentEncoder::chat_template() {
  if (!chat_template_) chat_template_.emplace(checkpoint_.tokenizer_config, checkpoint_.path.string());
  return *chat_template_;
}

std::vector<std::vector<int32_t>> choose_documents(size_t documents, const DocumentBudget& budget,
                                                   const std::function<std::vector<int32_t>(size_t)>& encode) {
  const std::vector<size_t> order = shuffled(documents, budget.seed, 0);
  std::vector<std::vector<std::vector<int32_t>>> parts;  // of the documents that had a turn
  std::vector<std::vector<int32_t>> chosen;
  int64_t left = budget.tokens;
  bool any = true;
  for (size_t round = 0; any && left > 0; ++round) {
    any = false;
    for (size_t turn = 0; turn < documents && left > 0; ++turn) {
      if (round == 0) parts.push_back(cut(encode(order[turn]), budget.sequence_tokens, budget.seed, order[turn] + 1));
      if (round >= parts[turn].size()) continue;
      any = true;
      std::vector<int32_t> part = std::move(parts[turn][round]);
      if (std::ssize(part) > left) part.resize(static_cast<size_t>(left));
      left -= std::ssize(part);
      chosen.push_back(std::move(part));
    }
  }
  return chosen;
}

}  // namespace salient::api
