#version 450
// The kTop largest of each part of a row, one part of kCount numbers a workgroup: largest first, the lowest id among
// equals. What is no number is never among them; where others are too few, kNothing stands in their place. The parts of a
// row are logits, or the candidates that a run before left, until one part is left.
const uint kThreads = 256;
const uint kCount = 2048;  // 16 KiB of shared memory: what every device has
const uint kNothing = 0xffffffffu;
layout(local_size_x = 256) in;
layout(constant_id = 0) const uint kTop = 1;  // a power of two, at most half of kCount
layout(constant_id = 1) const bool kOfLogits = true;
// Logits are moved as bits: no device rounds those.
layout(binding = 0) readonly buffer Logits { uint logits[]; };
layout(binding = 1) readonly buffer Candidates { uvec2 candidates[]; };  // ids, logits
layout(binding = 2) writeonly buffer Top { uvec2 top[]; };               // the same
layout(push_constant) uniform Shape { uint size; };                      // of a row

shared uint ranks[kCount];
shared uint ids[kCount];

/// A number that is larger for a larger logit, the same for both zeros, and 0 for what is none.
uint rank_of(uint logit) {
  if ((logit & 0x7fffffffu) > 0x7f800000u) return 0;
  if (logit == 0x80000000u) logit = 0;
  return (logit & 0x80000000u) != 0 ? ~logit : logit | 0x80000000u;
}

uint logit_of(uint rank) { return (rank & 0x80000000u) != 0 ? rank ^ 0x80000000u : ~rank; }

void load(uint slot) {
  const uint column = gl_WorkGroupID.x * kCount + slot;
  const uint index = gl_WorkGroupID.y * size + column;
  uvec2 candidate = uvec2(kNothing);
  if (column < size) candidate = kOfLogits ? uvec2(column, logits[index]) : candidates[index];
  ranks[slot] = rank_of(candidate.y);
  ids[slot] = ranks[slot] > 0 ? candidate.x : kNothing;
}

/// Puts the larger of two first, or last.
void order_pair(uint first, uint second, bool larger_first) {
  const bool is_larger = ranks[first] > ranks[second] || (ranks[first] == ranks[second] && ids[first] < ids[second]);
  if (is_larger == larger_first) return;
  const uvec2 moved = uvec2(ranks[first], ids[first]);
  ranks[first] = ranks[second];
  ids[first] = ids[second];
  ranks[second] = moved.x;
  ids[second] = moved.y;
}

void main() {
  const uint thread = gl_LocalInvocationID.x;
  for (uint slot = thread; slot < kCount; slot += kThreads) load(slot);
  // Runs of kTop, by a bitonic network: largest first and largest last by turns.
  for (uint run = 2; run <= kTop; run *= 2) {
    for (uint stride = run / 2; stride > 0; stride /= 2) {
      barrier();
      for (uint pair = thread; pair < kCount / 2; pair += kThreads) {
        const uint first = pair / stride * 2 * stride + pair % stride;
        order_pair(first, first + stride, (first & run) == 0);
      }
    }
  }
  // Of two neighbours the larger of each pair are the largest of both. They stay where the first was, and are sorted.
  for (uint distance = kTop; distance < kCount; distance *= 2) {
    const uint pairs = kCount / (2 * distance) * kTop;
    barrier();
    for (uint pair = thread; pair < pairs; pair += kThreads) {
      const uint first = pair / kTop * 2 * distance + pair % kTop;
      order_pair(first, first + distance, true);
    }
    for (uint stride = kTop / 2; stride > 0; stride /= 2) {
      barrier();
      for (uint pair = thread; pair < pairs / 2; pair += kThreads) {
        const uint run = pair / (kTop / 2);
        const uint within = pair % (kTop / 2);
        const uint first = run * 2 * distance + within / stride * 2 * stride + within % stride;
        order_pair(first, first + stride, run % 2 == 0);
      }
    }
  }
  barrier();
  const uint to = (gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x) * kTop;
  for (uint slot = thread; slot < kTop; slot += kThreads) top[to + slot] = uvec2(ids[slot], logit_of(ranks[slot]));
}
