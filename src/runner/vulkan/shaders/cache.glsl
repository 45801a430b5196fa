// Where keys and values are in one layer's part of the cache: pages of [kv_heads][keys, values, scales]. Includers define
// kInt8: whether numbers are int8, with a scale for each key and each value, else fp16 without.
// Keys are [head_dim / 8][kPageKeys][8], so that threads that each take a key read side by side; values are
// [kPageKeys][head_dim], for threads that each take two dimensions; scales, in fp32, are [keys, values][kPageKeys].
const uint kPageKeys = 64;
const uint kWordNumbers = kInt8 ? 4 : 2;
const uint kChunkWords = 8 / kWordNumbers;

uint key_words(uint head_dim) { return kPageKeys * head_dim / kWordNumbers; }

/// In words, of a head's keys; its values follow.
uint head_start(uint page, uint kv_heads, uint kv_head, uint head_dim) {
  return (page * kv_heads + kv_head) * 2 * (key_words(head_dim) + (kInt8 ? kPageKeys : 0));
}
/// The same of its scales, those of keys first.
uint scale_start(uint start, uint head_dim) { return start + 2 * key_words(head_dim); }
