#include "checkpoint/gguf.h"

#include <optional>
#include <utility>

#include "checkpoint/gguf_reader.h"
#include "checkpoint/gguf_types.h"

namespace salient::checkpoint {

using core::DType;
using core::ErrorKind;
using core::fail;

namespace {

/// A scalar of any type but string and array: its integer or its real value.
std::variant<int64_t, double, bool> read_scalar(GgufReader& reader, GgufValueType type, const std::string& key) {
  const char* what = key.c_str();
  switch (type) {
    case GgufValueType::kU8:
      return int64_t{reader.number<uint8_t>(what)};
    case GgufValueType::kI8:
      return int64_t{reader.number<int8_t>(what)};
    case GgufValueType::kU16:
      return int64_t{reader.number<uint16_t>(what)};
    case GgufValueType::kI16:
      return int64_t{reader.number<int16_t>(what)};
    case GgufValueType::kU32:
      return int64_t{reader.number<uint32_t>(what)};
    case GgufValueType::kI32:
      return int64_t{reader.number<int32_t>(what)};
    case GgufValueType::kI64:
      return reader.number<int64_t>(what);
    case GgufValueType::kU64: {
      const auto value = reader.number<uint64_t>(what);
      if (value > static_cast<uint64_t>(INT64_MAX)) {
        fail(ErrorKind::kInvalidInput, "{}: {} is {}, too large a number", reader.name(), key, value);
      }
      return static_cast<int64_t>(value);
    }
    case GgufValueType::kBool:
      return reader.number<uint8_t>(what) != 0;
    case GgufValueType::kF32:
      return double{reader.number<float>(what)};
    case GgufValueType::kF64:
      return reader.number<double>(what);
    default:
      fail(ErrorKind::kInvalidInput, "{}: {} has value type {}, which GGUF does not have", reader.name(), key,
           static_cast<uint32_t>(type));
  }
}

GgufValue read_array(GgufReader& reader, const std::string& key) {
  const auto type = static_cast<GgufValueType>(reader.number<uint32_t>(key.c_str()));
  const uint64_t count = reader.count(key.c_str(), type == GgufValueType::kString ? 8 : 1);
  if (type == GgufValueType::kString) {
    std::vector<std::string> strings;
    for (uint64_t i = 0; i < count; ++i) strings.push_back(reader.string(key.c_str()));
    return strings;
  }
  std::vector<int64_t> integers;
  std::vector<double> numbers;
  const bool real = type == GgufValueType::kF32 || type == GgufValueType::kF64;
  for (uint64_t i = 0; i < count; ++i) {
    const auto value = read_scalar(reader, type, key);
    if (real) {
      numbers.push_back(std::get<double>(value));
    } else {
      integers.push_back(std::holds_alternative<bool>(value) ? std::get<bool>(value) : std::get<int64_t>(value));
    }
  }
  if (real) return numbers;
  return integers;
}

GgufValue read_value(GgufReader& reader, const std::string& key) {
  const auto type = static_cast<GgufValueType>(reader.number<uint32_t>(key.c_str()));
  if (type == GgufValueType::kString) return reader.string(key.c_str());
  if (type == GgufValueType::kArray) return read_array(reader, key);
  return std::visit([](auto value) { return GgufValue(value); }, read_scalar(reader, type, key));
}

/// ggml's numbers for the tensor types Salient reads.
std::optional<DType> dtype_of(uint32_t ggml_type) {
  for (const auto& [number, dtype] : kGgufTensorTypes) {
    if (number == ggml_type) return dtype;
  }
  return std::nullopt;
}

/// A tensor's entry in the table; offsets count from the start of the data.
struct TensorEntry {
  std::string name;
  DType dtype;
  std::vector<int64_t> shape;
  uint64_t offset;
  uint64_t bytes;
};

TensorEntry read_tensor_entry(GgufReader& reader) {
  TensorEntry entry;
  entry.name = reader.string("a tensor's name");
  const std::string origin = fmt::format("{}: tensor {}", reader.name(), entry.name);
  const auto dimensions = reader.number<uint32_t>("a tensor's number of dimensions");
  if (dimensions < 1 || dimensions > 4) {
    fail(ErrorKind::kInvalidInput, "{}: has {} dimensions, expected 1 to 4", origin, dimensions);
  }
  uint64_t elements = 1;
  for (uint32_t i = 0; i < dimensions; ++i) {
    const auto size = reader.number<uint64_t>("a tensor's shape");
    if (size == 0 || __builtin_mul_overflow(elements, size, &elements) || elements > uint64_t{1} << 48) {
      fail(ErrorKind::kInvalidInput, "{}: dimension {} is {}, which makes no possible size", origin, i, size);
    }
    // GGUF lists the contiguous dimension first.
    entry.shape.insert(entry.shape.begin(), static_cast<int64_t>(size));
  }
  const auto type = reader.number<uint32_t>("a tensor's type");
  const auto dtype = dtype_of(type);
  if (!dtype) {
    fail(ErrorKind::kUnsupported,
         "{}: is of ggml type {}, which is not supported; expected F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, "
         "Q5_K or Q6_K",
         origin, type);
  }
  entry.dtype = *dtype;
  const core::DTypeInfo& info = core::info_of(*dtype);
  if (entry.shape.back() % info.block_elements != 0) {
    fail(ErrorKind::kInvalidInput, "{}: its rows have {} elements, which blocks of {} ({}) do not divide", origin,
         entry.shape.back(), info.block_elements, info.name);
  }
  entry.bytes = elements / static_cast<uint64_t>(info.block_elements) * static_cast<uint64_t>(info.block_bytes);
  entry.offset = reader.number<uint64_t>("a tensor's offset");
  return entry;
}

void read_metadata(GgufReader& reader, uint64_t count, GgufFile& gguf) {
  for (uint64_t i = 0; i < count; ++i) {
    const std::string key = reader.string("a metadata key");
    if (!gguf.metadata.emplace(key, read_value(reader, key)).second) {
      fail(ErrorKind::kInvalidInput, "{}: has the metadata key {} twice", reader.name(), key);
    }
  }
}

void place_tensors(const GgufReader& reader, const std::vector<TensorEntry>& entries, GgufFile& gguf) {
  const int64_t alignment = gguf.integer_or("general.alignment", kGgufAlignment);
  if (alignment < 1 || alignment > 1 << 20 || (alignment & (alignment - 1)) != 0) {
    fail(ErrorKind::kInvalidInput, "{}: general.alignment is {}, expected a power of two", reader.name(), alignment);
  }
  const uint64_t step = static_cast<uint64_t>(alignment);
  const uint64_t file_size = gguf.file->bytes().size();
  const uint64_t data_start = (reader.position() + step - 1) / step * step;
  const uint64_t data_size = data_start < file_size ? file_size - data_start : 0;
  for (const TensorEntry& entry : entries) {
    if (entry.offset > data_size || entry.bytes > data_size - entry.offset) {
      fail(ErrorKind::kInvalidInput,
           "{}: tensor {} takes {} bytes at offset {}, but the file holds {} bytes of data: it is truncated",
           reader.name(), entry.name, entry.bytes, entry.offset, data_size);
    }
    if (entry.offset % step != 0) {
      fail(ErrorKind::kInvalidInput, "{}: tensor {} is at offset {}, expected a multiple of {}", reader.name(),
           entry.name, entry.offset, step);
    }
    StoredTensor stored;
    stored.file = gguf.file;
    stored.view = {entry.dtype, entry.shape, gguf.file->bytes().subspan(data_start + entry.offset, entry.bytes)};
    if (!gguf.tensors.emplace(entry.name, std::move(stored)).second) {
      fail(ErrorKind::kInvalidInput, "{}: has the tensor {} twice", reader.name(), entry.name);
    }
  }
}

template <typename T>
const T* find_value(const GgufFile& gguf, const std::string& key, const char* kind) {
  const auto found = gguf.metadata.find(key);
  if (found == gguf.metadata.end()) return nullptr;
  const T* value = std::get_if<T>(&found->second);
  if (!value) {
    fail(ErrorKind::kInvalidInput, "{}: {} is not {}", gguf.file->path().string(), key, kind);
  }
  return value;
}

template <typename T>
const T& required_value(const GgufFile& gguf, const std::string& key, const char* kind) {
  const T* value = find_value<T>(gguf, key, kind);
  if (!value) fail(ErrorKind::kInvalidInput, "{}: {} is missing", gguf.file->path().string(), key);
  return *value;
}

}  // namespace

const std::string& GgufFile::string(const std::string& key) const {
  return required_value<std::string>(*this, key, "a string");
}
std::string GgufFile::string_or(const std::string& key, const std::string& otherwise) const {
  const auto* value = find_value<std::string>(*this, key, "a string");
  return value ? *value : otherwise;
}
int64_t GgufFile::integer(const std::string& key) const {
  return required_value<int64_t>(*this, key, "a whole number");
}
int64_t GgufFile::integer_or(const std::string& key, int64_t otherwise) const {
  const auto* value = find_value<int64_t>(*this, key, "a whole number");
  return value ? *value : otherwise;
}
double GgufFile::number(const std::string& key) const {
  return required_value<double>(*this, key, "a number");
}
double GgufFile::number_or(const std::string& key, double otherwise) const {
  const auto* value = find_value<double>(*this, key, "a number");
  return value ? *value : otherwise;
}
bool GgufFile::flag_or(const std::string& key, bool otherwise) const {
  const auto* value = find_value<bool>(*this, key, "true or false");
  return value ? *value : otherwise;
}
const std::vector<std::string>* GgufFile::strings(const std::string& key) const {
  return find_value<std::vector<std::string>>(*this, key, "a list of strings");
}
const std::vector<int64_t>* GgufFile::integers(const std::string& key) const {
  return find_value<std::vector<int64_t>>(*this, key, "a list of whole numbers");
}
const std::vector<double>* GgufFile::numbers(const std::string& key) const {
  return find_value<std::vector<double>>(*this, key, "a list of numbers");
}

GgufFile parse_gguf(const std::filesystem::path& path) {
  GgufFile gguf;
  gguf.file = std::make_shared<const core::MappedFile>(path);
  GgufReader reader(*gguf.file);
  if (gguf.file->bytes().size() < 4 || reader.number<uint32_t>("the magic number") != kGgufMagic) {
    fail(ErrorKind::kInvalidInput, "{}: is neither a model folder nor a GGUF file (it does not begin with \"GGUF\")",
         path.string());
  }
  const auto version = reader.number<uint32_t>("the version");
  if (version != 2 && version != 3) {
    fail(ErrorKind::kUnsupported, "{}: is GGUF version {}, expected 2 or 3", path.string(), version);
  }
  // A tensor's entry takes at least 32 bytes, a metadata entry at least 13.
  const uint64_t tensor_count = reader.count("number of tensors", 32);
  const uint64_t metadata_count = reader.count("number of metadata entries", 13);
  read_metadata(reader, metadata_count, gguf);
  std::vector<TensorEntry> entries;
  for (uint64_t i = 0; i < tensor_count; ++i) entries.push_back(read_tensor_entry(reader));
  place_tensors(reader, entries, gguf);
  return gguf;
}

}  // namespace salient::checkpoint
