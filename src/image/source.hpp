#pragma once
// Where an image's blobs come from: an archive, a directory, memory, or what was pulled from a registry.

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "base/fd.hpp"
#include "image/access.hpp"
#include "image/archive.hpp"
#include "image/documents.hpp"
#include "image/reference.hpp"

namespace skiff::image {

/// Named blobs.
class Source {
 public:
  virtual ~Source() = default;
  virtual bool has(const std::string& name) const = 0;
  /// NotFound: no such blob.
  virtual Result<Blob> open(const std::string& name) const = 0;
};

/// A directory with an OCI layout.
Result<std::unique_ptr<Source>> open_directory_source(const std::string& directory);
/// A tar archive. Of a plain one the blobs are read where they lie; the files of a compressed one are first unpacked under
/// made-up names into the empty directory `scratch`.
Result<std::unique_ptr<Source>> open_archive_source(const std::string& path, const std::string& scratch,
                                                    std::uint64_t byte_limit);
/// Bytes by name.
std::unique_ptr<Source> memory_source(std::map<std::string, std::string> blobs);

/// One image of a source: its documents, and which blobs are its layers.
struct Candidate {
  struct Layer {
    std::string blob;     // its name in the source
    std::string digest;   // of the blob; empty: not promised
    std::string diff_id;  // of what it unpacks to
  };
  std::vector<Reference> names;
  std::string id;               // digest of `config`
  std::string config;           // the JSON document
  std::string manifest_digest;  // empty: came without
  bool pulled = false;          // from a registry
  Access access = {.anyone = true, .secrets = {}, .hashes = {}};  // whom the registry gave it; an archive is everybody's
  std::vector<Layer> layers;    // bottom first
};

/// Fills in what `candidate.config` decides: the id and the layers' diff ids. Invalid: they do not fit.
Status complete(Candidate& candidate);

/// This machine's architecture as images name it: "amd64".
std::string_view machine_architecture();

/// What `source` offers. Invalid: it is no image archive, or contradicts itself.
Result<std::vector<Candidate>> read_candidates(const Source& source);

}  // namespace skiff::image
