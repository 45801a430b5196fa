#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "runner/sequence.h"

namespace salient::generate {

/// Keeps the keys and values of texts that were read and written, so that what a coming text begins with need not be
/// computed again. A node is a page: its path from the root spells all tokens that its keys and values depend on. A
/// page that a text has not filled is a leaf.
class PrefixTree {
 public:
  explicit PrefixTree(std::shared_ptr<runner::PagePool> pool) : pool_(std::move(pool)) {}
  ~PrefixTree();
  PrefixTree(const PrefixTree&) = delete;
  PrefixTree& operator=(const PrefixTree&) = delete;

  /// Pages that hold the beginning of a text.
  struct Match {
    std::vector<int32_t> pages;
    int64_t length = 0;  ///< in tokens
  };

  /// The longest beginning of these tokens that is kept. The pages stay kept until the next call of `evict`.
  Match find(std::span<const int32_t> tokens);
  /// Keeps the pages of a sequence that holds these tokens, and no others.
  void insert(std::span<const int32_t> tokens, std::span<const int32_t> pages);
  /// Gives up one page: of those that no sequence uses the one that was not looked for the longest, else of the others.
  /// False when there is none left.
  bool evict();

  int64_t pages() const { return pages_; }
  /// Pages that would be free if all were given up.
  int64_t unshared_pages() const;

 private:
  struct Node {
    int32_t page = -1;
    uint64_t used = 0;
    std::map<std::vector<int32_t>, Node> children;
  };
  struct Leaf {
    Node* parent = nullptr;
    std::map<std::vector<int32_t>, Node>::iterator node;
  };
  template <typename AnyNode, typename Visit>
  static void visit(AnyNode& node, const Visit& visit_child);
  template <typename Accept>
  Leaf oldest_leaf(const Accept& accept);

  std::shared_ptr<runner::PagePool> pool_;
  Node root_;
  uint64_t clock_ = 0;
  int64_t pages_ = 0;
};

}  // namespace salient::generate
