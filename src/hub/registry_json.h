#pragma once

namespace salient::hub {

/// The text of registry.json; CMake makes its source file.
extern const char* const kRegistryJson;

}  // namespace salient::hub
