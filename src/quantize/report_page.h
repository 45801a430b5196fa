#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace salient::quantize {

/// The report of a quantization as an HTML page that needs nothing else: what was written, the error that is left by
/// layer, the effective rank of what calibration saw, the 1 % of inputs that are largest on average and what scaling
/// buys there, the spread of weights and codes, and a table of all choices. `report` is what `salient quantize --json`
/// prints; strings in it may be anything.
std::string make_report_page(const nlohmann::json& report);

/// Writes salient-report.json and salient-report.html into a folder.
void write_report(const std::filesystem::path& folder, const nlohmann::json& report);

}  // namespace salient::quantize
