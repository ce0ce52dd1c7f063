// Runs targets over their corpus and over damaged copies of it: fuzz CORPUS-DIRECTORY [TARGET...]

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "base/random.hpp"
#include "targets.hpp"

using namespace skiff;

namespace {

constexpr int kRounds = 200;  // damaged copies of one seed

std::string text_of(const std::filesystem::path& path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

// `text` with a few bytes changed, cut, repeated or taken from `other`.
std::string damaged(std::string text, const std::string& other, Random& random) {
  for (std::uint64_t i = random.below(5) + 1; i > 0 && !text.empty(); --i) {
    size_t at = random.below(text.size());
    switch (random.below(5)) {
      case 0: text[at] = static_cast<char>(random.next()); break;
      case 1: text.resize(at); break;
      case 2: text.insert(at, text.substr(0, random.below(16))); break;
      case 3: text.insert(at, other.substr(random.below(other.size() + 1), random.below(24))); break;
      default: text[at] = static_cast<char>(text[at] ^ (1 << random.below(8)));
    }
  }
  return text;
}

int run(const std::filesystem::path& directory, std::string_view name, fuzz::Target target) {
  std::vector<std::string> seeds;
  for (const auto& file : std::filesystem::directory_iterator(directory)) seeds.push_back(text_of(file.path()));
  std::sort(seeds.begin(), seeds.end());
  SeededRandom random(1);
  for (const std::string& seed : seeds) {
    target(seed);
    for (int i = 0; i < kRounds; ++i) target(damaged(seed, seeds[random.below(seeds.size())], random));
  }
  std::printf("%-20s %zu seeds, %zu inputs\n", std::string(name).c_str(), seeds.size(), seeds.size() * (kRounds + 1));
  return seeds.empty() ? 1 : 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) return std::fprintf(stderr, "usage: fuzz CORPUS-DIRECTORY [TARGET...]\n"), 2;
  int failed = 0;
  for (std::span<const fuzz::NamedTarget> family : {fuzz::object_targets(), fuzz::transport_targets(), fuzz::network_targets()})
    for (const fuzz::NamedTarget& target : family) {
      bool wanted = argc == 2 || std::find(argv + 2, argv + argc, target.name) != argv + argc;
      if (wanted) failed |= run(std::filesystem::path(argv[1]) / target.name, target.name, target.run);
    }
  return failed;
}
