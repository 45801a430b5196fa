#include "runner/onnxruntime/onnxruntime_kv_cache.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "core/error.h"

namespace salient::runner {

namespace {

/// Tokens that a buffer has room for at first; it doubles.
constexpr int64_t kFirstRoom = 256;
/// Tokens of a prompt that are computed together: enough to use each weight many times, few enough rows of logits,
/// which most graphs compute for all of them.
constexpr int64_t kChunkTokens = 512;
/// DirectML's attention takes a prompt or one more token. More tokens than these behind others are computed with those
/// again, as a new prompt.
constexpr int64_t kMostSingleSteps = 16;

}  // namespace

OnnxRuntimeKvCache::OnnxRuntimeKvCache(std::shared_ptr<const ort::DecoderSession> session, int64_t context)
    : session_(std::move(session)), context_(context) {}

/// Tensors of `room` tokens with those that are computed, on the host.
std::vector<ort::ValueHandle> OnnxRuntimeKvCache::copy(const Page& page, int64_t room) const {
  const int64_t row = session_->kv_row_bytes();
  std::vector<ort::ValueHandle> copies;
  for (const ort::ValueHandle& value : page.values) {
    copies.push_back(session_->make_kv(room));
    const std::byte* from = session_->kv_data(value);
    std::byte* to = session_->kv_data(copies.back());
    for (int64_t head = 0; page.computed > 0 && head < session_->kv_heads(); ++head) {
      std::memcpy(to + head * room * row, from + head * page.room * row, static_cast<size_t>(page.computed * row));
    }
  }
  return copies;
}

void OnnxRuntimeKvCache::copy_page(int32_t from_id, int32_t to_id) {
  const Page& from = page(from_id);
  Page copied{from.tokens, 0, {}, 0};
  if (session_->kv_on_host() && from.computed > 0) {
    const bool shares = session_->names().shares_buffers;
    copied.room = shares ? from.room : from.computed;
    copied.values = copy(from, copied.room);
    copied.computed = from.computed;
  }
  page(to_id) = std::move(copied);
}

/// Makes room for `tokens` tokens, and keeps what is computed where it can be copied.
void OnnxRuntimeKvCache::prepare(Page& page, int64_t tokens) {
  const bool shares = session_->names().shares_buffers;
  int64_t room = page.computed;
  if (shares) {
    room = std::max(page.room, kFirstRoom);
    while (room < tokens) room *= 2;
    room = std::min(room, std::max(context_, tokens));
  }
  if (!page.values.empty() && room == page.room) return;
  const bool keeps = session_->kv_on_host() && !page.values.empty();
  std::vector<ort::ValueHandle> values;
  if (keeps) {
    values = copy(page, room);
  } else {
    page.computed = 0;
    if (!shares) room = 0;
    page.values.clear();  // before there are others
    for (int64_t i = 0; i < 2 * session_->layers(); ++i) values.push_back(session_->make_kv(room));
  }
  page.values = std::move(values);
  page.room = room;
}

std::vector<float> OnnxRuntimeKvCache::run(Page& page, std::span<const int64_t> tokens) {
  const bool shares = session_->names().shares_buffers;
  ort::DecoderSession::Result result = session_->run(tokens, page.computed, page.values, shares);
  page.computed += std::ssize(tokens);
  if (!shares) {
    page.values = std::move(result.present);
    page.room = page.computed;
  }
  return std::move(result.logits);
}

/// Tokens to compute together behind `computed` others.
int64_t OnnxRuntimeKvCache::next_tokens(int64_t computed, const Wanted& wanted) const {
  const int64_t missing = wanted.total - computed;
  if (session_->provider().is_directml() && computed > 0) return 1;
  if (session_->last_logits_only() && wanted.first_row < wanted.total) {
    return std::max<int64_t>(wanted.first_row + 1 - computed, 1);
  }
  if (session_->provider().is_directml()) return missing;
  return std::min(missing, std::max(kChunkTokens, wanted.least - computed));
}

void OnnxRuntimeKvCache::compute(Page& page, const Wanted& wanted, std::vector<float>& logits) {
  if (session_->last_logits_only() && wanted.first_row + 1 < wanted.least) {
    core::fail(core::ErrorKind::kUnsupported,
               "the graph gives the logits of the last token only, so those before token {} of a longer text, where "
               "other rotary frequencies begin, cannot be had",
               wanted.least);
  }
  if (session_->provider().is_directml() && wanted.total - page.computed > kMostSingleSteps) page.computed = 0;
  prepare(page, std::max(wanted.total, wanted.least));
  while (page.computed < wanted.total) {
    const int64_t begin = page.computed;
    const int64_t end = begin + next_tokens(begin, wanted);
    std::vector<int64_t> tokens(page.tokens.begin() + begin, page.tokens.begin() + end);
    // What follows a token does not change its logits, but makes the text as long as it is going to be.
    tokens.resize(static_cast<size_t>(std::max(end, wanted.least) - begin));
    const std::vector<float> rows = run(page, tokens);
    page.computed = end;
    const int64_t row_size = session_->vocab_size();
    const int64_t first_computed = session_->last_logits_only() ? end - 1 : begin;
    const int64_t first = std::max(wanted.first_row, first_computed);
    if (first >= end) continue;
    const auto* from = rows.data() + (first - first_computed) * row_size;
    logits.insert(logits.end(), from, from + (end - first) * row_size);
  }
}

}  // namespace salient::runner
