// Runs a fuzz target without libFuzzer: every file of a folder, then random mutations of them, the same in every run.
//   fuzz_NAME FOLDER MUTATIONS
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

void run(const std::string& input) {
  LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(input.data()), input.size());
}

/// One to four changes of the kinds that break parsers: bits, whole bytes, sizes, cuts, repetitions.
std::string mutate(std::string input, std::mt19937& random) {
  const auto below = [&](size_t bound) { return static_cast<size_t>(random() % bound); };
  for (size_t changes = 1 + below(4); changes > 0 && !input.empty(); --changes) {
    const size_t place = below(input.size());
    switch (below(6)) {
      case 0:
        input[place] = static_cast<char>(input[place] ^ 1 << below(8));
        break;
      case 1:
        input[place] = static_cast<char>(random());
        break;
      case 2:  // the ends of the ranges of integers
        for (size_t i = place; i < std::min(place + (size_t{1} << below(4)), input.size()); ++i) {
          input[i] = static_cast<char>(below(2) ? 0xff : 0x7f);
        }
        break;
      case 3:
        input.resize(place);
        break;
      case 4:
        input.erase(place, 1 + below(8));
        break;
      default:
        input.insert(below(input.size()), input.substr(place, 1 + below(64)));
    }
  }
  return input;
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 3) return 2;
  std::vector<std::filesystem::path> paths;
  for (const auto& entry : std::filesystem::directory_iterator(arguments[1])) paths.push_back(entry.path());
  std::sort(paths.begin(), paths.end());
  if (paths.empty()) return 1;
  std::vector<std::string> seeds;
  for (const auto& path : paths) {
    std::ifstream file(path, std::ios::binary);
    seeds.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
    run(seeds.back());
  }
  std::mt19937 random(1);
  const int mutations = std::atoi(arguments[2]);
  for (int i = 0; i < mutations; ++i) run(mutate(seeds[random() % seeds.size()], random));
  std::printf("%zu seeds and %d mutations of them\n", seeds.size(), mutations);
}
