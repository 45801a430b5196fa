#include "convert/onnx_rope_tables.h"

#include "convert/onnx_numbers.h"
#include "model/rope_table.h"

namespace salient::convert {

namespace {

/// Rows [0, count) of the cosines and sines of some frequencies.
struct Tables {
  std::vector<std::byte> cosines;
  std::vector<std::byte> sines;
  int64_t rows = 0;
};

Tables make_tables(const std::vector<float>& frequencies, float magnitude, int64_t rows, ElementType numbers) {
  model::RopeTable table(frequencies, magnitude);
  table.grow(rows);
  const size_t count = static_cast<size_t>(rows) * frequencies.size();
  return {encode_numbers({table.cos(0), count}, numbers, "the table of cosines"),
          encode_numbers({table.sin(0), count}, numbers, "the table of sines"), rows};
}

/// A graph of two constants, one branch of an If.
OnnxSubgraph make_branch(const std::string& name, const std::string& cosines, const std::string& sines,
                         const Tables& tables, int64_t pairs, ElementType numbers) {
  const auto text = [](const std::vector<std::byte>& bytes) {
    return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  };
  OnnxGraphMessage graph;
  graph.add_constant(cosines, {numbers, {tables.rows, pairs}, text(tables.cosines)});
  graph.add_constant(sines, {numbers, {tables.rows, pairs}, text(tables.sines)});
  graph.add_output(cosines, numbers, {tables.rows, pairs});
  graph.add_output(sines, numbers, {tables.rows, pairs});
  return {graph.finish(name)};
}

/// Tables for short and for long texts, of which If takes one pair.
void add_choice(OnnxModelWriter& model, const OnnxRopeValues& values, const Tables& small, const Tables& large,
                const std::string& total_length, int64_t pairs, ElementType numbers) {
  const std::string prefix = "/model/rope_caches_subgraph/";
  model.graph().add_node(
      {"Greater", prefix + "Greater", {total_length, model.integer(small.rows)}, {prefix + "Greater/output_0"}});
  const auto branch = [&](const std::string& size, const Tables& tables) {
    return make_branch(size + "_rope_caches_graph", values.cosines + "_" + size, values.sines + "_" + size, tables,
                       pairs, numbers);
  };
  model.graph().add_node({"If",
                          prefix + "If",
                          {prefix + "Greater/output_0"},
                          {values.cosines, values.sines},
                          {{"then_branch", branch("large", large)}, {"else_branch", branch("small", small)}}});
}

/// position_ids, to which `offset` is added once one of them is `offset` or more.
std::string add_positions(OnnxModelWriter& model, int64_t offset) {
  const std::string prefix = "/model/pos_ids_reformat/";
  const auto add = [&](const char* op, std::vector<std::string> inputs,
                       std::map<std::string, OnnxAttributeValue> attributes = {}) {
    const std::string output = prefix + op + "/output_0";
    model.graph().add_node({op, prefix + op, std::move(inputs), {output}, std::move(attributes)});
    return output;
  };
  const std::string length = model.integer(offset);
  const std::string largest = add("ReduceMax", {"position_ids"}, {{"keepdims", int64_t{0}}});
  const std::string is_long = add("GreaterOrEqual", {largest, length});
  return add("Add", {add("Where", {is_long, length, model.integer(0)}), "position_ids"});
}

void add_tables(OnnxModelWriter& model, const OnnxRopeValues& values, const std::vector<Tables>& parts, int64_t pairs,
                ElementType numbers) {
  int64_t rows = 0;
  for (const Tables& part : parts) rows += part.rows;
  model.begin_tensor(values.cosines, numbers, {rows, pairs});
  for (const Tables& part : parts) model.append(part.cosines);
  model.begin_tensor(values.sines, numbers, {rows, pairs});
  for (const Tables& part : parts) model.append(part.sines);
}

}  // namespace

std::vector<OnnxRopeValues> add_rope_tables(OnnxModelWriter& model, const model::DecoderSpec& spec, OnnxLayout layout,
                                            ElementType numbers, const std::string& total_length) {
  std::vector<OnnxRopeValues> all;
  for (const model::Rope& rope : spec.ropes) {
    const std::string suffix = all.empty() ? "" : "_local";
    OnnxRopeValues values{"cos_cache" + suffix, "sin_cache" + suffix, "position_ids"};
    const int64_t pairs = rope.rotary_dim / 2;
    const int64_t rows = rope.has_regimes() ? rope.original_positions : spec.max_positions;
    std::vector<Tables> parts = {make_tables(rope.frequencies, rope.magnitude, rows, numbers)};
    if (rope.has_regimes()) {
      parts.push_back(make_tables(rope.long_frequencies, rope.magnitude, spec.max_positions, numbers));
    }
    if (rope.has_regimes() && layout == OnnxLayout::kCpu) {
      add_choice(model, values, parts[0], parts[1], total_length, pairs, numbers);
    } else {
      add_tables(model, values, parts, pairs, numbers);
      if (rope.has_regimes()) values.positions = add_positions(model, rope.original_positions);
    }
    all.push_back(values);
  }
  return all;
}

}  // namespace salient::convert
