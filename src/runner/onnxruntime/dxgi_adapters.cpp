#include "runner/onnxruntime/dxgi_adapters.h"

#ifdef _WIN32

#include <dxgi.h>
#include <fmt/format.h>

#include <filesystem>

#include "core/os.h"

namespace salient::runner::ort {

std::vector<DxgiAdapter> dxgi_adapters() {
  void* library = core::os::load_library("dxgi.dll");
  using Create = HRESULT(WINAPI*)(REFIID, void**);
  const auto create = reinterpret_cast<Create>(core::os::find_function(library, "CreateDXGIFactory1"));
  IDXGIFactory1* factory = nullptr;
  if (!create || FAILED(create(__uuidof(IDXGIFactory1), reinterpret_cast<void**>(&factory)))) return {};
  std::vector<DxgiAdapter> adapters;
  IDXGIAdapter1* adapter = nullptr;
  for (UINT i = 0; SUCCEEDED(factory->EnumAdapters1(i, &adapter)); ++i) {
    DXGI_ADAPTER_DESC1 description{};
    adapter->GetDesc1(&description);
    adapter->Release();
    const LUID luid = description.AdapterLuid;
    const auto name = std::filesystem::path(description.Description).u8string();
    adapters.push_back({std::string(name.begin(), name.end()), fmt::format("{}:{}", luid.HighPart, luid.LowPart)});
  }
  factory->Release();
  return adapters;
}

}  // namespace salient::runner::ort

#else

namespace salient::runner::ort {

std::vector<DxgiAdapter> dxgi_adapters() {
  return {};
}

}  // namespace salient::runner::ort

#endif
