#pragma once

#include <array>
#include <cstdint>
#include <utility>

#include "core/dtype.h"

namespace salient::checkpoint {

// Numbers of the GGUF format: the ggml project's docs/gguf.md.

inline constexpr uint32_t kGgufMagic = 0x46554747;  // "GGUF"
inline constexpr uint64_t kGgufAlignment = 32;      // of tensors, where general.alignment does not say otherwise

/// The value types of metadata.
enum class GgufValueType : uint32_t {
  kU8,
  kI8,
  kU16,
  kI16,
  kU32,
  kI32,
  kF32,
  kBool,
  kString,
  kArray,
  kU64,
  kI64,
  kF64,
};

/// The tensor types that Salient knows, by ggml's numbers.
inline constexpr std::array<std::pair<uint32_t, core::DType>, 11> kGgufTensorTypes = {{
    {0, core::DType::kF32},
    {1, core::DType::kF16},
    {2, core::DType::kQ4_0},
    {3, core::DType::kQ4_1},
    {6, core::DType::kQ5_0},
    {7, core::DType::kQ5_1},
    {8, core::DType::kQ8_0},
    {12, core::DType::kQ4_K},
    {13, core::DType::kQ5_K},
    {14, core::DType::kQ6_K},
    {30, core::DType::kBF16},
}};

/// The ids of the tokens that swallow the white space behind them: GGUF has no word for it, so this one is ours.
inline constexpr const char* kGgufStripsRight = "salient.tokenizer.strips_right";

/// The kind of word that tokenizer.ggml.token_type calls each token.
enum class GgufTokenType : int32_t {
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,
  kUserDefined = 4,
  kUnused = 5,
  kByte = 6,
};

}  // namespace salient::checkpoint
