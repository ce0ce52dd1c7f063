// apigen OUT_DIRECTORY SCHEMA.api...: makes the API's C++ types and descriptors from the schema.
#include <cstdio>
#include <filesystem>

#include "schema.hpp"

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: apigen OUT_DIRECTORY SCHEMA.api...\n");
    return 2;
  }
  std::filesystem::create_directories(argv[1]);
  apigen::generate(apigen::parse({argv + 2, argv + argc}), argv[1]);
  return 0;
}
