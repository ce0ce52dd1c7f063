#pragma once
// index.json of the content store: which images and layers there are, and what names mean.

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "image/access.hpp"

namespace skiff::image {

struct Index {
  std::map<std::string, std::vector<std::string>> images;  // id to the diff ids of its layers, bottom first
  std::map<std::string, std::uint64_t> layers;             // diff id to the bytes of its files
  std::map<std::string, std::string> names;                // canonical reference to id
  std::set<std::string> pulled;                            // those names that a registry gave their meaning
  std::map<std::string, AccessByRepository> access;        // of pulled images by id
};

/// Invalid: damaged, or of a newer skiff.
Result<Index> parse_index(std::string_view json);
std::string format_index(const Index& index);

/// The name of a layer's directory: short, because overlayfs takes all of them in one page.
std::string layer_directory(std::string_view diff_id);

}  // namespace skiff::image
