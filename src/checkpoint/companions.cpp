#include "checkpoint/companions.h"

#include "core/atomic_output.h"

namespace salient::checkpoint {

namespace fs = std::filesystem;

void write_json(const fs::path& path, const nlohmann::json& value) {
  core::AtomicFile file(path);
  file.write(value.dump(2) + "\n");
  file.commit();
}

void write_companions(const Checkpoint& source, const fs::path& folder) {
  if (!source.generation_config.empty()) write_json(folder / "generation_config.json", source.generation_config);
  if (!source.tokenizer_config.empty()) write_json(folder / "tokenizer_config.json", source.tokenizer_config);
  if (!source.tokenizer_json.empty()) {
    core::AtomicFile file(folder / "tokenizer.json");
    file.write(source.tokenizer_json);
    file.commit();
  }
  if (!fs::is_directory(source.path)) return;
  for (const char* name : {"special_tokens_map.json", "added_tokens.json", "chat_template.jinja", "tokenizer.model",
                           "vocab.json", "merges.txt", "LICENSE", "LICENSE.txt", "NOTICE"}) {
    if (!fs::exists(source.path / name)) continue;
    fs::copy_file(source.path / name, folder / name, fs::copy_options::overwrite_existing);
  }
}

}  // namespace salient::checkpoint
