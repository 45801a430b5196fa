// Results, strings, sequences and tensors.
#include <algorithm>
#include <cstring>
#include <limits>

#include "oga/result.h"

namespace salient::oga {

namespace {

size_t bytes_of(OgaElementType type) {
  switch (type) {
    case OgaElementType_uint8:
    case OgaElementType_int8:
    case OgaElementType_bool:
      return 1;
    case OgaElementType_uint16:
    case OgaElementType_int16:
    case OgaElementType_float16:
    case OgaElementType_bfloat16:
      return 2;
    case OgaElementType_float32:
    case OgaElementType_int32:
    case OgaElementType_uint32:
      return 4;
    case OgaElementType_int64:
    case OgaElementType_float64:
    case OgaElementType_uint64:
      return 8;
  }
  fail("element type " + std::to_string(static_cast<int>(type)) + " is not supported");
}

/// Throws invalid_input for an unknown type and for a shape that no memory can hold.
size_t bytes_of(OgaElementType type, const std::vector<int64_t>& shape) {
  size_t bytes = bytes_of(type);
  for (const int64_t size : shape) {
    if (size < 0) fail("a tensor's dimension is " + std::to_string(size) + ", expected 0 or more");
    if (size > 0 && bytes > std::numeric_limits<ptrdiff_t>::max() / static_cast<size_t>(size)) {
      fail("a tensor's shape is too large");
    }
    bytes *= static_cast<size_t>(size);
  }
  return bytes;
}

}  // namespace

std::unique_ptr<OgaTensor> make_tensor(OgaElementType type, std::vector<int64_t> shape) {
  auto tensor = std::make_unique<OgaTensor>();
  tensor->type = type;
  tensor->own = std::make_shared<std::vector<std::byte>>(bytes_of(type, shape));
  tensor->data = tensor->own->data();
  tensor->shape = std::move(shape);
  return tensor;
}

}  // namespace salient::oga

using salient::oga::fail;
using salient::oga::guard;
using salient::oga::require;

OGA_EXPORT const char* OgaResultGetError(const OgaResult* result) {
  return result ? result->message.c_str() : "";
}
OGA_EXPORT void OgaDestroyResult(OgaResult* result) {
  delete result;
}
OGA_EXPORT void OgaDestroyString(const char* text) {
  delete[] text;
}

OGA_EXPORT OgaResult* OgaCreateSequences(OgaSequences** out) {
  return guard([&] { require(out, "out") = new OgaSequences; });
}
OGA_EXPORT void OgaDestroySequences(OgaSequences* sequences) {
  OgaSequences::destroy(sequences);
}
OGA_EXPORT size_t OgaSequencesCount(const OgaSequences* sequences) {
  return OgaSequences::is_alive(sequences) ? sequences->sequences.size() : 0;
}
OGA_EXPORT OgaResult* OgaAppendTokenSequence(const int32_t* tokens, size_t count, OgaSequences* sequences) {
  return guard([&] {
    if (count > 0) require(tokens, "tokens");
    require(sequences, "sequences").sequences.emplace_back(tokens, tokens + count);
  });
}
OGA_EXPORT OgaResult* OgaAppendTokenToSequence(int32_t token, OgaSequences* sequences, size_t index) {
  return guard([&] {
    auto& all = require(sequences, "sequences").sequences;
    if (index > all.size()) {
      fail("sequence " + std::to_string(index) + " was asked for, there are " + std::to_string(all.size()));
    }
    if (index == all.size()) all.emplace_back();
    all[index].push_back(token);
  });
}
OGA_EXPORT size_t OgaSequencesGetSequenceCount(const OgaSequences* sequences, size_t index) {
  return OgaSequences::is_alive(sequences) && index < sequences->sequences.size() ? sequences->sequences[index].size()
                                                                                  : 0;
}
OGA_EXPORT const int32_t* OgaSequencesGetSequenceData(const OgaSequences* sequences, size_t index) {
  return OgaSequences::is_alive(sequences) && index < sequences->sequences.size() ? sequences->sequences[index].data()
                                                                                  : nullptr;
}

OGA_EXPORT OgaResult* OgaCreateStringArray(OgaStringArray** out) {
  return guard([&] { require(out, "out") = new OgaStringArray; });
}
OGA_EXPORT OgaResult* OgaCreateStringArrayFromStrings(const char* const* strings, size_t count, OgaStringArray** out) {
  return guard([&] {
    require(out, "out");
    if (count > 0) require(strings, "strings");
    auto array = std::make_unique<OgaStringArray>();
    for (size_t i = 0; i < count; ++i) array->strings.emplace_back(&require(strings[i], "a string"));
    *out = array.release();
  });
}
OGA_EXPORT void OgaDestroyStringArray(OgaStringArray* array) {
  OgaStringArray::destroy(array);
}
OGA_EXPORT OgaResult* OgaStringArrayAddString(OgaStringArray* array, const char* string) {
  return guard([&] { require(array, "array").strings.emplace_back(&require(string, "string")); });
}
OGA_EXPORT OgaResult* OgaStringArrayGetCount(const OgaStringArray* array, size_t* out) {
  return guard([&] { require(out, "out") = require(array, "array").strings.size(); });
}
OGA_EXPORT OgaResult* OgaStringArrayGetString(const OgaStringArray* array, size_t index, const char** out) {
  return guard([&] {
    require(out, "out");
    const auto& strings = require(array, "array").strings;
    if (index >= strings.size())
      fail("string " + std::to_string(index) + " was asked for, there are " + std::to_string(strings.size()));
    *out = strings[index].c_str();
  });
}

OGA_EXPORT OgaResult* OgaCreateTensorFromBuffer(void* data, const int64_t* shape, size_t rank, OgaElementType type,
                                                OgaTensor** out) {
  return guard([&] {
    require(out, "out");
    if (rank > 0) require(shape, "shape");
    const std::vector<int64_t> sizes(shape, shape + rank);
    std::unique_ptr<OgaTensor> tensor;
    if (data) {
      tensor = std::make_unique<OgaTensor>();
      salient::oga::bytes_of(type, sizes);  // which checks both
      tensor->type = type;
      tensor->shape = sizes;
      tensor->data = data;
    } else {
      tensor = salient::oga::make_tensor(type, sizes);
    }
    *out = tensor.release();
  });
}
OGA_EXPORT void OgaDestroyTensor(OgaTensor* tensor) {
  OgaTensor::destroy(tensor);
}
OGA_EXPORT OgaResult* OgaTensorGetType(OgaTensor* tensor, OgaElementType* out) {
  return guard([&] { require(out, "out") = require(tensor, "tensor").type; });
}
OGA_EXPORT OgaResult* OgaTensorGetShapeRank(OgaTensor* tensor, size_t* out) {
  return guard([&] { require(out, "out") = require(tensor, "tensor").shape.size(); });
}
OGA_EXPORT OgaResult* OgaTensorGetShape(OgaTensor* tensor, int64_t* sizes, size_t rank) {
  return guard([&] {
    const auto& shape = require(tensor, "tensor").shape;
    if (rank != shape.size()) {
      fail("the rank is " + std::to_string(rank) + ", expected " + std::to_string(shape.size()));
    }
    if (rank > 0) std::copy(shape.begin(), shape.end(), &require(sizes, "sizes"));
  });
}
OGA_EXPORT OgaResult* OgaTensorGetData(OgaTensor* tensor, void** out) {
  return guard([&] { require(out, "out") = require(tensor, "tensor").data; });
}

OGA_EXPORT OgaResult* OgaCreateNamedTensors(OgaNamedTensors** out) {
  return guard([&] { require(out, "out") = new OgaNamedTensors; });
}
OGA_EXPORT void OgaDestroyNamedTensors(OgaNamedTensors* tensors) {
  OgaNamedTensors::destroy(tensors);
}
/// Null in `out` when there is none; else a tensor of the same memory for the caller to destroy.
OGA_EXPORT OgaResult* OgaNamedTensorsGet(OgaNamedTensors* tensors, const char* name, OgaTensor** out) {
  return guard([&] {
    require(out, "out");
    const auto found = require(tensors, "tensors").tensors.find(&require(name, "name"));
    *out = found == tensors->tensors.end() ? nullptr : new OgaTensor(found->second);
  });
}
OGA_EXPORT OgaResult* OgaNamedTensorsSet(OgaNamedTensors* tensors, const char* name, OgaTensor* tensor) {
  return guard([&] { require(tensors, "tensors").tensors[&require(name, "name")] = require(tensor, "tensor"); });
}
OGA_EXPORT OgaResult* OgaNamedTensorsDelete(OgaNamedTensors* tensors, const char* name) {
  return guard([&] { require(tensors, "tensors").tensors.erase(&require(name, "name")); });
}
OGA_EXPORT OgaResult* OgaNamedTensorsCount(const OgaNamedTensors* tensors, size_t* out) {
  return guard([&] { require(out, "out") = require(tensors, "tensors").tensors.size(); });
}
OGA_EXPORT OgaResult* OgaNamedTensorsGetNames(const OgaNamedTensors* tensors, OgaStringArray** out) {
  return guard([&] {
    require(out, "out");
    auto names = std::make_unique<OgaStringArray>();
    for (const auto& [name, tensor] : require(tensors, "tensors").tensors) names->strings.push_back(name);
    *out = names.release();
  });
}
