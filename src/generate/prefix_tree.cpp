#include "generate/prefix_tree.h"

#include <algorithm>

namespace salient::generate {

namespace {

using Tokens = std::span<const int32_t>;

int64_t common_length(Tokens a, Tokens b) {
  return std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first - a.begin();
}

std::vector<int32_t> page_of(Tokens tokens, int64_t page_tokens) {
  const Tokens part = tokens.first(std::min<size_t>(tokens.size(), static_cast<size_t>(page_tokens)));
  return {part.begin(), part.end()};
}

}  // namespace

PrefixTree::~PrefixTree() {
  while (evict()) {
  }
}

/// Calls visit_child(parent, iterator of the child) for all nodes below one.
template <typename AnyNode, typename Visit>
void PrefixTree::visit(AnyNode& node, const Visit& visit_child) {
  std::vector<AnyNode*> open = {&node};
  while (!open.empty()) {
    AnyNode& parent = *open.back();
    open.pop_back();
    for (auto child = parent.children.begin(); child != parent.children.end(); ++child) {
      visit_child(parent, child);
      open.push_back(&child->second);
    }
  }
}

PrefixTree::Match PrefixTree::find(Tokens tokens) {
  const int64_t page_tokens = pool_->page_tokens();
  Match match;
  ++clock_;
  for (Node* node = &root_; !tokens.empty();) {
    const std::vector<int32_t> wanted = page_of(tokens, page_tokens);
    // The child that shares most with what is wanted is beside the place where that would stand.
    auto best = node->children.lower_bound(wanted);
    int64_t length = best == node->children.end() ? 0 : common_length(best->first, wanted);
    if (best != node->children.begin()) {
      const auto before = std::prev(best);
      const int64_t length_before = common_length(before->first, wanted);
      if (length_before > length) {
        best = before;
        length = length_before;
      }
    }
    if (length == 0) break;
    best->second.used = clock_;
    match.pages.push_back(best->second.page);
    match.length += length;
    if (length < page_tokens) break;
    tokens = tokens.subspan(length);
    node = &best->second;
  }
  return match;
}

void PrefixTree::insert(Tokens tokens, std::span<const int32_t> pages) {
  const int64_t page_tokens = pool_->page_tokens();
  ++clock_;
  Node* node = &root_;
  for (size_t i = 0; !tokens.empty(); ++i) {
    std::vector<int32_t> part = page_of(tokens, page_tokens);
    const bool full = std::ssize(part) == page_tokens;
    tokens = tokens.subspan(part.size());
    auto next = node->children.lower_bound(part);
    // A part that another text goes on from is kept already.
    if (!full && next != node->children.end() && common_length(next->first, part) == std::ssize(part)) {
      next->second.used = clock_;
      return;
    }
    // A leaf that this part goes on from says nothing that this does not.
    if (next != node->children.begin()) {
      const auto before = std::prev(next);
      if (std::ssize(before->first) < std::ssize(part) &&
          common_length(before->first, part) == std::ssize(before->first)) {
        pool_->release(before->second.page);
        --pages_;
        node->children.erase(before);
      }
    }
    const auto [child, added] = node->children.try_emplace(std::move(part));
    if (added) {
      child->second.page = pages[i];
      pool_->retain(pages[i]);
      ++pages_;
    }
    child->second.used = clock_;
    node = &child->second;
  }
}

template <typename Accept>
PrefixTree::Leaf PrefixTree::oldest_leaf(const Accept& accept) {
  Leaf oldest;
  visit(root_, [&](Node& parent, auto child) {
    if (!child->second.children.empty() || !accept(child->second)) return;
    if (!oldest.parent || child->second.used < oldest.node->second.used) oldest = {&parent, child};
  });
  return oldest;
}

bool PrefixTree::evict() {
  Leaf oldest = oldest_leaf([&](const Node& node) { return !pool_->is_shared(node.page); });
  if (!oldest.parent) oldest = oldest_leaf([](const Node&) { return true; });
  if (!oldest.parent) return false;
  pool_->release(oldest.node->second.page);
  oldest.parent->children.erase(oldest.node);
  --pages_;
  return true;
}

int64_t PrefixTree::unshared_pages() const {
  int64_t count = 0;
  visit(root_, [&](const Node&, auto child) { count += pool_->is_shared(child->second.page) ? 0 : 1; });
  return count;
}

}  // namespace salient::generate
