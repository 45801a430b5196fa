#include "serve/access.h"

#include <gtest/gtest.h>

#include "serve/failure.h"

namespace salient::serve {
namespace {

/// 200, or the status of the refusal.
int status(const AccessRules& rules, std::map<std::string, std::string> headers, const std::string& path = "/v1/models",
           const std::string& method = "GET") {
  try {
    check_access(rules, {method, path, std::move(headers), {}, {}});
    return 200;
  } catch (const Refusal& refusal) {
    return refusal.status();
  }
}

TEST(Access, LoopbackIsWhatOnlyThisMachineReaches) {
  for (const char* address : {"127.0.0.1", "127.1.2.3", "::1", "localhost"}) EXPECT_TRUE(is_loopback(address));
  for (const char* address : {"0.0.0.0", "::", "192.168.0.1", "127.evil.example", "example.org", ""}) {
    EXPECT_FALSE(is_loopback(address)) << address;
  }
}

TEST(Access, ComparesWholeKeys) {
  EXPECT_TRUE(equal_in_constant_time("secret", "secret"));
  EXPECT_TRUE(equal_in_constant_time("", ""));
  for (const char* wrong : {"", "s", "secre", "secrets", "Secret", "secretsecret"}) {
    EXPECT_FALSE(equal_in_constant_time(wrong, "secret")) << wrong;
  }
  EXPECT_FALSE(equal_in_constant_time("secret", ""));
}

TEST(Access, AnswersOnlyForItsOwnNames) {
  const AccessRules rules{{}, {"models.example"}, {}};
  for (const char* host : {"localhost", "localhost:8080", "127.0.0.1:8080", "[::1]:8080", "10.0.0.7", "models.example",
                           "Models.Example:443"}) {
    EXPECT_EQ(status(rules, {{"host", host}}), 200) << host;
  }
  for (const char* host : {"", "evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "1.evil:80"}) {
    EXPECT_EQ(status(rules, {{"host", host}}), 403) << host;
  }
}

TEST(Access, PagesOfOtherOriginsStayOut) {
  const auto of = [](const AccessRules& rules, const char* origin) {
    return status(rules, {{"host", "localhost:8080"}, {"origin", origin}});
  };
  EXPECT_EQ(of({}, "http://localhost:8080"), 200);
  EXPECT_EQ(of({}, "http://localhost:8081"), 403);
  EXPECT_EQ(of({}, "http://evil.example"), 403);
  EXPECT_EQ(of({}, "null"), 403);
  const AccessRules friendly{{}, {}, {"http://friend.example"}};
  EXPECT_EQ(of(friendly, "http://friend.example"), 200);
  EXPECT_EQ(of(friendly, "http://friend.example.evil"), 403);
  EXPECT_EQ(of({{}, {}, {"*"}}, "http://anybody.example"), 200);
  EXPECT_TRUE(cors_headers({}, {"GET", "/", {{"origin", "http://friend.example"}}, {}, {}}).empty());
  EXPECT_FALSE(cors_headers(friendly, {"GET", "/", {{"origin", "http://friend.example"}}, {}, {}}).empty());
}

TEST(Access, AsksForOneOfTheKeys) {
  const AccessRules rules{{"first", "second"}, {}, {}};
  const auto with = [&](const char* name, const char* value) {
    return status(rules, {{"host", "localhost"}, {name, value}});
  };
  EXPECT_EQ(status(rules, {{"host", "localhost"}}), 401);
  EXPECT_EQ(with("authorization", "Bearer first"), 200);
  EXPECT_EQ(with("authorization", "bearer second"), 200);
  EXPECT_EQ(with("x-api-key", "second"), 200);
  EXPECT_EQ(with("authorization", "Bearer third"), 401);
  EXPECT_EQ(with("authorization", "first"), 401);
  EXPECT_EQ(with("authorization", "Bearer "), 401);
  EXPECT_EQ(status(rules, {{"host", "localhost"}}, "/health"), 200);
  EXPECT_EQ(status(rules, {{"host", "localhost"}}, "/v1/chat/completions", "OPTIONS"), 200);
}

}  // namespace
}  // namespace salient::serve
