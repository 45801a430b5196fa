#include "serve/failure.h"

#include <gtest/gtest.h>

#include <new>
#include <nlohmann/json.hpp>

#include "core/error.h"

namespace salient::serve {
namespace {

Refusal refusal_for(auto error) {
  return refusal_of(std::make_exception_ptr(error));
}

TEST(Failure, KindsOfErrorsBecomeStatuses) {
  using core::Error;
  using core::ErrorKind;
  EXPECT_EQ(refusal_for(Error(ErrorKind::kInvalidInput, "a")).status(), 400);
  EXPECT_EQ(refusal_for(Error(ErrorKind::kNotFound, "a")).status(), 404);
  EXPECT_EQ(refusal_for(Error(ErrorKind::kOutOfMemory, "a")).status(), 503);
  EXPECT_EQ(refusal_for(Error(ErrorKind::kInternal, "a")).status(), 500);
  EXPECT_EQ(refusal_for(std::bad_alloc()).status(), 503);
  EXPECT_STREQ(refusal_for(Error(ErrorKind::kInvalidInput, "the sentence")).what(), "the sentence");
}

TEST(Failure, WhatIsNotForeseenDoesNotSayWhatItIs) {
  const Refusal refusal = refusal_for(std::runtime_error("/secret/path"));
  EXPECT_EQ(refusal.status(), 500);
  EXPECT_EQ(std::string(refusal.what()).find("secret"), std::string::npos);
}

TEST(Failure, HasTheShapeOfOpenAi) {
  const HttpAnswer answer = to_answer(Refusal(400, "n is 0", "n"));
  EXPECT_EQ(answer.status, 400);
  const nlohmann::json expected = {
      {"error", {{"message", "n is 0"}, {"type", "invalid_request_error"}, {"param", "n"}, {"code", nullptr}}}};
  EXPECT_EQ(nlohmann::json::parse(answer.body), expected);
}

TEST(Failure, SaysWhenToTryAgain) {
  const auto has_retry_after = [](int status) {
    for (const auto& [name, value] : to_answer(Refusal(status, "a")).headers) {
      if (name == "Retry-After") return true;
    }
    return false;
  };
  EXPECT_TRUE(has_retry_after(429));
  EXPECT_TRUE(has_retry_after(503));
  EXPECT_FALSE(has_retry_after(400));
}

}  // namespace
}  // namespace salient::serve
