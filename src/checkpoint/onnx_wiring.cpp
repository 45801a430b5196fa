#include "checkpoint/onnx_wiring.h"

#include <algorithm>
#include <map>
#include <vector>

#include "core/error.h"

namespace salient::checkpoint {

using core::ErrorKind;
using core::fail;

namespace {

/// Which node makes each value.
std::map<std::string, size_t> find_makers(const OnnxGraph& graph, const std::string& origin) {
  std::map<std::string, size_t> makers;
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    for (const std::string& output : graph.nodes[i].outputs) {
      if (output.empty()) continue;
      if (graph.initializers.contains(output) || !makers.emplace(output, i).second) {
        fail(ErrorKind::kInvalidInput, "{}: node {} makes the value {}, which is there already", origin,
             graph.nodes[i].name, output);
      }
    }
  }
  return makers;
}

}  // namespace

void check_wiring(const OnnxGraph& graph, const std::string& origin, const std::set<std::string>& outer) {
  std::set<std::string> known = outer;
  known.insert(graph.inputs.begin(), graph.inputs.end());
  for (const auto& [name, unused] : graph.initializers) known.insert(name);
  const std::map<std::string, size_t> makers = find_makers(graph, origin);
  // Nodes whose inputs are all known make theirs known, until none is left.
  std::vector<size_t> missing(graph.nodes.size());
  std::map<std::string, std::vector<size_t>> waiting;
  std::vector<size_t> ready;
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    for (const std::string& input : graph.nodes[i].inputs) {
      if (input.empty() || known.contains(input)) continue;
      if (!makers.contains(input)) {
        fail(ErrorKind::kInvalidInput, "{}: node {} ({}) reads {}, which is no initializer and made by no node", origin,
             graph.nodes[i].name, graph.nodes[i].op, input);
      }
      ++missing[i];
      waiting[input].push_back(i);
    }
    if (missing[i] == 0) ready.push_back(i);
  }
  size_t done = 0;
  for (; done < ready.size(); ++done) {
    for (const std::string& output : graph.nodes[ready[done]].outputs) {
      for (const size_t next : waiting[output]) {
        if (--missing[next] == 0) ready.push_back(next);
      }
    }
  }
  if (done != graph.nodes.size()) {
    const auto stuck = std::find_if(missing.begin(), missing.end(), [](size_t count) { return count > 0; });
    fail(ErrorKind::kInvalidInput, "{}: node {} needs its own output", origin,
         graph.nodes[static_cast<size_t>(stuck - missing.begin())].name);
  }
  for (const auto& [name, unused] : makers) known.insert(name);
  for (const OnnxNode& node : graph.nodes) {
    for (const auto& [name, attribute] : node.attributes) {
      if (attribute.graph) check_wiring(*attribute.graph, fmt::format("{}: {} of {}", origin, name, node.name), known);
    }
  }
}

}  // namespace salient::checkpoint
