#include <gtest/gtest.h>

#include <array>
#include <cstring>

#include "runner/onnxruntime/ort_api.h"
#include "runner/onnxruntime/ort_library.h"
#include "tests/support/expect_error.h"
#include "tests/support/onnxruntime.h"
#include "tests/support/temporary_folder.h"

namespace salient::runner::ort {
namespace {

/// Calls the functions of the table in a real library, all but two of CUDA's everywhere: one at a wrong place would do
/// something else, or crash.
class OnnxRuntimeApi : public testing::Test {
 protected:
  void SetUp() override {
    if (const std::string reason = tests::no_onnxruntime(); !reason.empty()) GTEST_SKIP() << reason;
    library_ = &library();
  }

  const Api& api() const { return library_->api(); }
  void check(Status* status) const { library_->check(status, "test"); }
  /// The code and the message of a status that must not be null.
  std::pair<int, std::string> failure(Status* status) const {
    EXPECT_NE(status, nullptr);
    if (!status) return {};
    const std::pair<int, std::string> found(api().get_error_code(status), api().get_error_message(status));
    api().release_status(status);
    return found;
  }

  SessionOptionsHandle options() const {
    SessionOptionsHandle options(*library_);
    check(api().create_session_options(options.out()));
    check(api().set_intra_op_threads(options.get(), 1));
    check(api().set_session_execution_mode(options.get(), kSequential));
    check(api().set_graph_optimization_level(options.get(), 99));
    check(api().disable_memory_pattern(options.get()));
    check(api().add_session_config_entry(options.get(), "session.record_ep_graph_assignment_info", "1"));
    return options;
  }

  SessionHandle session() const {
    SessionHandle session(*library_);
    const std::string graph = tests::negating_graph();
    const SessionOptionsHandle with = options();
    check(api().create_session_from_array(library_->env(), graph.data(), graph.size(), with.get(), session.out()));
    return session;
  }

  AllocatorHandle allocator(const Session* session, const MemoryInfo* memory) const {
    AllocatorHandle allocator(*library_);
    check(api().create_allocator(session, memory, allocator.out()));
    return allocator;
  }

  MemoryInfoHandle host_memory() const {
    MemoryInfoHandle memory(*library_);
    check(api().create_cpu_memory_info(kDeviceAllocator, kDefaultMemory, memory.out()));
    return memory;
  }

  float number_in(Value* value) const {
    void* data = nullptr;
    check(api().get_tensor_data(value, &data));
    float number = 0;
    std::memcpy(&number, data, sizeof number);
    return number;
  }

  const Library* library_ = nullptr;
};

TEST_F(OnnxRuntimeApi, ErrorsHaveACodeAndAMessage) {
  tests::TemporaryFolder folder;
  const auto missing = folder.path() / "missing.onnx";
  SessionHandle session(*library_);
  const SessionOptionsHandle with = options();
  const auto [code, message] =
      failure(api().create_session(library_->env(), missing.c_str(), with.get(), session.out()));
  EXPECT_EQ(code, 3);  // ORT_NO_SUCHFILE
  EXPECT_NE(message.find("missing.onnx"), std::string::npos) << message;
  tests::expect_error(core::ErrorKind::kUnsupported,
                      {"the graph: ONNX Runtime " + library_->version(), "protobuf parsing failed"}, [&] {
                        library_->check(
                            api().create_session_from_array(library_->env(), "graph", 5, with.get(), session.out()),
                            "the graph", core::ErrorKind::kUnsupported);
                      });
}

TEST_F(OnnxRuntimeApi, AnEnvironmentIsMadeAndReleased) {
  Env* env = nullptr;
  check(api().create_env(kLogFatal, "test", &env));
  ASSERT_NE(env, nullptr);
  api().release_env(env);
}

TEST_F(OnnxRuntimeApi, ProvidersAreListed) {
  char** names = nullptr;
  int count = 0;
  check(api().get_available_providers(&names, &count));
  ASSERT_GE(count, 1);
  EXPECT_STREQ(names[count - 1], "CPUExecutionProvider");
  check(api().release_available_providers(names, count));
}

TEST_F(OnnxRuntimeApi, ASessionSaysWhatItsGraphTakes) {
  const SessionHandle session = this->session();
  size_t count = 0;
  check(api().session_get_input_count(session.get(), &count));
  EXPECT_EQ(count, 1u);
  check(api().session_get_output_count(session.get(), &(count = 0)));
  EXPECT_EQ(count, 1u);
  Allocator* allocator = nullptr;
  check(api().get_default_allocator(&allocator));
  char* name = nullptr;
  check(api().session_get_input_name(session.get(), 0, allocator, &name));
  EXPECT_STREQ(name, "x");
  check(api().allocator_free(allocator, name));
  check(api().session_get_output_name(session.get(), 0, allocator, &name));
  EXPECT_STREQ(name, "y");
  check(api().allocator_free(allocator, name));
  for (const bool is_input : {true, false}) {
    TypeInfoHandle type(*library_);
    check(is_input ? api().session_get_input_type(session.get(), 0, type.out())
                   : api().session_get_output_type(session.get(), 0, type.out()));
    const TensorInfo* tensor = nullptr;
    check(api().cast_to_tensor_info(type.get(), &tensor));
    ElementType element{};
    check(api().get_element_type(tensor, &element));
    EXPECT_EQ(element, ElementType::kF32);
    check(api().get_dimension_count(tensor, &count));
    ASSERT_EQ(count, 1u);
    int64_t size = 0;
    check(api().get_dimensions(tensor, &size, 1));
    EXPECT_EQ(size, 1);
  }
  const MemoryInfo* memory = nullptr;
  check(api().session_get_input_memory(session.get(), &memory, 1));
  int device = -1;
  api().memory_info_get_device_type(memory, &device);
  EXPECT_EQ(device, kCpuDevice);
}

TEST_F(OnnxRuntimeApi, NodesAreAssigned) {
  const SessionHandle session = this->session();
  const AssignedSubgraph* const* subgraphs = nullptr;
  size_t count = 0;
  check(api().session_get_assignment(session.get(), &subgraphs, &count));
  ASSERT_EQ(count, 1u);
  const char* text = nullptr;
  check(api().subgraph_get_provider(subgraphs[0], &text));
  EXPECT_STREQ(text, "CPUExecutionProvider");
  const AssignedNode* const* nodes = nullptr;
  check(api().subgraph_get_nodes(subgraphs[0], &nodes, &count));
  ASSERT_EQ(count, 1u);
  check(api().node_get_operator(nodes[0], &text));
  EXPECT_STREQ(text, "Neg");
  check(api().node_get_domain(nodes[0], &text));
  EXPECT_STREQ(text, "");
}

TEST_F(OnnxRuntimeApi, ABoundGraphIsComputed) {
  const SessionHandle session = this->session();
  const MemoryInfoHandle memory = host_memory();
  const AllocatorHandle allocator = this->allocator(session.get(), memory.get());
  const int64_t shape = 1;
  ValueHandle x(*library_);
  check(api().create_tensor(allocator.get(), &shape, 1, ElementType::kF32, x.out()));
  void* number = nullptr;
  check(api().get_tensor_data(x.get(), &number));
  *static_cast<float*>(number) = 2.5f;
  ValueHandle y(*library_);
  check(api().create_tensor(allocator.get(), &shape, 1, ElementType::kF32, y.out()));
  TensorInfoHandle info(*library_);
  check(api().get_tensor_info(y.get(), info.out()));
  ElementType element{};
  check(api().get_element_type(info.get(), &element));
  EXPECT_EQ(element, ElementType::kF32);

  BindingHandle binding(*library_);
  check(api().create_binding(session.get(), binding.out()));
  check(api().bind_input(binding.get(), "x", x.get()));
  check(api().bind_output(binding.get(), "y", y.get()));
  check(api().run_with_binding(session.get(), nullptr, binding.get()));
  check(api().synchronize_bound_outputs(binding.get()));
  EXPECT_EQ(number_in(y.get()), -2.5f);

  BindingHandle other(*library_);
  *static_cast<float*>(number) = -8;
  check(api().create_binding(session.get(), other.out()));
  check(api().bind_input(other.get(), "x", x.get()));
  check(api().bind_output_to_device(other.get(), "y", memory.get()));
  check(api().run_with_binding(session.get(), nullptr, other.get()));
  Allocator* standard = nullptr;
  check(api().get_default_allocator(&standard));
  Value** outputs = nullptr;
  size_t count = 0;
  check(api().get_bound_outputs(other.get(), standard, &outputs, &count));
  ASSERT_EQ(count, 1u);
  const ValueHandle output(*library_, outputs[0]);
  check(api().allocator_free(standard, outputs));
  EXPECT_EQ(number_in(output.get()), 8);
}

TEST_F(OnnxRuntimeApi, ProvidersAreAppendedByName) {
  const SessionOptionsHandle with = options();
  const char* key = "key";
  EXPECT_NE(failure(api().append_provider(with.get(), "Abacus", &key, &key, 1)).second.find("Abacus"),
            std::string::npos);
  CudaOptionsHandle cuda(*library_);
  Status* made = api().create_cuda_options(cuda.out());
  if (made) {
    // The others would crash without options, which a library without CUDA does not make.
    const std::string message = failure(made).second;
    EXPECT_NE(message.find("CUDA"), std::string::npos) << message;
    api().release_cuda_options(nullptr);
    return;
  }
  EXPECT_NE(failure(api().update_cuda_options(cuda.get(), &key, &key, 1)).second.find("key"), std::string::npos);
  const std::string message = failure(api().append_cuda(with.get(), cuda.get())).second;
  EXPECT_NE(message.find("CUDA"), std::string::npos) << message;
}

}  // namespace
}  // namespace salient::runner::ort
