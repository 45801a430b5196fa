#include "runner/vulkan/pipelines.h"

#include <fmt/format.h>
#include <shaders/activate.h>
#include <shaders/attention.h>
#include <shaders/attention_subgroups.h>
#include <shaders/gather.h>
#include <shaders/gemm.h>
#include <shaders/gemv.h>
#include <shaders/gemv_int8.h>
#include <shaders/gemv_int8_dot.h>
#include <shaders/gemv_int8_subgroups.h>
#include <shaders/gemv_int8_subgroups_dot.h>
#include <shaders/gemv_subgroups.h>
#include <shaders/merge.h>
#include <shaders/norm.h>
#include <shaders/norm_subgroups.h>
#include <shaders/quantize.h>
#include <shaders/rotate.h>
#include <shaders/rotate_subgroups.h>
#include <shaders/sweep.h>
#include <shaders/top_logits.h>

#include <array>
#include <fstream>
#include <iterator>

#include "core/atomic_output.h"
#include "core/error.h"
#include "core/os.h"

namespace salient::runner {

namespace {

using Code = std::span<const uint32_t>;

Code code_of(Shader shader, const VulkanFeatures& features) {
  const auto either = [&](Code subgroups, Code plain) { return features.subgroups ? subgroups : plain; };
  switch (shader) {
    case Shader::kGemv:
      return either(k_gemv_subgroups, k_gemv);
    case Shader::kGemvInt8:
      return features.integer_dot ? either(k_gemv_int8_subgroups_dot, k_gemv_int8_dot)
                                  : either(k_gemv_int8_subgroups, k_gemv_int8);
    case Shader::kGemm:
      return k_gemm;
    case Shader::kQuantize:
      return k_quantize;
    case Shader::kNorm:
      return either(k_norm_subgroups, k_norm);
    case Shader::kRotate:
      return either(k_rotate_subgroups, k_rotate);
    case Shader::kAttention:
      return either(k_attention_subgroups, k_attention);
    case Shader::kMerge:
      return k_merge;
    case Shader::kActivate:
      return k_activate;
    case Shader::kGather:
      return k_gather;
    case Shader::kTopLogits:
      return k_top_logits;
    case Shader::kSweep:
      return k_sweep;
  }
  core::fail(core::ErrorKind::kInternal, "there is no shader {}", static_cast<int>(shader));
}

const char* name_of(Shader shader) {
  switch (shader) {
    case Shader::kGemv:
      return "gemv";
    case Shader::kGemvInt8:
      return "gemv_int8";
    case Shader::kGemm:
      return "gemm";
    case Shader::kQuantize:
      return "quantize";
    case Shader::kNorm:
      return "norm";
    case Shader::kRotate:
      return "rotate";
    case Shader::kAttention:
      return "attention";
    case Shader::kMerge:
      return "merge";
    case Shader::kActivate:
      return "activate";
    case Shader::kGather:
      return "gather";
    case Shader::kTopLogits:
      return "top_logits";
    case Shader::kSweep:
      return "sweep";
  }
  return "unknown";
}

/// One file a driver: the driver itself refuses what it did not write, and starts an empty cache.
std::filesystem::path cache_file(const vk::PhysicalDeviceProperties& properties) {
  const std::filesystem::path folder = core::os::cache_folder();
  if (folder.empty()) return {};
  std::string name;
  for (const uint8_t byte : properties.pipelineCacheUUID) name += fmt::format("{:02x}", byte);
  return folder / "vulkan" / (name + ".pipelines");
}

std::vector<char> read_file(const std::filesystem::path& path) {
  std::ifstream stream(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

}  // namespace

Pipelines::Pipelines(const VulkanDevice& device) : device_(device), cache_file_(cache_file(device.properties())) {
  std::vector<char> known;
  if (!cache_file_.empty()) known = read_file(cache_file_);
  loaded_bytes_ = known.size();
  cache_ = device.handle().createPipelineCacheUnique({{}, known.size(), known.data()});
  std::array<vk::DescriptorSetLayoutBinding, kMostBindings> bindings;
  for (uint32_t i = 0; i < kMostBindings; ++i) {
    bindings[i] = {i, vk::DescriptorType::eStorageBuffer, 1, vk::ShaderStageFlagBits::eCompute};
  }
  set_layout_ = device.handle().createDescriptorSetLayoutUnique({{}, bindings});
  const vk::PushConstantRange push(vk::ShaderStageFlagBits::eCompute, 0, kPushBytes);
  layout_ = device.handle().createPipelineLayoutUnique({{}, *set_layout_, push});
}

Pipelines::~Pipelines() {
  // A cache that cannot be written costs the next process time, and nothing else.
  try {
    save();
  } catch (const core::Error&) {
  } catch (const vk::SystemError&) {
  } catch (const std::filesystem::filesystem_error&) {
  }
}

void Pipelines::save() const {
  if (cache_file_.empty()) return;
  const std::vector<uint8_t> data = device_.handle().getPipelineCacheData(*cache_);
  if (data.size() <= loaded_bytes_) return;
  std::filesystem::create_directories(cache_file_.parent_path());
  core::AtomicFile file(cache_file_);
  file.write(std::as_bytes(std::span(data)));
  file.commit();
}

vk::Pipeline Pipelines::get(Shader shader, std::span<const uint32_t> constants) {
  vk::UniquePipeline& pipeline = pipelines_[{shader, {constants.begin(), constants.end()}}];
  if (pipeline) return *pipeline;
  try {
    pipeline = compile(shader, constants);
  } catch (const vk::DeviceLostError&) {
    throw;
  } catch (const vk::OutOfDeviceMemoryError&) {
    throw;
  } catch (const vk::OutOfHostMemoryError&) {
    throw;
  } catch (const vk::SystemError& error) {
    core::fail(core::ErrorKind::kUnsupported,
               "{}: its driver ({}) refuses the shader {}: {}: try a newer driver, or SALIENT_VULKAN_FEATURES=none",
               device_.adapter().name, device_.adapter().driver, name_of(shader), error.what());
  }
  return *pipeline;
}

vk::UniquePipeline Pipelines::compile(Shader shader, std::span<const uint32_t> constants) {
  vk::UniqueShaderModule& module = modules_[shader];
  if (!module) {
    const Code code = code_of(shader, device_.features());
    module = device_.handle().createShaderModuleUnique({{}, code.size_bytes(), code.data()});
  }
  std::vector<vk::SpecializationMapEntry> entries;
  for (uint32_t i = 0; i < constants.size(); ++i) entries.push_back({i, i * 4, 4});
  const vk::SpecializationInfo specialization(static_cast<uint32_t>(entries.size()), entries.data(),
                                              constants.size_bytes(), constants.data());
  const vk::PipelineShaderStageCreateInfo stage({}, vk::ShaderStageFlagBits::eCompute, *module, "main",
                                                &specialization);
  return device_.handle().createComputePipelineUnique(*cache_, {{}, stage, *layout_}).value;
}

}  // namespace salient::runner
