#pragma once
// The latest state: an immutable ordered set of records. Readers hold one as long as they like, without
// locks; the writer makes the next one, which shares all chunks that did not change.

#include <compare>
#include <map>
#include <memory>
#include <string_view>
#include <vector>

#include "store/record.hpp"

namespace skiff::store {

/// Keys to their new record, or null for "gone". The keys live as long as the map.
using Changes = std::map<std::string_view, RecordRef>;

/// Immutable. Any thread.
class Index {
 public:
  /// A place between two keys; valid for the index that gave it.
  struct Position {
    size_t chunk = 0;
    size_t offset = 0;
    auto operator<=>(const Position&) const = default;
  };

  /// `records` are sorted by key, without duplicates.
  static std::shared_ptr<const Index> of(const std::vector<RecordRef>& records);
  /// This index with `changes` applied. Costs the touched chunks plus one pointer a chunk.
  std::shared_ptr<const Index> with(const Changes& changes) const;

  /// Null when absent.
  RecordRef find(std::string_view key) const;
  size_t size() const { return size_; }

  /// The first record whose key is not less than `key`.
  Position lower_bound(std::string_view key) const;
  /// Behind the last record whose key begins with `prefix`.
  Position end_of(std::string_view prefix) const;
  Position end() const { return {chunks_.size(), 0}; }
  /// `at` must not be end().
  const RecordRef& at(Position at) const { return (*chunks_[at.chunk])[at.offset]; }
  Position next(Position at) const;
  size_t distance(Position from, Position to) const;

 private:
  using Chunk = std::vector<RecordRef>;  // sorted, never empty

  void append(Chunk chunk);

  std::vector<std::shared_ptr<const Chunk>> chunks_;
  size_t size_ = 0;
};

}  // namespace skiff::store
