#pragma once
// The images of one host: configurations, unpacked layers and names, in one directory that all clusters and
// nodes share. How it looks on disk: README.md.

#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "base/fd.hpp"
#include "image/access.hpp"
#include "image/config.hpp"

namespace skiff::image {

struct Index;
struct Candidate;
class Import;

/// What hostile or broken archives may cost at most.
struct Limits {
  std::uint64_t archive_bytes = 64ULL << 30;  // of an archive's content, after decompression
  std::uint64_t layer_bytes = 32ULL << 30;    // of one layer, after decompression
  std::uint64_t entries = 2'000'000;          // files of one layer
};

/// An image that can be run.
struct Image {
  std::string id;                    // "sha256:..." of its configuration
  std::vector<std::string> names;    // display names with tag, sorted; empty: untagged
  std::vector<std::string> digests;  // "docker.io/library/x@sha256:..." where a manifest gave one
  Config config;
  std::vector<std::string>
      lower_dirs;          // absolute paths, TOP FIRST: joined by ':' they are overlayfs' lowerdir=
  std::uint64_t size = 0;  // bytes of its files, shared layers included
  size_t pulled_names = 0;  // of `names` those that a registry gave their meaning
  AccessByRepository access;  // who was given it by a registry; empty: it did not come from one
};

struct Loaded {
  std::string id;
  std::vector<std::string> names;  // display names that now mean this image
  bool new_content = false;        // false: all of it was there
};
struct LoadReport {
  std::vector<Loaded> images;
  std::vector<std::string> notes;  // what was left out, for people ("layer ...: 2 device nodes skipped")
};

/// Any thread, any number of processes on one directory. Changes exclude each other (a file lock, held while
/// an archive is unpacked); readers wait for nobody and see the state before or after a change.
class ContentStore {
 public:
  /// Opens or creates `directory`. Invalid: it was written by a newer skiff.
  static Result<std::unique_ptr<ContentStore>> open(std::string directory, Limits limits = {});

  /// Imports an archive of `docker save`, an OCI layout in a tar (both also compressed) or an OCI layout
  /// directory: what is missing of it, and then all its names at once. On an error nothing has changed.
  /// Invalid: the content is not an image archive, is damaged or hostile; the message says where. TooLarge: a
  /// limit.
  Result<LoadReport> load(const std::string& path);

  /// Writes `references` (names or ids) into the tar archive `path`, readable by docker, podman, skopeo and load(): an OCI
  /// layout and manifest.json in one. Layers are packed anew from their files, so an image that comes back from the archive
  /// has the same files and settings, but an id of its own. NotFound. On an error there is no file.
  Status save(const std::vector<std::string>& references, const std::string& path) const;

  /// The digests of the blobs that hold layers of `candidate` which are not here.
  Result<std::vector<std::string>> missing_layers(const Candidate& candidate) const;

  /// Every image, sorted by name; untagged ones last.
  Result<std::vector<Image>> list() const;

  /// By name as a pod spells it, or by id ("sha256:..." or at least 12 hexadecimal digits of it).
  /// Invalid: no image name (see parse_reference). NotFound: no such image here.
  Result<Image> resolve(std::string_view reference) const;

  /// Lets `new_name` mean the image `reference` too. Invalid: `new_name` carries a digest.
  Status tag(std::string_view reference, std::string_view new_name);

  struct Removed {
    std::vector<std::string> untagged;  // display names
    std::vector<std::string> deleted;   // ids of images whose content went
  };
  /// Takes the name away; an image without names goes with all layers that no other one uses, unless `in_use`
  /// has its id. Given an id, takes all its names away. NotFound. Conflict: in use, and given by its id.
  Result<Removed> remove(std::string_view reference, const std::set<std::string>& in_use);

  /// Deletes untagged images that are not in `in_use`, and what crashes left behind. The ids that went.
  Result<std::vector<std::string>> collect_garbage(const std::set<std::string>& in_use);

  /// Whether a registry said what `name` means here, so that it may have changed its mind (pull policy Always).
  bool was_pulled(std::string_view name) const;

  /// Whether `name` means an image. Cheap.
  bool has(std::string_view name) const { return resolve(name).ok(); }

  const std::string& directory() const { return directory_; }

 private:
  friend class Import;
  ContentStore(std::string directory, Limits limits);
  Result<UniqueFd> lock() const;
  Result<Index> read_index() const;
  Status write_index(const Index& index);
  Result<Image> image(const Index& index, const std::string& id) const;
  Result<std::string> id_of(const Index& index, std::string_view reference) const;
  std::string name_of(const Index& index, std::string_view reference) const;
  Status write_archive(const std::vector<Image>& images, const std::string& path) const;
  Status delete_unused(const Index& before, const Index& after);

  const std::string directory_;
  const Limits limits_;
};

}  // namespace skiff::image
