// Where keys and values are, in fp16 pairs, in one layer's part of the cache: pages of [kv_heads][keys, then values].
// Keys are [head_dim / 8][kPageKeys][8], so that threads that each take a key read side by side in 16 bytes; values
// are [kPageKeys][head_dim], for threads that each take two dimensions.
const uint kPageKeys = 64;

uint key_words(uint head_dim) { return kPageKeys * head_dim / 2; }

/// In words, of a head's keys; its values follow.
uint head_start(uint page, uint kv_heads, uint kv_head, uint head_dim) {
  return (page * kv_heads + kv_head) * 2 * key_words(head_dim);
}
