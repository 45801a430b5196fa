#include "quantize/report_page.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <vector>

#include "core/atomic_output.h"
#include "core/progress.h"

namespace salient::quantize {

using nlohmann::json;

namespace {

constexpr double kWidth = 720;
constexpr double kHeight = 240;
constexpr double kMargin = 44;  // of a chart's left; the others are that of its lines
constexpr double kRight = kWidth - 8;
constexpr double kTop = 26;
constexpr double kBottom = kHeight - 34;
constexpr const char* kColors[] = {"#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#17becf", "#8c564b"};

constexpr const char* kStyle =
    "body{font:15px/1.45 system-ui,sans-serif;max-width:760px;margin:2em auto;padding:0 1em;color:#222}"
    "h2{margin-top:2em}svg{width:100%;height:auto}text{font:11px system-ui,sans-serif;fill:#444}"
    "table{border-collapse:collapse;font-size:13px}td,th{padding:2px 10px 2px 0;text-align:right;"
    "border-bottom:1px solid #ddd}td.name,th.name{text-align:left}";

std::string escape(const std::string& text) {
  std::string result;
  for (const char c : text) {
    switch (c) {
      case '<':
        result += "&lt;";
        break;
      case '>':
        result += "&gt;";
        break;
      case '&':
        result += "&amp;";
        break;
      case '"':
        result += "&quot;";
        break;
      default:
        result += c;
    }
  }
  return result;
}

/// Curves over the same x, or bars, with axes.
class Chart {
 public:
  /// y starts at 0.
  Chart(double x_end, double y_end, const char* x_label, const char* y_label)
      : Chart(x_end, {0, y_end > 0 ? y_end : 1, false}, x_label, y_label) {
    for (int i = 0; i <= 4; ++i) add_line(y_.end * i / 4);
  }

  /// y goes in powers of ten, over those that hold the two numbers; what is smaller is drawn at the bottom.
  static Chart logarithmic(double x_end, double least, double most, const char* x_label, const char* y_label) {
    const double first = std::floor(std::log10(std::max(least, 1e-30)));
    const double last = std::max(std::ceil(std::log10(std::max(most, 1e-30))), first + 1);
    Chart chart(x_end, {first, last, true}, x_label, y_label);
    const double step = std::ceil((last - first) / 6);
    for (double power = first; power <= last; power += step) chart.add_line(std::pow(10.0, power));
    return chart;
  }

  void curve(const std::vector<std::pair<double, double>>& points, const char* color) {
    std::string places;
    for (const auto& [px, py] : points) places += fmt::format("{:.1f},{:.1f} ", x(px), y(py));
    body_ += fmt::format("<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"1.5\"/>", places, color);
  }

  void bar(double from, double to, double value, const char* color) {
    body_ += fmt::format("<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" fill=\"{}\"/>", x(from),
                         y(value), std::max(x(to) - x(from) - 0.5, 0.5), y(0) - y(value), color);
  }

  void shade(double from, double to) {
    body_ += fmt::format("<rect x=\"{:.1f}\" y=\"{}\" width=\"{:.1f}\" height=\"{}\" fill=\"#ffd9a8\"/>", x(from), kTop,
                         x(to) - x(from), kBottom - kTop);
  }

  std::string finish() const { return body_ + "</svg>\n"; }

 private:
  /// The numbers, or their logarithms, at the bottom and at the top.
  struct Range {
    double start;
    double end;
    bool logarithmic;
  };

  Chart(double x_end, Range y, const char* x_label, const char* y_label) : x_end_(std::max(x_end, 1e-9)), y_(y) {
    body_ = fmt::format(
        "<svg viewBox=\"0 0 {} {}\" role=\"img\"><text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text>"
        "<text x=\"2\" y=\"12\">{}</text><text x=\"{}\" y=\"{}\">0</text><text x=\"{}\" y=\"{}\" "
        "text-anchor=\"end\">{:.4g}</text>",
        kWidth, kHeight, (kMargin + kWidth) / 2, kHeight - 4, x_label, y_label, kMargin, kBottom + 16, kRight,
        kBottom + 16, x_end_);
  }

  void add_line(double value) {
    body_ += fmt::format(
        "<line x1=\"{0}\" x2=\"{1}\" y1=\"{2:.1f}\" y2=\"{2:.1f}\" stroke=\"#ddd\"/>"
        "<text x=\"{3}\" y=\"{4:.1f}\" text-anchor=\"end\">{5:.3g}</text>",
        kMargin, kRight, y(value), kMargin - 4, y(value) + 4, value);
  }

  double x(double value) const { return kMargin + (kRight - kMargin) * value / x_end_; }
  double y(double value) const {
    if (y_.logarithmic) value = std::log10(std::max(value, 1e-30));
    return kBottom - (kBottom - kTop) * std::clamp((value - y_.start) / (y_.end - y_.start), 0.0, 1.0);
  }

  double x_end_;
  Range y_;
  std::string body_;
};

std::string legend(const std::vector<std::string>& names) {
  std::string result = "<p>";
  for (size_t i = 0; i < names.size(); ++i) {
    result += fmt::format("<span style=\"color:{}\">&#9632;</span> {} &nbsp; ", kColors[i % std::size(kColors)],
                          escape(names[i]));
  }
  return result + "</p>\n";
}

double share(double part, double whole) {
  return whole > 0 ? 100 * part / whole : 0;
}

using Curve = std::vector<std::pair<double, double>>;

/// The curve of a name, which is added where there is none.
Curve& curve_of(const std::string& name, std::vector<std::string>& names, std::vector<Curve>& curves) {
  const auto at = std::find(names.begin(), names.end(), name) - names.begin();
  if (at == std::ssize(names)) {
    names.push_back(name);
    curves.emplace_back();
  }
  return curves[static_cast<size_t>(at)];
}

/// What is left of the error of each linear, in percent of that of rounding, layer by layer.
std::string error_section(const json& layers) {
  std::vector<std::string> names;
  std::vector<Curve> curves;
  for (size_t layer = 0; layer < layers.size(); ++layer) {
    for (const json& line : layers[layer]["steps"]) {
      if (line["kind"] != "linear") continue;
      curve_of(line["part"], names, curves)
          .emplace_back(static_cast<double>(layer), share(line["loss_after"], line["loss_before"]));
    }
  }
  if (names.empty()) return {};
  Chart chart(static_cast<double>(layers.size()) - 1, 100, "layer", "% of rounding's error");
  for (size_t i = 0; i < curves.size(); ++i) chart.curve(curves[i], kColors[i % std::size(kColors)]);
  return "<h2>Error by layer</h2>\n<p>What is left of the squared error that plain rounding of the scaled weights "
         "makes "
         "of each linear's outputs.</p>\n" +
         chart.finish() + legend(names);
}

/// How many directions the inputs of each place have in the calibration text, layer by layer.
std::string input_section(const json& layers) {
  std::vector<std::string> names;
  std::vector<Curve> curves;
  int64_t tokens = 0;
  double largest = 0;
  for (size_t layer = 0; layer < layers.size(); ++layer) {
    for (const json& inputs : layers[layer].value("inputs", json::array())) {
      const double rank = inputs["effective_rank"];
      curve_of(inputs["part"], names, curves).emplace_back(static_cast<double>(layer), rank);
      tokens = inputs["tokens"];
      largest = std::max(largest, rank);
    }
  }
  if (names.empty()) return {};
  Chart chart(static_cast<double>(layers.size()) - 1, largest, "layer", "effective rank");
  for (size_t i = 0; i < curves.size(); ++i) chart.curve(curves[i], kColors[i % std::size(kColors)]);
  return fmt::format(
             "<h2>Calibration text</h2>\n<p>{} tokens. In how many directions the inputs of linears vary in it: the "
             "effective rank (participation ratio) of their Gram matrix, every input scaled alike. More text raises it "
             "until there are many tokens for each direction.</p>\n",
             tokens) +
         chart.finish() + legend(names);
}

/// The inputs of one place in all layers: their sizes, and the share of the error that the largest 1 % have.
std::string channel_section(const std::string& part, const std::vector<const json*>& layers) {
  double before = 0;
  double after = 0;
  double other_before = 0;
  double other_after = 0;
  double largest = 0;
  double smallest = std::numeric_limits<double>::infinity();
  Chart shares(static_cast<double>(layers.size()), 100, "layer", "% of the error that the salient inputs have");
  for (size_t i = 0; i < layers.size(); ++i) {
    const json& channels = *layers[i];
    const double salient = channels["salient_error_before"];
    const double salient_after = channels["salient_error_after"];
    const double total = salient + channels["other_error_before"].get<double>();
    const auto at = static_cast<double>(i);
    shares.bar(at + 0.1, at + 0.5, share(salient, total), kColors[1]);
    shares.bar(at + 0.5, at + 0.9, share(salient_after, total), kColors[0]);
    before += salient;
    after += salient_after;
    other_before += channels["other_error_before"].get<double>();
    other_after += channels["other_error_after"].get<double>();
    largest = std::max(largest, channels["magnitudes"].front().get<double>());
    smallest = std::min(smallest, channels["magnitudes"].back().get<double>());
  }
  // Some inputs of a layer may always be 0.
  smallest = std::max(smallest, largest * 1e-4);
  Chart sizes = Chart::logarithmic(100, smallest, largest, "% of the inputs, largest first", "mean |x|");
  const json& first = *layers.front();
  sizes.shade(0, share(first["salient"], first["inputs"]));
  for (const json* channels : layers) {
    std::vector<std::pair<double, double>> points;
    const json& magnitudes = (*channels)["magnitudes"];
    for (size_t i = 0; i < magnitudes.size(); ++i) {
      points.emplace_back(
          100.0 * static_cast<double>(i) / static_cast<double>(std::max<size_t>(magnitudes.size() - 1, 1)),
          magnitudes[i].get<double>());
    }
    sizes.curve(points, kColors[0]);
  }
  const double total = before + other_before;
  return fmt::format(
             "<h3>{}</h3>\n<p>{} of {} inputs are salient (shaded). They have {:.1f} % of the error of plain rounding; "
             "scaled, {:.1f} %. All others go from {:.1f} % to {:.1f} %.</p>\n",
             escape(part), first["salient"].get<int64_t>(), first["inputs"].get<int64_t>(), share(before, total),
             share(after, total), share(other_before, total), share(other_after, total)) +
         sizes.finish() + shares.finish();
}

std::string channels_section(const json& layers) {
  std::vector<std::string> parts;
  std::map<std::string, std::vector<const json*>> by_part;
  for (const json& layer : layers) {
    for (const json& channels : layer["channels"]) {
      const std::string part = channels["part"];
      if (by_part.find(part) == by_part.end()) parts.push_back(part);
      by_part[part].push_back(&channels);
    }
  }
  if (parts.empty()) return {};
  std::string result =
      "<h2>Salient inputs</h2>\n<p>AWQ calls the 1 % of inputs salient that are largest on average. Nothing keeps "
      "their "
      "weights in full precision; scales give them finer steps at the cost of all others. Upper chart: the mean size "
      "of "
      "inputs, a curve for each layer. Lower chart: the share of the error that salient inputs have "
      "(<span style=\"color:#d62728\">&#9632;</span> before, <span style=\"color:#1f77b4\">&#9632;</span> after "
      "scaling, both of the error before).</p>\n";
  for (const std::string& part : parts) result += channel_section(part, by_part[part]);
  return result;
}

std::string histogram(const std::vector<double>& counts, double sum, const char* x_label, const char* color) {
  const double largest = *std::max_element(counts.begin(), counts.end());
  Chart chart(static_cast<double>(counts.size()), share(largest, sum), x_label, "% of the weights");
  for (size_t i = 0; i < counts.size(); ++i) {
    chart.bar(static_cast<double>(i), static_cast<double>(i + 1), share(counts[i], sum), color);
  }
  return chart.finish();
}

/// Over all linears of all layers.
std::string weights_section(const json& layers) {
  std::vector<double> weights;
  std::vector<double> codes;
  double sum = 0;
  const auto add = [](const json& counts, std::vector<double>& sums) {
    sums.resize(counts.size());
    for (size_t i = 0; i < counts.size(); ++i) sums[i] += counts[i].get<double>();
  };
  for (const json& layer : layers) {
    for (const json& report : layer["weights"]) {
      add(report["weights"], weights);
      add(report["codes"], codes);
    }
  }
  for (const double count : codes) sum += count;
  if (codes.empty()) return {};
  return "<h2>Weights</h2>\n<p>Weights relative to the largest of their group, and the codes that they became.</p>\n" +
         histogram(weights, sum, "from -1 to 1", kColors[0]) + histogram(codes, sum, "codes 0 to 15", kColors[2]);
}

std::string table_section(const json& layers) {
  std::string result =
      "<h2>All choices</h2>\n<table><tr><th>layer</th><th class=\"name\">part</th><th class=\"name\">choice</th>"
      "<th>error before</th><th>after</th><th>left</th></tr>\n";
  for (size_t layer = 0; layer < layers.size(); ++layer) {
    for (const json& line : layers[layer]["steps"]) {
      const double before = line["loss_before"];
      const double after = line["loss_after"];
      result += fmt::format(
          "<tr><td>{}</td><td class=\"name\">{}</td><td class=\"name\">{}</td><td>{:.4g}</td><td>{:.4g}</td><td>{:.1f} "
          "%</td></tr>\n",
          layer, escape(line["part"]), escape(line["choice"]), before, after, share(after, before));
    }
  }
  return result + "</table>\n";
}

}  // namespace

std::string make_report_page(const json& report) {
  const json& layers = report["layers"];
  const std::string title = escape("Quantized: " + report["output"].get<std::string>());
  return fmt::format(
             "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>{0}</title><style>{1}</style>\n"
             "<h1>{0}</h1>\n<p>int4 by {2} in groups of {3}, format {4}: {5}, {6} as stored before, {7} in fp16. It "
             "took "
             "{8}.</p>\n",
             title, kStyle, escape(report["method"]), report["group_size"].get<int>(), escape(report["format"]),
             core::format_bytes(report["bytes"]), core::format_bytes(report["bytes_before"]),
             core::format_bytes(report["bytes_in_fp16"]), core::format_duration(report["seconds"])) +
         error_section(layers) + input_section(layers) + channels_section(layers) + weights_section(layers) +
         table_section(layers) + "</html>\n";
}

void write_report(const std::filesystem::path& folder, const json& report) {
  core::AtomicFile text(folder / "salient-report.json");
  text.write(report.dump(1, ' ', false, json::error_handler_t::replace) + "\n");
  text.commit();
  core::AtomicFile page(folder / "salient-report.html");
  page.write(make_report_page(report));
  page.commit();
}

}  // namespace salient::quantize
