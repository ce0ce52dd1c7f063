#pragma once
// The JSON documents of image archives and registries.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "image/config.hpp"

namespace skiff::image {

/// A document longer than this is no honest one.
inline constexpr size_t kDocumentLimit = 4U << 20;

/// Points to a blob.
struct Descriptor {
  std::string media_type;
  std::string digest;
  std::string name;  // the image name that a producer annotated; empty: none
  std::string architecture, os;
};

/// An image manifest (config and layers) or an index of manifests; which one says `manifests`.
struct Manifest {
  bool is_index = false;
  Descriptor config;
  std::vector<Descriptor> layers;     // bottom first
  std::vector<Descriptor> manifests;  // of an index
};

/// One image of a `docker save` archive: names of files in it.
struct DockerImage {
  std::string config;
  std::vector<std::string> names;   // "busybox:1.0"
  std::vector<std::string> layers;  // bottom first
};

/// Invalid, naming `what`, unless the document is well-formed and its digests are digests.
Result<Manifest> parse_manifest(std::string_view json, std::string_view what);
Result<std::vector<DockerImage>> parse_docker_manifest(std::string_view json);

}  // namespace skiff::image
