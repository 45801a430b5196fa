#include "serve/failure.h"

#include <new>
#include <nlohmann/json.hpp>

#include "core/error.h"

namespace salient::serve {

namespace {

int status_of(core::ErrorKind kind) {
  switch (kind) {
    case core::ErrorKind::kInvalidInput:
    case core::ErrorKind::kUnsupported:
      return 400;
    case core::ErrorKind::kNotFound:
      return 404;
    case core::ErrorKind::kOutOfMemory:
    case core::ErrorKind::kDeviceLost:
    case core::ErrorKind::kCancelled:
      return 503;
    case core::ErrorKind::kNetwork:
      return 502;
    case core::ErrorKind::kInternal:
      return 500;
  }
  return 500;
}

/// OpenAI's word for a status.
const char* type_of(int status) {
  switch (status) {
    case 401:
      return "authentication_error";
    case 403:
      return "permission_error";
    case 429:
      return "rate_limit_error";
    default:
      return status < 500 ? "invalid_request_error" : "server_error";
  }
}

nlohmann::json text_or_null(const std::string& text) {
  return text.empty() ? nlohmann::json() : nlohmann::json(text);
}

}  // namespace

Refusal refusal_of(const std::exception_ptr& failure) {
  try {
    std::rethrow_exception(failure);
  } catch (const Refusal& refusal) {
    return refusal;
  } catch (const core::Error& error) {
    return {status_of(error.kind()), error.what(), {}, core::name_of(error.kind())};
  } catch (const std::bad_alloc&) {
    return {503, "there is not enough memory", {}, "out_of_memory"};
  } catch (...) {
    return {500, "the server failed in a way that it did not foresee", {}, "internal"};
  }
}

nlohmann::json to_json(const Refusal& refusal) {
  return {{"error",
           {{"message", refusal.what()},
            {"type", type_of(refusal.status())},
            {"param", text_or_null(refusal.parameter())},
            {"code", text_or_null(refusal.code())}}}};
}

HttpAnswer to_answer(const Refusal& refusal) {
  HttpAnswer answer;
  answer.status = refusal.status();
  answer.body = to_json(refusal).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  if (answer.status == 429 || answer.status == 503) answer.headers.emplace_back("Retry-After", "5");
  if (answer.status == 401) answer.headers.emplace_back("WWW-Authenticate", "Bearer");
  return answer;
}

}  // namespace salient::serve
