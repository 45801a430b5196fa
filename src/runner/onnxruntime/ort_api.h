#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>

/// The part of ONNX Runtime's C interface that Salient calls. No package has its header, so this is our own
/// declaration of it: the library gives out a table of functions whose order its ABI has frozen, and a function is
/// known by its place in that table. tests/runner/onnxruntime_api_test.cpp calls each of them in a real library.
/// Reference: https://onnxruntime.ai/docs/api/c/struct_ort_api.html.
namespace salient::runner::ort {

struct Allocator;
struct AssignedNode;
struct AssignedSubgraph;
struct Binding;
struct CudaOptions;
struct Env;
struct MemoryInfo;
struct RunOptions;
struct Session;
struct SessionOptions;
struct Status;
struct TensorInfo;
struct TypeInfo;
struct Value;

/// The version of the table that is asked for: what the last of our functions came with, in ONNX Runtime 1.24.
inline constexpr uint32_t kApiVersion = 24;

/// OrtErrorCode.
enum class ErrorCode : int { kInvalidArgument = 2, kNoSuchFile = 3, kNotImplemented = 9 };
/// ONNXTensorElementDataType, those that models of ours have.
enum class ElementType : int { kF32 = 1, kI32 = 6, kI64 = 7, kF16 = 10 };
/// OrtLoggingLevel, GraphOptimizationLevel, ExecutionMode, OrtAllocatorType, OrtMemType, OrtMemoryInfoDeviceType.
inline constexpr int kLogFatal = 4;
inline constexpr int kSequential = 0;
inline constexpr int kDeviceAllocator = 0;
inline constexpr int kDefaultMemory = 0;
inline constexpr int kCpuDevice = 0;

using PathCharacter = std::filesystem::path::value_type;

/// One function of the table, called as a function is.
template <int kPlace, typename Result, typename... Arguments>
class Function {
 public:
  explicit Function(void* const* table) : function_(reinterpret_cast<Result (*)(Arguments...)>(table[kPlace])) {}
  Result operator()(Arguments... arguments) const { return function_(arguments...); }

 private:
  Result (*function_)(Arguments...);
};

template <int kPlace, typename... Arguments>
using Call = Function<kPlace, Status*, Arguments...>;
template <int kPlace, typename Object>
using Release = Function<kPlace, void, Object*>;

/// OrtApi. A call returns null, or a status that says what went wrong.
struct Api {
  void* const* table;

  Function<1, int, const Status*> get_error_code{table};
  Function<2, const char*, const Status*> get_error_message{table};
  Call<3, int, const char*, Env**> create_env{table};
  Call<7, const Env*, const PathCharacter*, const SessionOptions*, Session**> create_session{table};
  Call<8, const Env*, const void*, size_t, const SessionOptions*, Session**> create_session_from_array{table};
  Call<10, SessionOptions**> create_session_options{table};
  Call<13, SessionOptions*, int> set_session_execution_mode{table};
  Call<17, SessionOptions*> disable_memory_pattern{table};
  Call<23, SessionOptions*, int> set_graph_optimization_level{table};
  Call<24, SessionOptions*, int> set_intra_op_threads{table};
  Call<30, const Session*, size_t*> session_get_input_count{table};
  Call<31, const Session*, size_t*> session_get_output_count{table};
  Call<33, const Session*, size_t, TypeInfo**> session_get_input_type{table};
  Call<34, const Session*, size_t, TypeInfo**> session_get_output_type{table};
  Call<36, const Session*, size_t, Allocator*, char**> session_get_input_name{table};
  Call<37, const Session*, size_t, Allocator*, char**> session_get_output_name{table};
  Call<48, Allocator*, const int64_t*, size_t, ElementType, Value**> create_tensor{table};
  Call<51, Value*, void**> get_tensor_data{table};
  Call<55, const TypeInfo*, const TensorInfo**> cast_to_tensor_info{table};
  Call<60, const TensorInfo*, ElementType*> get_element_type{table};
  Call<61, const TensorInfo*, size_t*> get_dimension_count{table};
  Call<62, const TensorInfo*, int64_t*, size_t> get_dimensions{table};
  Call<65, const Value*, TensorInfo**> get_tensor_info{table};
  Call<69, int, int, MemoryInfo**> create_cpu_memory_info{table};
  Call<76, Allocator*, void*> allocator_free{table};
  Call<78, Allocator**> get_default_allocator{table};
  Release<92, Env> release_env{table};
  Release<93, Status> release_status{table};
  Release<94, MemoryInfo> release_memory_info{table};
  Release<95, Session> release_session{table};
  Release<96, Value> release_value{table};
  Release<98, TypeInfo> release_type_info{table};
  Release<99, TensorInfo> release_tensor_info{table};
  Release<100, SessionOptions> release_session_options{table};
  Call<125, char***, int*> get_available_providers{table};
  Call<126, char**, int> release_available_providers{table};
  Call<130, SessionOptions*, const char*, const char*> add_session_config_entry{table};
  Call<131, const Session*, const MemoryInfo*, Allocator**> create_allocator{table};
  Release<132, Allocator> release_allocator{table};
  Call<133, Session*, const RunOptions*, const Binding*> run_with_binding{table};
  Call<134, Session*, Binding**> create_binding{table};
  Release<135, Binding> release_binding{table};
  Call<136, Binding*, const char*, const Value*> bind_input{table};
  Call<137, Binding*, const char*, const Value*> bind_output{table};
  Call<138, Binding*, const char*, const MemoryInfo*> bind_output_to_device{table};
  Call<140, const Binding*, Allocator*, Value***, size_t*> get_bound_outputs{table};
  Call<203, Binding*> synchronize_bound_outputs{table};
  Call<204, SessionOptions*, const CudaOptions*> append_cuda{table};
  Call<205, CudaOptions**> create_cuda_options{table};
  Call<206, CudaOptions*, const char* const*, const char* const*, size_t> update_cuda_options{table};
  Release<208, CudaOptions> release_cuda_options{table};
  Call<216, SessionOptions*, const char*, const char* const*, const char* const*, size_t> append_provider{table};
  Function<225, void, const MemoryInfo*, int*> memory_info_get_device_type{table};
  Call<380, const Session*, const MemoryInfo**, size_t> session_get_input_memory{table};
  Call<407, const Session*, const AssignedSubgraph* const**, size_t*> session_get_assignment{table};
  Call<408, const AssignedSubgraph*, const char**> subgraph_get_provider{table};
  Call<409, const AssignedSubgraph*, const AssignedNode* const**, size_t*> subgraph_get_nodes{table};
  Call<411, const AssignedNode*, const char**> node_get_domain{table};
  Call<412, const AssignedNode*, const char**> node_get_operator{table};
};

/// OrtApiBase, which the library's one function, OrtGetApiBase, returns.
struct ApiBase {
  void* const* (*get_api)(uint32_t version);  ///< null where the library is older
  const char* (*get_version)();
};

}  // namespace salient::runner::ort
