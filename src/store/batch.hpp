#pragma once
// A batch of writes: decided against the latest state, then committed as one. Deciding is pure.

#include <memory>
#include <optional>
#include <semaphore>
#include <vector>

#include "store/disk.hpp"
#include "store/index.hpp"
#include "store/record.hpp"

namespace skiff::store {

/// A write on its way through the writer thread, and its answer.
struct PendingWrite {
  explicit PendingWrite(Write asked) : write(std::move(asked)) {}

  Write write;
  std::optional<Result<RecordRef>> result;  // set before `done` is released
  std::binary_semaphore done{0};
};

/// What the writes of a batch come to. Revisions are given out from `last + 1` on.
class Batch {
 public:
  Batch(const Index& index, Revision last) : index_(index) { disk.last = last; }

  /// Decides one write, as if all before it had happened. A refused write takes no revision.
  void add(PendingWrite& pending);
  /// After the commit: builds the views that the writes brought and keeps them as long as the batch lives.
  void build_views();

  std::vector<EventRef> events;
  DiskBatch disk;
  Changes changes;                      // of the index
  std::vector<PendingWrite*> accepted;  // result is set, but not yet to be told

 private:
  RecordRef current(std::string_view key) const;

  const Index& index_;
  std::vector<std::shared_ptr<const void>> views_;
};

}  // namespace skiff::store
