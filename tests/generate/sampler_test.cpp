#include "generate/sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <set>

#include "core/error.h"
#include "tests/support/top_logits.h"

namespace salient::generate {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

std::vector<float> logits_of(const std::vector<double>& probabilities) {
  std::vector<float> logits;
  for (const double p : probabilities) logits.push_back(static_cast<float>(std::log(p)) + 3.0f);
  return logits;
}

/// How often each token is chosen.
std::map<int32_t, int> counts_of(const SamplingOptions& options, const std::vector<float>& logits, int draws) {
  Sampler sampler(options);
  std::map<int32_t, int> counts;
  for (int i = 0; i < draws; ++i) ++counts[sampler.choose(logits, 0, static_cast<uint64_t>(i))];
  return counts;
}

/// Each token's count within five standard deviations of what its probability says.
void expect_distribution(std::map<int32_t, int> counts, const std::vector<double>& probabilities, int draws) {
  int counted = 0;
  for (size_t i = 0; i < probabilities.size(); ++i) {
    const double mean = probabilities[i] * draws;
    const double deviation = std::sqrt(mean * (1 - probabilities[i]));
    EXPECT_NEAR(counts[static_cast<int32_t>(i)], mean, 5 * deviation) << "token " << i;
    counted += counts[static_cast<int32_t>(i)];
  }
  EXPECT_EQ(counted, draws) << "other tokens were chosen";
}

TEST(Sampler, TemperatureZeroTakesTheMostLikelyAndTheLowestAmongEquals) {
  Sampler sampler({.temperature = 0});
  EXPECT_EQ(sampler.choose(std::vector{1.0f, 5.0f, 2.0f}, 0, 0), 1);
  EXPECT_EQ(sampler.choose(std::vector{-3.0f, -2.0f, -2.0f, -2.0f}, 0, 0), 1);
  EXPECT_EQ(sampler.choose(std::vector{0.0f, 0.0f}, 7, 9), 0);
}

TEST(Sampler, MostLikelyPassesOverWhatIsNotANumber) {
  EXPECT_EQ(most_likely(std::vector{kNan, -kInfinity, -5.0f, kNan, -4.0f, -4.0f}), 4);
  EXPECT_EQ(most_likely(std::vector{kNan, kNan}), 0);
}

TEST(Sampler, DrawsFromTheDistributionOfTheLogits) {
  const std::vector<double> probabilities = {0.4, 0.05, 0.3, 0.2, 0.05};
  // top_k of all tokens takes the other path to the same distribution.
  for (const int64_t top_k : {0, 5}) {
    const SamplingOptions options{.temperature = 1, .top_k = top_k, .top_p = 1, .seed = 3};
    expect_distribution(counts_of(options, logits_of(probabilities), 40000), probabilities, 40000);
  }
}

TEST(Sampler, DrawsFromALargeVocabulary) {
  // 2500 tokens are several blocks; ten groups of 250 have probabilities 1/55, 2/55, ...
  std::vector<double> probabilities;
  for (int i = 0; i < 2500; ++i) probabilities.push_back((i / 250 + 1) / 55.0 / 250);
  for (const int64_t top_k : {0, 2500}) {
    const SamplingOptions options{.temperature = 1, .top_k = top_k, .top_p = 1, .seed = 4};
    std::map<int32_t, int> groups;
    for (const auto& [token, count] : counts_of(options, logits_of(probabilities), 3000)) groups[token / 250] += count;
    std::vector<double> expected;
    for (int i = 1; i <= 10; ++i) expected.push_back(i / 55.0);
    expect_distribution(groups, expected, 3000);
  }
}

TEST(Sampler, TemperatureSharpensAndFlattens) {
  const std::vector<float> logits = {0.0f, 1.0f};
  for (const float temperature : {0.5f, 2.0f}) {
    const double p = 1 / (1 + std::exp(-1.0 / temperature));
    expect_distribution(counts_of({.temperature = temperature, .top_k = 0, .top_p = 1}, logits, 20000), {1 - p, p},
                        20000);
  }
}

TEST(Sampler, TopKKeepsTheMostLikelyAndTheLowestAmongEquals) {
  const auto counts = counts_of({.temperature = 1, .top_k = 2, .top_p = 1}, logits_of({0.1, 0.2, 0.5, 0.2}), 20000);
  expect_distribution(counts, {0, 0.2 / 0.7, 0.5 / 0.7, 0}, 20000);
}

TEST(Sampler, TopKOfManyAreThoseThatSortingPutsFirst) {
  std::vector<float> logits;
  for (uint64_t i = 0; i < 3000; ++i) logits.push_back(static_cast<float>(i * 2654435761u % 601) / 100);
  logits[100] = kNan;
  std::vector<int32_t> ids(logits.size());
  std::iota(ids.begin(), ids.end(), 0);
  std::erase(ids, 100);
  std::stable_sort(ids.begin(), ids.end(), [&](int32_t a, int32_t b) { return logits[a] > logits[b]; });
  const std::set<int32_t> expected(ids.begin(), ids.begin() + 33);  // the 30th to the 34th are equal
  ASSERT_EQ(logits[ids[32]], logits[ids[33]]);
  std::set<int32_t> chosen;
  for (const auto& [token, count] : counts_of({.temperature = 5, .top_k = 33, .top_p = 1}, logits, 3000)) {
    chosen.insert(token);
  }
  EXPECT_EQ(chosen, expected);
}

TEST(Sampler, TopPKeepsTheMostLikelyUntilTheirProbabilitiesReachIt) {
  const std::vector<float> logits = logits_of({0.05, 0.3, 0.5, 0.15});
  expect_distribution(counts_of({.temperature = 1, .top_k = 0, .top_p = 0.75f}, logits, 20000),
                      {0, 0.3 / 0.8, 0.5 / 0.8, 0}, 20000);
  expect_distribution(counts_of({.temperature = 1, .top_k = 0, .top_p = 0.9f}, logits, 20000),
                      {0, 0.3 / 0.95, 0.5 / 0.95, 0.15 / 0.95}, 20000);
  expect_distribution(counts_of({.temperature = 1, .top_k = 0, .top_p = 1e-30f}, logits, 100), {0, 0, 1, 0}, 100);
}

TEST(Sampler, TopPCountsTheProbabilitiesThatTopKLeaves) {
  // Of the three left, the first two have 0.8 / 0.95 = 0.842 together.
  expect_distribution(
      counts_of({.temperature = 1, .top_k = 3, .top_p = 0.83f}, logits_of({0.5, 0.3, 0.15, 0.05}), 20000),
      {0.5 / 0.8, 0.3 / 0.8, 0, 0}, 20000);
}

TEST(Sampler, TopPKeepsManyTokensOfAFlatDistribution) {
  const auto counts = counts_of({.temperature = 1, .top_k = 0, .top_p = 0.5f}, std::vector<float>(100, 1.0f), 20000);
  EXPECT_EQ(counts.size(), 50u);
  EXPECT_EQ(counts.rbegin()->first, 49) << "the lowest ids among equals";
}

TEST(Sampler, MinPKeepsWhatIsAtLeastThatShareAsLikelyAsTheMostLikely) {
  const std::vector<float> logits = logits_of({0.5, 0.3, 0.1, 0.06, 0.04});
  expect_distribution(counts_of({.temperature = 1, .top_k = 0, .top_p = 1, .min_p = 0.19f}, logits, 20000),
                      {0.5 / 0.9, 0.3 / 0.9, 0.1 / 0.9, 0, 0}, 20000);
  // After top_p, and on the distribution that the temperature makes: 0.25, 0.09, 0.01 ... of which 0.09 is 0.36.
  expect_distribution(counts_of({.temperature = 0.5f, .top_k = 0, .top_p = 1, .min_p = 0.35f}, logits, 20000),
                      {0.25 / 0.34, 0.09 / 0.34, 0, 0, 0}, 20000);
  expect_distribution(counts_of({.temperature = 1, .top_k = 0, .top_p = 0.7f, .min_p = 0.01f}, logits, 20000),
                      {0.5 / 0.8, 0.3 / 0.8, 0, 0, 0}, 20000);
  expect_distribution(counts_of({.temperature = 1, .top_k = 0, .top_p = 1, .min_p = 1}, logits, 100), {1, 0, 0, 0, 0},
                      100);
}

TEST(Sampler, AChoiceDependsOnStreamAndPositionOnly) {
  const std::vector<float> flat(1000, 0.0f);
  for (const float top_p : {1.0f, 0.9f}) {
    const SamplingOptions options{.temperature = 1, .top_k = 0, .top_p = top_p, .seed = 11};
    Sampler forwards(options);
    Sampler backwards(options);
    std::vector<int32_t> choices;
    for (uint64_t i = 0; i < 20; ++i) choices.push_back(forwards.choose(flat, i % 2, i));
    for (uint64_t i = 20; i-- > 0;) EXPECT_EQ(backwards.choose(flat, i % 2, i), choices[i]);
    int same = 0;
    Sampler other_seed({.temperature = 1, .top_k = 0, .top_p = top_p, .seed = 12});
    for (uint64_t i = 0; i < 20; ++i) {
      same += forwards.choose(flat, 2, i) == choices[i];
      same += forwards.choose(flat, i % 2, i + 20) == choices[i];
      same += other_seed.choose(flat, i % 2, i) == choices[i];
    }
    EXPECT_LT(same, 5);
  }
}

TEST(Sampler, WhatIsImpossibleOrNotANumberIsNeverChosen) {
  const std::vector<float> logits = {-kInfinity, 0.0f, kNan, 0.0f, -1000.0f};
  for (const float top_p : {1.0f, 0.99f}) {
    for (const int64_t top_k : {0, 4}) {
      expect_distribution(counts_of({.temperature = 1, .top_k = top_k, .top_p = top_p}, logits, 2000),
                          {0, 0.5, 0, 0.5, 0}, 2000);
    }
  }
}

TEST(Sampler, TheLargestLogitsDecideAsAllDo) {
  std::vector<std::vector<float>> rows(4);
  for (uint64_t i = 0; i < 3000; ++i) {
    rows[0].push_back(static_cast<float>(i * 2654435761u % 601) / 100);
    rows[1].push_back(i % 500 == 3 ? 2.0f : -kInfinity);
    rows[2].push_back(i % 1000 == 7 ? -1.0f : kNan);
    rows[3].push_back(i % 2 == 0 ? -0.0f : 0.0f);
  }
  for (const float temperature : {0.0f, 1e-42f, 0.7f, 5.0f}) {
    for (const int64_t top_k : {1, 2, 33, 128}) {
      for (const float top_p : {1.0f, 0.8f}) {
        for (const float min_p : {0.0f, 0.1f}) {
          Sampler sampler({.temperature = temperature, .top_k = top_k, .top_p = top_p, .min_p = min_p, .seed = 9});
          const int64_t needed = sampler.top_needed(3000);
          EXPECT_EQ(needed, temperature == 0 ? 1 : top_k);
          for (const auto& row : rows) {
            const auto enough = tests::top_logits_of(row, needed);
            const auto more = tests::top_logits_of(row, needed + 20);
            for (uint64_t position = 0; position < 50; ++position) {
              const int32_t chosen = sampler.choose(row, 2, position);
              ASSERT_EQ(sampler.choose(enough, 2, position), chosen);
              ASSERT_EQ(sampler.choose(more, 2, position), chosen);
            }
          }
        }
      }
    }
  }
}

TEST(Sampler, AllLogitsAreNeededWithoutATopK) {
  EXPECT_EQ(Sampler({.top_k = 0}).top_needed(300), 0);
  EXPECT_EQ(Sampler({.top_k = 300}).top_needed(300), 0);
  EXPECT_EQ(Sampler({.top_k = 299}).top_needed(300), 299);
  EXPECT_EQ(Sampler({.temperature = 0, .top_k = 0}).top_needed(300), 1);
}

TEST(Sampler, TheSmallestTemperatureTakesTheMostLikely) {
  const std::vector<float> logits = {1.0f, 1.001f, -3.0f, kNan};
  for (const float top_p : {1.0f, 0.9f}) {
    expect_distribution(counts_of({.temperature = 1e-42f, .top_k = 0, .top_p = top_p}, logits, 100), {0, 1, 0, 0}, 100);
  }
}

TEST(Sampler, RefusesLogitsOfADamagedModel) {
  for (const std::vector<float>& logits :
       {std::vector{kNan, kNan}, std::vector{0.0f, kInfinity}, std::vector{-kInfinity, -kInfinity}}) {
    for (const float temperature : {0.0f, 1.0f}) {
      Sampler sampler({.temperature = temperature});
      EXPECT_THROW(sampler.choose(logits, 0, 5), core::Error);
      EXPECT_THROW(sampler.choose(tests::top_logits_of(logits, 1), 0, 5), core::Error);
    }
  }
}

TEST(Sampler, RefusesOptionsOutOfRange) {
  const auto refusal_of = [](const SamplingOptions& options) -> std::string {
    try {
      check(options);
    } catch (const core::Error& error) {
      EXPECT_EQ(error.kind(), core::ErrorKind::kInvalidInput);
      EXPECT_THROW(Sampler{options}, core::Error);
      return error.what();
    }
    return "accepted";
  };
  EXPECT_EQ(refusal_of({}), "accepted");
  EXPECT_EQ(refusal_of({.temperature = 100, .top_k = 1 << 30, .top_p = 1}), "accepted");
  EXPECT_EQ(refusal_of({.temperature = -0.5f}), "temperature is -0.5, expected 0 to 100");
  EXPECT_EQ(refusal_of({.temperature = 101}), "temperature is 101, expected 0 to 100");
  EXPECT_EQ(refusal_of({.temperature = kNan}), "temperature is nan, expected 0 to 100");
  EXPECT_EQ(refusal_of({.top_k = -1}), "top-k is -1, expected 0 or more");
  EXPECT_EQ(refusal_of({.top_p = 0}), "top-p is 0, expected above 0 and at most 1");
  EXPECT_EQ(refusal_of({.top_p = 1.5f}), "top-p is 1.5, expected above 0 and at most 1");
  EXPECT_EQ(refusal_of({.min_p = -0.1f}), "min-p is -0.1, expected 0 to 1");
  EXPECT_EQ(refusal_of({.min_p = kNan}), "min-p is nan, expected 0 to 1");
  EXPECT_EQ(refusal_of({.repetition_penalty = 0}), "repetition-penalty is 0, expected above 0 and at most 100");
  EXPECT_EQ(refusal_of({.presence_penalty = kInfinity}), "presence-penalty is inf, expected -100 to 100");
  EXPECT_EQ(refusal_of({.frequency_penalty = -101}), "frequency-penalty is -101, expected -100 to 100");
  EXPECT_EQ(refusal_of({.no_repeat_ngram_size = -1}), "no-repeat-ngram-size is -1, expected 0 or more");
  EXPECT_EQ(refusal_of({.top_p = kNan}), "top-p is nan, expected above 0 and at most 1");
}

}  // namespace
}  // namespace salient::generate
