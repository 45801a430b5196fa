#pragma once

#include <string>
#include <vector>

namespace salient::runner::ort {

/// A graphics adapter as DXGI lists it.
struct DxgiAdapter {
  std::string name;
  std::string luid;  ///< its locally unique identifier: "high:low", both decimal
};

/// In DXGI's order, which is the one that DirectML's `device_index` counts in. Nothing where there is no DXGI.
std::vector<DxgiAdapter> dxgi_adapters();

}  // namespace salient::runner::ort
