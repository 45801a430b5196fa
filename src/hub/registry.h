#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "hub/archive.h"

namespace salient::hub {

/// A model with a short name of ours.
struct KnownModel {
  std::string name;
  std::string base;                              ///< the model that was quantized: "OWNER/NAME"
  std::map<std::string, std::string> quantized;  ///< by device, "cpu" or "dml": "OWNER/NAME/SUB/FOLDER"
};

/// A place that has a text.
struct TextSource {
  std::string server;  ///< "hub" (HF_ENDPOINT) or "github" (SALIENT_TEXT_ENDPOINT)
  std::string path;    ///< on that server
  std::string kind;    ///< "file", "zip", "gzip", "zstd" or "parquet"
  std::string member;  ///< of a zip archive
  std::string column;  ///< of a Parquet table
  RowFormat rows;      ///< how its rows become the file
};

/// A text with a name of ours.
struct KnownText {
  std::string name;
  std::string file;                 ///< what its readers call it
  std::string sha256;               ///< empty when it is not known
  bool calibration = false;         ///< whether it is for calibration, and not for measuring
  std::vector<TextSource> sources;  ///< asked in this order
};

/// What registry.json says.
struct Registry {
  std::vector<KnownModel> models;
  std::vector<KnownText> texts;
};

/// The registry that the program was built with.
const Registry& registry();

/// Reads a registry's text. Throws internal, naming what is wrong with it.
Registry parse_registry(std::string_view text);

/// nullptr when there is no model of this name.
const KnownModel* find_known_model(std::string_view name);

/// nullptr when there is no text of this name.
const KnownText* find_known_text(std::string_view name);

}  // namespace salient::hub
