#pragma once
// Names of images, as people and pods write them.

#include <string>
#include <string_view>

#include "base/error.hpp"

namespace skiff::image {

/// A parsed image name in its full form: "nginx" is docker.io / library/nginx : latest.
struct Reference {
  std::string domain;  // "docker.io", "registry.example:5000", "skiff.local"
  std::string path;    // "library/nginx"
  std::string tag;     // "latest" where the text has neither tag nor digest; empty with a digest alone
  std::string digest;  // "sha256:..." or empty

  /// "docker.io/library/nginx"
  std::string name() const { return domain + "/" + path; }
  /// "docker.io/library/nginx:latest"; with a digest "docker.io/library/nginx@sha256:...": what identifies
  /// it.
  std::string canonical() const;
  /// As people expect to read it: "nginx:latest", "skiff.local/hitcounter:1.0".
  std::string display() const;
};

/// Invalid: the text is no image name; the message is the one of the container tools ("invalid reference
/// format", "repository name must be lowercase", ...).
Result<Reference> parse_reference(std::string_view text);

}  // namespace skiff::image
