#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <regex>
#include <set>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

namespace fs = std::filesystem;

constexpr std::ptrdiff_t kMostLines = 500;

/// Layers, and what each may use besides itself. CONTRIBUTING.md shows the same table to people.
const std::map<std::string, std::set<std::string>>& layer_table() {
  static const std::map<std::string, std::set<std::string>> table = {
      {"core", {}},
      {"rust", {}},
      {"checkpoint", {"core"}},
      {"hub", {"core", "rust"}},
      {"text", {"core", "rust"}},
      {"model", {"core", "checkpoint"}},
      {"kernels", {"core"}},
      {"runner", {"core", "model", "kernels"}},
      {"device", {"core", "model", "kernels", "runner"}},
      {"generate", {"core", "kernels", "runner", "text"}},
      {"quantize", {"core", "checkpoint", "model", "kernels", "runner"}},
      {"convert", {"core", "checkpoint", "model"}},
      {"evaluate", {"core", "kernels", "runner", "text", "hub"}},
      {"api",
       {"core", "checkpoint", "hub", "text", "model", "kernels", "runner", "device", "generate", "quantize", "convert",
        "evaluate"}},
      {"serve", {"core", "checkpoint", "text", "model", "runner", "device", "generate"}},
      {"cli", {"core", "api", "serve"}},
  };
  return table;
}

/// Headers that only some layers may include.
struct RestrictedHeader {
  std::regex header;
  std::set<std::string> layers;
};

const std::array<RestrictedHeader, 6>& restricted_headers() {
  static const std::array<RestrictedHeader, 6> headers = {{
      {std::regex("salient_rust\\.h"), {"rust", "hub", "text"}},
      {std::regex("CLI/.*"), {"cli"}},
      {std::regex("protozero/.*"), {"checkpoint", "convert"}},
      {std::regex("boost/.*"), {"serve"}},
      {std::regex("sqlite3\\.h"), {"serve"}},
      {std::regex("vulkan/.*"), {"runner"}},
  }};
  return headers;
}

bool asks_operating_system(const std::string& header) {
  static const std::regex pattern(
      "(sys|netinet|arpa|net|linux|mach)/"
      ".*|(unistd|fcntl|dlfcn|pthread|sched|poll|signal|termios|dirent|pwd|grp|"
      "netdb|semaphore|spawn|syslog|glob|fnmatch|ftw|[Ww]indows|winsock2|io|direct|process)\\.h");
  return std::regex_match(header, pattern);
}

std::string first_part(const std::string& path) {
  return path.substr(0, path.find('/'));
}

/// The layer of src/LAYER/... or apps/LAYER/...
std::string layer_of(const std::string& file) {
  return first_part(file.substr(file.find('/') + 1));
}

/// What is wrong with one #include of a file; empty when nothing is.
std::string complaint_about(const std::string& file, const std::string& header, bool quoted) {
  static const std::regex os_file("src/core/os_\\w+\\.cpp");
  const std::string layer = layer_of(file);
  if (asks_operating_system(header) && !std::regex_match(file, os_file)) {
    return "only src/core/os_*.cpp may ask the operating system";
  }
  for (const RestrictedHeader& restricted : restricted_headers()) {
    if (std::regex_match(header, restricted.header) && !restricted.layers.contains(layer)) {
      return "the layer " + layer + " may not use it";
    }
  }
  const std::string used = first_part(header);
  if (!layer_table().contains(used)) return quoted ? "a file of ours is included as \"layer/file.h\"" : "";
  if (used == layer || layer_table().at(layer).contains(used)) return "";
  return "the layer " + layer + " may not use the layer " + used;
}

/// What is wrong with a source file, one sentence each. `file` is relative to the root, with slashes.
std::vector<std::string> complaints(const std::string& file, const std::string& text) {
  static const std::regex include("^[ \\t]*#[ \\t]*include[ \\t]*([<\"])([^>\"]+)[>\"]");
  std::vector<std::string> found;
  if (!layer_table().contains(layer_of(file))) {
    return {file + ": the layer " + layer_of(file) + " is not in the table"};
  }
  if (const auto lines = std::count(text.begin(), text.end(), '\n'); lines > kMostLines) {
    found.push_back(file + ": has " + std::to_string(lines) + " lines, more than " + std::to_string(kMostLines));
  }
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) {
    std::smatch match;
    if (!std::regex_search(line, match, include)) continue;
    const std::string complaint = complaint_about(file, match[2], match[1] == "\"");
    if (!complaint.empty()) found.push_back(file + ": includes " + match[2].str() + ": " + complaint);
  }
  return found;
}

std::string read_text(const fs::path& path) {
  std::ifstream stream(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

/// Every source file under src/ and apps/, relative to the root.
std::vector<std::string> source_files() {
  static const std::set<std::string> extensions = {".h", ".cpp", ".rs"};
  std::vector<std::string> files;
  for (const char* folder : {"src", "apps"}) {
    fs::recursive_directory_iterator entries(fs::path(SALIENT_SOURCE_DIR) / folder);
    for (auto entry = begin(entries); entry != end(entries); ++entry) {
      if (entry->path().filename() == "target") entry.disable_recursion_pending();
      if (!extensions.contains(entry->path().extension().string())) continue;
      files.push_back(fs::relative(entry->path(), SALIENT_SOURCE_DIR).generic_string());
    }
  }
  return files;
}

/// The words of a text: "core, model" and "core model" are both {core, model}.
std::set<std::string> words(const std::string& text) {
  static const std::regex word("[a-z_]+");
  return {std::sregex_token_iterator(text.begin(), text.end(), word), std::sregex_token_iterator()};
}

/// A shell command's standard output. Fails the test when the command fails.
std::string output_of(const std::string& command) {
  FILE* pipe = ::popen(command.c_str(), "r");
  if (!pipe) throw std::runtime_error("cannot start " + command);
  std::string output;
  std::array<char, 4096> part;
  for (size_t size; (size = std::fread(part.data(), 1, part.size(), pipe)) > 0;) output.append(part.data(), size);
  EXPECT_EQ(::pclose(pipe), 0) << command;
  return output;
}

TEST(Includes, OfALowerLayerAreFine) {
  EXPECT_TRUE(complaints("src/runner/a.cpp", "#include <vector>\n#include \"core/error.h\"\n").empty());
  EXPECT_TRUE(complaints("src/runner/a.cpp", "#include \"runner/b.h\"\n").empty());
  EXPECT_TRUE(complaints("apps/cli/a.cpp", "#include \"cli/b.h\"\n#include \"api/c.h\"\n").empty());
  EXPECT_TRUE(complaints("src/hub/a.cpp", "#include <salient_rust.h>\n").empty());
  EXPECT_TRUE(complaints("src/core/os_posix.cpp", "#include <sys/mman.h>\n#include <unistd.h>\n").empty());
}

TEST(Includes, OfAHigherLayerAreFound) {
  const auto found = complaints("src/kernels/a.cpp", "#include <vector>\n#include \"runner/runner.h\"\n");
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0], "src/kernels/a.cpp: includes runner/runner.h: the layer kernels may not use the layer runner");
  EXPECT_EQ(complaints("src/core/a.h", "#  include <checkpoint/gguf.h>\n").size(), 1u);
  EXPECT_EQ(complaints("src/evaluate/a.h", "#include \"model/decoder.h\"\n").size(), 1u);
  EXPECT_EQ(complaints("src/model/a.h", "#include \"cli/model.h\"\n").size(), 1u);
}

TEST(Includes, OfTheOperatingSystemAreFoundOutsideItsFile) {
  for (const char* header : {"unistd.h", "sys/stat.h", "fcntl.h", "dlfcn.h", "pthread.h", "windows.h"}) {
    EXPECT_EQ(complaints("src/core/buffer.cpp", "#include <" + std::string(header) + ">\n").size(), 1u) << header;
  }
  EXPECT_EQ(complaints("src/hub/os_posix.cpp", "#include <unistd.h>\n").size(), 1u);
}

TEST(Includes, OfRestrictedLibrariesAreFound) {
  EXPECT_EQ(complaints("src/model/a.cpp", "#include <salient_rust.h>\n").size(), 1u);
  EXPECT_EQ(complaints("src/evaluate/a.cpp", "#include <CLI/CLI.hpp>\n").size(), 1u);
  EXPECT_EQ(complaints("src/runner/a.cpp", "#include <protozero/pbf_reader.hpp>\n").size(), 1u);
}

TEST(Includes, WithoutALayerAreFound) {
  EXPECT_EQ(complaints("src/core/a.cpp", "#include \"error.h\"\n").size(), 1u);
  EXPECT_EQ(complaints("src/core/a.cpp", "#include \"../model/decoder.h\"\n").size(), 1u);
  EXPECT_EQ(complaints("src/unheard_of/a.cpp", "").size(), 1u);
}

TEST(Files, ThatAreTooLongAreFound) {
  EXPECT_TRUE(complaints("src/core/a.cpp", std::string(kMostLines, '\n')).empty());
  EXPECT_EQ(complaints("src/core/a.cpp", std::string(kMostLines + 1, '\n')).size(), 1u);
}

TEST(SourceTree, FollowsTheLayerTable) {
  const std::vector<std::string> files = source_files();
  ASSERT_TRUE(std::find(files.begin(), files.end(), "src/core/error.h") != files.end());
  ASSERT_TRUE(std::find(files.begin(), files.end(), "apps/cli/main.cpp") != files.end());
  for (const std::string& file : files) {
    for (const std::string& complaint : complaints(file, read_text(fs::path(SALIENT_SOURCE_DIR) / file))) {
      ADD_FAILURE() << complaint;
    }
  }
}

TEST(SourceTree, LinksWhatTheLayerTableSays) {
  static const std::regex uses("USES ([a-z_ \\n]+)");
  for (const auto& [layer, allowed] : layer_table()) {
    const fs::path list = fs::path(SALIENT_SOURCE_DIR) / "src" / layer / "CMakeLists.txt";
    if (!fs::exists(list)) continue;
    const std::string text = read_text(list);
    std::smatch match;
    const bool uses_any = std::regex_search(text, match, uses);
    EXPECT_EQ(uses_any ? words(match[1]) : std::set<std::string>{}, allowed) << list;
  }
}

TEST(SourceTree, IsDescribedByContributing) {
  static const std::regex row("\\| `(?:src|apps)/(\\w+)` \\|[^|]*\\| ([^|]*) \\|");
  const std::string text = read_text(fs::path(SALIENT_SOURCE_DIR) / "CONTRIBUTING.md");
  std::map<std::string, std::set<std::string>> described;
  for (std::sregex_iterator match(text.begin(), text.end(), row), end; match != end; ++match) {
    const std::string uses = (*match)[2];
    described[(*match)[1]] = uses == "nothing" ? std::set<std::string>{} : words(uses);
  }
  EXPECT_EQ(described, layer_table());
}

// An inline function is compiled into every object that calls it (nm says W), and the linker keeps one copy
// for all: kept from a file built for AVX-512, it would stop the program on other machines.
TEST(KernelObjects, HaveNoFunctionTheLinkerMayShare) {
  static const std::set<std::string> portable = {"dispatch.cpp.o", "scalar.cpp.o"};
  static const std::regex shared_function("[0-9a-f]+ W ([^\\n]+)");
  std::istringstream objects(SALIENT_KERNEL_OBJECTS);
  int checked = 0;
  for (std::string object; std::getline(objects, object, ':');) {
    if (portable.contains(fs::path(object).filename().string())) continue;
    ++checked;
    const std::string symbols = output_of(SALIENT_NM " -C \"" + object + "\"");
    for (std::sregex_iterator match(symbols.begin(), symbols.end(), shared_function), end; match != end; ++match) {
      ADD_FAILURE() << object << ": " << (*match)[1];
    }
  }
  EXPECT_GT(checked, 0);
}

}  // namespace
