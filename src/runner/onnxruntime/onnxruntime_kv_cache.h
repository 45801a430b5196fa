#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "runner/onnxruntime/onnxruntime_session.h"
#include "runner/sequence.h"

namespace salient::runner {

/// Keys and values as a graph takes and returns them: those of a text are one tensor for each layer, so a page is a
/// whole text, with room for what it has and some more. Where they are on a device that the host does not reach, what
/// would have to be copied (a text that others share the beginning of, or that has outgrown its room) is computed
/// again from its tokens.
class OnnxRuntimeKvCache : public PagePool {
 public:
  OnnxRuntimeKvCache(std::shared_ptr<const ort::DecoderSession> session, int64_t context);

  int64_t page_tokens() const override { return context_; }

  struct Page {
    std::vector<int32_t> tokens;  ///< of the text, from its beginning on
    int64_t computed = 0;         ///< of these, the first whose keys and values are there
    /// Of layer 0, of layer 1 and so on, the keys first. Those that are not shared have exactly `computed` tokens.
    std::vector<ort::ValueHandle> values;
    int64_t room = 0;  ///< tokens of each of `values`
  };
  Page& page(int32_t id) { return pages_[static_cast<size_t>(id)]; }

  /// What is to be known of a text.
  struct Wanted {
    int64_t total;      ///< its tokens
    int64_t least;      ///< tokens that the graph has to see at least, some of which follow the text; 0: any number
    int64_t first_row;  ///< the first token whose logits are wanted
  };
  /// Computes what is missing of a text, and appends the logits that are wanted.
  void compute(Page& page, const Wanted& wanted, std::vector<float>& logits);

 protected:
  void add_page() override { pages_.emplace_back(); }
  void copy_page(int32_t from, int32_t to) override;

 private:
  std::vector<ort::ValueHandle> copy(const Page& page, int64_t room) const;
  void prepare(Page& page, int64_t tokens);
  int64_t next_tokens(int64_t computed, const Wanted& wanted) const;
  std::vector<float> run(Page& page, std::span<const int64_t> tokens);

  std::shared_ptr<const ort::DecoderSession> session_;  ///< sequences may outlive their runner
  int64_t context_;
  std::vector<Page> pages_;
};

}  // namespace salient::runner
