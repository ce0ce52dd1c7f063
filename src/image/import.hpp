#pragma once
// Bringing images into a content store: all or nothing.

#include <string>
#include <vector>

#include "base/error.hpp"
#include "base/fd.hpp"
#include "image/content_store.hpp"
#include "image/index.hpp"
#include "image/source.hpp"

namespace skiff::image {

/// A directory of the store for unfinished work. Removed with all it holds.
class Scratch {
 public:
  static Result<Scratch> make(const std::string& store_directory);
  Scratch(Scratch&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  Scratch& operator=(Scratch&&) = delete;
  ~Scratch();
  const std::string& path() const { return path_; }

 private:
  explicit Scratch(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

/// One import. Holds the store's lock as long as it lives.
class Import {
 public:
  static Result<Import> begin(ContentStore& store);
  const std::string& scratch() const { return scratch_.path(); }

  /// Unpacks the layers of `candidates` that the store lacks, then makes all their names known in one step.
  Result<LoadReport> run(const Source& source, const std::vector<Candidate>& candidates);

 private:
  Import(ContentStore& store, UniqueFd lock, Scratch scratch, Index index)
      : store_(store), lock_(std::move(lock)), scratch_(std::move(scratch)), index_(std::move(index)) {}

  Status unpack(const Source& source, const Candidate::Layer& layer);
  Status check_room(const std::string& diff_id) const;
  Status publish(const std::vector<Candidate>& candidates);
  Loaded enter(const Candidate& candidate);
  void note_access(const Candidate& candidate, bool was_here);

  ContentStore& store_;
  UniqueFd lock_;
  Scratch scratch_;
  Index index_;                        // as it will be
  std::vector<std::string> unpacked_;  // diff ids of new layers, in scratch
  std::vector<std::string> notes_;
};

}  // namespace skiff::image
