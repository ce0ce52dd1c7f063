#pragma once
// Reconstructing the state and the events of older revisions from the latest state and what was superseded
// since. Pure.

#include <map>
#include <span>
#include <string_view>
#include <vector>

#include "store/disk.hpp"
#include "store/index.hpp"
#include "store/record.hpp"

namespace skiff::store {

/// The keys that changed since a revision, with their version at that revision or null. The keys live in what
/// it was made from.
using Overlay = std::map<std::string_view, RecordRef>;

/// From all `events` behind `revision`, in order.
Overlay undo(std::span<const EventRef> events, Revision revision);
/// From all versions that ended behind `revision`.
Overlay still_alive(std::span<const Superseded> superseded, Revision revision);

/// The live records at `revision`, sorted. `index` is at `revision` or later.
std::vector<RecordRef> state_at(const Index& index, std::string_view prefix, Revision revision,
                                const Overlay& overlay);

struct Span {
  Revision after;
  Revision until;  // included
};
/// The durable events in `span`, in order. `superseded`: all versions of the prefix that ended behind
/// span.after and before `index`, and perhaps later ones.
std::vector<EventRef> past_events(const Index& index, std::string_view prefix,
                                  std::span<const Superseded> superseded, Span span);

}  // namespace skiff::store
