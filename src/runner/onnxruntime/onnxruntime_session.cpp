#include "runner/onnxruntime/onnxruntime_session.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <set>
#include <utility>

#include "core/error.h"

namespace salient::runner::ort {

using core::DType;
using core::ErrorKind;
using core::fail;

namespace {

/// [1, kv_heads, length, head_dim].
constexpr int kKvRank = 4;

/// GraphOptimizationLevel.
int optimization_level(const std::string& name, const std::string& origin) {
  static const std::map<std::string, int> levels = {
      {"ORT_DISABLE_ALL", 0}, {"ORT_ENABLE_BASIC", 1}, {"ORT_ENABLE_EXTENDED", 2}, {"ORT_ENABLE_ALL", 99}};
  const auto level = levels.find(name);
  if (level != levels.end()) return level->second;
  fail(ErrorKind::kInvalidInput, "{}: graph_optimization_level is \"{}\", expected ORT_ENABLE_ALL or another of these",
       origin, name);
}

const checkpoint::OnnxFolder& folder_of(const model::Decoder& decoder, const char* device) {
  if (decoder.checkpoint().onnx) return *decoder.checkpoint().onnx;
  fail(ErrorKind::kUnsupported,
       "{} is of the format {}: {} runs ONNX folders of the generate() API, which salient export --format onnx makes",
       decoder.checkpoint().path.string(), decoder.checkpoint().format, device);
}

std::string config_of(const model::Decoder& decoder) {
  return (decoder.checkpoint().path / "genai_config.json").string();
}

DType dtype_of(ElementType type, const std::string& name, const std::string& graph) {
  if (type == ElementType::kF32) return DType::kF32;
  if (type == ElementType::kF16) return DType::kF16;
  fail(ErrorKind::kUnsupported, "{}: {} has the element type {} of ONNX, expected 1 (fp32) or 10 (fp16)", graph, name,
       static_cast<int>(type));
}

}  // namespace

DecoderSession::DecoderSession(const model::Decoder& decoder, const OnnxRuntimeProvider& provider, int threads)
    : provider_(provider),
      names_(read_genai_decoder(folder_of(decoder, provider.device).genai_config, provider.registered,
                                config_of(decoder))),
      layers_(decoder.spec().layers),
      kv_heads_(decoder.spec().kv_heads),
      head_dim_(decoder.spec().head_dim),
      vocab_size_(decoder.spec().vocab_size),
      library_(library()),
      session_(library_),
      host_memory_(library_),
      kv_allocator_(library_) {
  check_attention(decoder);
  const SessionOptionsHandle options = open(decoder, threads);
  library_.check(library_.api().create_cpu_memory_info(kDeviceAllocator, kDefaultMemory, host_memory_.out()), "memory");
  check_inputs(decoder);
  check_outputs(decoder);
  if (kv_on_host_ || !names_.shares_buffers) return;
  // DirectML makes a device for each options, and takes no tensors of another. WebGPU's provider counts who uses its
  // device by the options: a second session with the same would free the device under the first.
  if (provider_.is_directml()) {
    zeros_.emplace(library_, options.get(), kv_element(), kKvRank);
  } else {
    zeros_.emplace(library_, options_with_provider(1).get(), kv_element(), kKvRank);
  }
}

/// What DirectML's attention leaves out of what its operator can ask for, without saying so.
void DecoderSession::check_attention(const model::Decoder& decoder) const {
  if (!provider_.is_directml()) return;
  const model::DecoderSpec& spec = decoder.spec();
  if (!names_.shares_buffers) {
    fail(ErrorKind::kUnsupported,
         "{}: past_present_share_buffer is not true: DirectML's attention reads earlier keys and values only where it "
         "writes new ones",
         config_of(decoder));
  }
  if (spec.attention_soft_cap != 0) {
    fail(ErrorKind::kUnsupported, "{}: its attention caps scores at {}, which DirectML's does not do",
         decoder.checkpoint().path.string(), spec.attention_soft_cap);
  }
}

SessionOptionsHandle DecoderSession::options_with_provider(int threads) const {
  const Api& api = library_.api();
  SessionOptionsHandle options(library_);
  library_.check(api.create_session_options(options.out()), provider_.device);
  library_.check(api.set_intra_op_threads(options.get(), threads), provider_.device);
  append_provider(library_, options.get(), provider_, names_.provider_options);
  return options;
}

SessionOptionsHandle DecoderSession::open(const model::Decoder& decoder, int threads) {
  const Api& api = library_.api();
  const std::string graph = folder_of(decoder, provider_.device).graph.string();
  SessionOptionsHandle options = options_with_provider(threads);
  if (!names_.optimization_level.empty()) {
    const int level = optimization_level(names_.optimization_level, config_of(decoder));
    library_.check(api.set_graph_optimization_level(options.get(), level), graph);
  }
  for (const auto& [key, value] : names_.session_entries) {
    library_.check(api.add_session_config_entry(options.get(), key.c_str(), value.c_str()), config_of(decoder),
                   ErrorKind::kInvalidInput);
  }
  const bool is_cpu = std::string_view(provider_.device) == "ort-cpu";
  if (!is_cpu) {
    library_.check(api.add_session_config_entry(options.get(), "session.record_ep_graph_assignment_info", "1"), graph);
  }
  const auto& path = folder_of(decoder, provider_.device).graph;
  library_.check(api.create_session(library_.env(), path.c_str(), options.get(), session_.out()),
                 fmt::format("{} with {}", graph, provider_.device), ErrorKind::kUnsupported);
  if (!is_cpu) check_assignment(graph);
  return options;
}

/// A graph whose weights are shared out between a device and the CPU would be slow and say nothing.
void DecoderSession::check_assignment(const std::string& graph) {
  const Api& api = library_.api();
  const AssignedSubgraph* const* subgraphs = nullptr;
  size_t count = 0;
  library_.check(api.session_get_assignment(session_.get(), &subgraphs, &count), graph);
  for (const AssignedSubgraph* subgraph : std::span(subgraphs, count)) {
    const char* provider = nullptr;
    library_.check(api.subgraph_get_provider(subgraph, &provider), graph);
    if (std::string_view(provider) != "CPUExecutionProvider") continue;
    const AssignedNode* const* nodes = nullptr;
    size_t node_count = 0;
    library_.check(api.subgraph_get_nodes(subgraph, &nodes, &node_count), graph);
    for (const AssignedNode* node : std::span(nodes, node_count)) {
      const char* name = nullptr;
      library_.check(api.node_get_operator(node, &name), graph);
      const char* domain = nullptr;
      library_.check(api.node_get_domain(node, &domain), graph);
      const std::string_view view(name);
      if (std::string_view(domain) == "com.microsoft" || view == "MatMul" || view.ends_with("Normalization")) {
        fail(ErrorKind::kUnsupported, "{}: {} does not compute {}, which would fall back to the CPU", graph,
             provider_.device, name);
      }
      operators_on_cpu_.insert(name);
    }
  }
}

ElementType DecoderSession::read_type(const TypeInfo* type, std::vector<int64_t>& shape) const {
  const Api& api = library_.api();
  const TensorInfo* tensor = nullptr;
  library_.check(api.cast_to_tensor_info(type, &tensor), "a type");
  if (!tensor) return ElementType{};  // a sequence or a map
  size_t dimensions = 0;
  library_.check(api.get_dimension_count(tensor, &dimensions), "a type");
  shape.resize(dimensions);
  library_.check(api.get_dimensions(tensor, shape.data(), dimensions), "a type");
  ElementType element{};
  library_.check(api.get_element_type(tensor, &element), "a type");
  return element;
}

std::string DecoderSession::kv_name(const std::string& keys, const std::string& values, size_t index) const {
  return layer_name(index % 2 == 0 ? keys : values, static_cast<int64_t>(index / 2));
}

void DecoderSession::check_inputs(const model::Decoder& decoder) {
  const Api& api = library_.api();
  const std::string graph = folder_of(decoder, provider_.device).graph.string();
  std::set<std::string> pasts;
  for (size_t i = 0; i < static_cast<size_t>(2 * layers_); ++i) {
    pasts.insert(kv_name(names_.past_keys, names_.past_values, i));
  }
  Allocator* allocator = nullptr;
  library_.check(api.get_default_allocator(&allocator), graph);
  size_t count = 0;
  library_.check(api.session_get_input_count(session_.get(), &count), graph);
  std::vector<const MemoryInfo*> memories(count);
  library_.check(api.session_get_input_memory(session_.get(), memories.data(), count), graph);
  std::set<std::string> found;
  for (size_t i = 0; i < count; ++i) {
    char* text = nullptr;
    library_.check(api.session_get_input_name(session_.get(), i, allocator, &text), graph);
    const std::string name = text;
    library_.check(api.allocator_free(allocator, text), graph);
    TypeInfoHandle type(library_);
    library_.check(api.session_get_input_type(session_.get(), i, type.out()), graph);
    std::vector<int64_t> shape;
    const ElementType element = read_type(type.get(), shape);
    found.insert(name);
    if (pasts.contains(name)) {
      const std::vector<int64_t> expected = {1, kv_heads_, -1, head_dim_};
      bool fits = shape.size() == expected.size() && shape[2] < 0;
      for (size_t d = 0; fits && d < shape.size(); ++d) fits = shape[d] < 0 || shape[d] == expected[d];
      if (!fits) {
        fail(ErrorKind::kUnsupported, "{}: {} has the shape [{}], expected [1, {}, any length, {}]", graph, name,
             fmt::join(shape, ", "), kv_heads_, head_dim_);
      }
      kv_dtype_ = dtype_of(element, name, graph);
      kv_memory_ = memories[i];
      continue;
    }
    if (name != names_.input_ids && name != names_.attention_mask && name != names_.position_ids) {
      fail(ErrorKind::kUnsupported, "{}: the graph has an input {}, which is none of a decoder's", graph, name);
    }
    if (element != ElementType::kI64 && element != ElementType::kI32) {
      fail(ErrorKind::kUnsupported, "{}: {} has the element type {} of ONNX, expected 6 or 7 (int32 or int64)", graph,
           name, static_cast<int>(element));
    }
    integers_[name] = element;
  }
  pasts.insert(names_.input_ids);
  for (const std::string& name : pasts) {
    if (!found.contains(name)) fail(ErrorKind::kUnsupported, "{}: the graph has no input {}", graph, name);
  }
  kv_row_bytes_ = head_dim_ * core::info_of(kv_dtype_).block_bytes;
  int device = 0;
  api.memory_info_get_device_type(kv_memory_, &device);
  kv_on_host_ = device == kCpuDevice;
  library_.check(
      api.create_allocator(session_.get(), kv_on_host_ ? host_memory_.get() : kv_memory_, kv_allocator_.out()), graph);
}

void DecoderSession::check_outputs(const model::Decoder& decoder) {
  const Api& api = library_.api();
  const std::string graph = folder_of(decoder, provider_.device).graph.string();
  Allocator* allocator = nullptr;
  library_.check(api.get_default_allocator(&allocator), graph);
  size_t count = 0;
  library_.check(api.session_get_output_count(session_.get(), &count), graph);
  for (size_t i = 0; i < count; ++i) {
    char* text = nullptr;
    library_.check(api.session_get_output_name(session_.get(), i, allocator, &text), graph);
    const std::string name = text;
    library_.check(api.allocator_free(allocator, text), graph);
    if (name != names_.logits) continue;
    TypeInfoHandle type(library_);
    library_.check(api.session_get_output_type(session_.get(), i, type.out()), graph);
    std::vector<int64_t> shape;
    dtype_of(read_type(type.get(), shape), name, graph);
    if (shape.size() != 3) {
      fail(ErrorKind::kUnsupported, "{}: {} has {} dimensions, expected 3", graph, name, shape.size());
    }
    last_logits_only_ = shape[1] == 1;
    return;
  }
  fail(ErrorKind::kUnsupported, "{}: the graph has no output {}", graph, names_.logits);
}

ElementType DecoderSession::kv_element() const {
  return kv_dtype_ == DType::kF16 ? ElementType::kF16 : ElementType::kF32;
}

ValueHandle DecoderSession::make_kv(int64_t length) const {
  const int64_t shape[kKvRank] = {1, kv_heads_, length, head_dim_};
  ValueHandle kv(library_);
  library_.check(library_.api().create_tensor(kv_allocator_.get(), shape, kKvRank, kv_element(), kv.out()),
                 fmt::format("{}: keys and values of {} tokens", provider_.device, length), ErrorKind::kOutOfMemory);
  if (length == 0) return kv;
  // What is not there yet counts zero times, so it has to be a number.
  if (kv_on_host_) {
    std::memset(kv_data(kv), 0, static_cast<size_t>(kv_heads_ * length * kv_row_bytes_));
  } else {
    zeros_->fill(kv.get(), shape);
  }
  return kv;
}

std::byte* DecoderSession::kv_data(const ValueHandle& kv) const {
  void* data = nullptr;
  library_.check(library_.api().get_tensor_data(kv.get(), &data), "keys and values");
  return static_cast<std::byte*>(data);
}

/// [1, numbers], of the graph's type.
ValueHandle DecoderSession::tensor_of(std::span<const int64_t> numbers, ElementType type) const {
  const Api& api = library_.api();
  const int64_t shape[] = {1, std::ssize(numbers)};
  Allocator* allocator = nullptr;
  library_.check(api.get_default_allocator(&allocator), "an input");
  ValueHandle value(library_);
  library_.check(api.create_tensor(allocator, shape, std::size(shape), type, value.out()), "an input");
  void* data = nullptr;
  library_.check(api.get_tensor_data(value.get(), &data), "an input");
  if (type == ElementType::kI32) {
    std::transform(numbers.begin(), numbers.end(), static_cast<int32_t*>(data),
                   [](int64_t number) { return static_cast<int32_t>(number); });
  } else {
    std::copy(numbers.begin(), numbers.end(), static_cast<int64_t*>(data));
  }
  return value;
}

std::vector<float> DecoderSession::read_logits(Value* logits) const {
  const Api& api = library_.api();
  TensorInfoHandle info(library_);
  library_.check(api.get_tensor_info(logits, info.out()), names_.logits);
  ElementType type{};
  library_.check(api.get_element_type(info.get(), &type), names_.logits);
  int64_t shape[3];
  library_.check(api.get_dimensions(info.get(), shape, std::size(shape)), names_.logits);
  void* data = nullptr;
  library_.check(api.get_tensor_data(logits, &data), names_.logits);
  std::vector<float> rows(static_cast<size_t>(shape[1] * shape[2]));
  if (type == ElementType::kF32) {
    std::memcpy(rows.data(), data, rows.size() * sizeof(float));
  } else {
    const auto* halves = static_cast<const uint16_t*>(data);
    std::transform(halves, halves + rows.size(), rows.begin(), core::half_to_float);
  }
  return rows;
}

DecoderSession::Result DecoderSession::run(std::span<const int64_t> tokens, int64_t position,
                                           std::span<const ValueHandle> past, bool in_place) const {
  const Api& api = library_.api();
  const int64_t length = position + std::ssize(tokens);
  BindingHandle binding(library_);
  library_.check(api.create_binding(session_.get(), binding.out()), provider_.device);
  const auto bind = [&](const std::string& name, const ValueHandle& value) {
    library_.check(api.bind_input(binding.get(), name.c_str(), value.get()), name);
  };
  const std::vector<int64_t> mask(static_cast<size_t>(length), 1);
  std::vector<int64_t> positions(tokens.size());
  for (size_t i = 0; i < positions.size(); ++i) positions[i] = position + static_cast<int64_t>(i);
  for (const auto& [name, type] : integers_) {
    bind(name, tensor_of(name == names_.input_ids        ? tokens
                         : name == names_.attention_mask ? std::span<const int64_t>(mask)
                                                         : std::span<const int64_t>(positions),
                         type));
  }
  library_.check(api.bind_output_to_device(binding.get(), names_.logits.c_str(), host_memory_.get()), names_.logits);
  for (size_t i = 0; i < past.size(); ++i) {
    bind(kv_name(names_.past_keys, names_.past_values, i), past[i]);
    const std::string present = kv_name(names_.present_keys, names_.present_values, i);
    library_.check(in_place ? api.bind_output(binding.get(), present.c_str(), past[i].get())
                            : api.bind_output_to_device(binding.get(), present.c_str(),
                                                        kv_on_host_ ? host_memory_.get() : kv_memory_),
                   present);
  }
  library_.check(api.run_with_binding(session_.get(), nullptr, binding.get()),
                 fmt::format("{}: {} tokens after {}", provider_.device, tokens.size(), position));
  library_.check(api.synchronize_bound_outputs(binding.get()), provider_.device);
  Allocator* allocator = nullptr;
  library_.check(api.get_default_allocator(&allocator), provider_.device);
  Value** values = nullptr;
  size_t count = 0;
  library_.check(api.get_bound_outputs(binding.get(), allocator, &values, &count), provider_.device);
  std::vector<ValueHandle> outputs;
  for (size_t i = 0; i < count; ++i) outputs.emplace_back(library_, values[i]);
  library_.check(api.allocator_free(allocator, values), provider_.device);
  Result result{read_logits(outputs.at(0).get()), {}};
  if (!in_place)
    result.present.assign(std::make_move_iterator(outputs.begin() + 1), std::make_move_iterator(outputs.end()));
  return result;
}

}  // namespace salient::runner::ort
