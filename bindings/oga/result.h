#pragma once

#include <new>
#include <salient/salient.hpp>
#include <string>
#include <utility>

#include "oga/objects.h"

#if defined(_WIN32)
#define OGA_EXPORT extern "C" __declspec(dllexport)
#else
#define OGA_EXPORT extern "C" __attribute__((visibility("default")))
#endif

namespace salient::oga {

/// Runs the body of a function; what it throws becomes the result, which the caller destroys. Null is success.
template <typename Body>
OgaResult* guard(Body&& body) noexcept {
  try {
    body();
    return nullptr;
  } catch (const std::exception& error) {
    return new (std::nothrow) OgaResult{error.what()};
  } catch (...) {
    return new (std::nothrow) OgaResult{"an unknown error"};
  }
}

[[noreturn]] inline void fail(const std::string& sentence) {
  throw Error(ErrorKind::kInvalidInput, sentence);
}

using api::require;

/// A text that the caller gives back to OgaDestroyString.
inline const char* copy_text(const std::string& text) {
  auto* copy = new char[text.size() + 1];
  text.copy(copy, text.size());
  copy[text.size()] = '\0';
  return copy;
}

/// A tensor with memory of its own.
std::unique_ptr<OgaTensor> make_tensor(OgaElementType type, std::vector<int64_t> shape);

/// A configuration's number "model.NAME", where it has one.
std::optional<int64_t> model_number(const nlohmann::json& document, const char* name);
/// Tokens that prompt and reply may have: what the configuration says, and not more than the model can.
int64_t context_length(const OgaModel& model);
/// The tokens that the configuration ends a reply with; none where it names none.
std::vector<int32_t> end_tokens(const nlohmann::json& document);

}  // namespace salient::oga
