#pragma once

#include <exception>
#include <nlohmann/json_fwd.hpp>
#include <stdexcept>
#include <string>

#include "serve/http.h"

namespace salient::serve {

/// A request that is refused: what OpenAI's API calls an error object, and the status that goes with it.
class Refusal : public std::runtime_error {
 public:
  Refusal(int status, const std::string& message, std::string parameter = {}, std::string code = {})
      : std::runtime_error(message), status_(status), parameter_(std::move(parameter)), code_(std::move(code)) {}

  int status() const { return status_; }
  const std::string& parameter() const { return parameter_; }  ///< the field at fault; may be empty
  const std::string& code() const { return code_; }            ///< may be empty

 private:
  int status_;
  std::string parameter_;
  std::string code_;
};

/// The refusal that a failure of any kind stands for. What is no Error of ours becomes a 500 without its text.
Refusal refusal_of(const std::exception_ptr& failure);

/// {"error": {"message", "type", "param", "code"}}.
nlohmann::json to_json(const Refusal& refusal);
HttpAnswer to_answer(const Refusal& refusal);

}  // namespace salient::serve
