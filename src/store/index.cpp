#include "store/index.hpp"

#include <algorithm>

namespace skiff::store {

namespace {

// A write copies one chunk's pointers, a commit copies one pointer a chunk: at 100,000 records both are about
// a thousand.
constexpr size_t kChunk = 128;

bool key_before(const RecordRef& record, std::string_view key) { return record->key < key; }

// The least string greater than every string that begins with `prefix`; empty when there is none.
std::string successor(std::string_view prefix) {
  std::string next(prefix);
  while (!next.empty() && next.back() == '\xff') next.pop_back();
  if (!next.empty()) next.back() = static_cast<char>(static_cast<unsigned char>(next.back()) + 1);
  return next;
}

// `records` with the changes in [from, to) applied.
std::vector<RecordRef> merged(const std::vector<RecordRef>& records, Changes::const_iterator from,
                              Changes::const_iterator to) {
  std::vector<RecordRef> out;
  out.reserve(records.size() + static_cast<size_t>(std::distance(from, to)));
  auto record = records.begin();
  for (auto change = from; change != to; ++change) {
    while (record != records.end() && key_before(*record, change->first)) out.push_back(*record++);
    if (record != records.end() && (*record)->key == change->first) ++record;
    if (change->second) out.push_back(change->second);
  }
  out.insert(out.end(), record, records.end());
  return out;
}

}  // namespace

std::shared_ptr<const Index> Index::of(const std::vector<RecordRef>& records) {
  auto index = std::make_shared<Index>();
  for (size_t at = 0; at < records.size(); at += kChunk) {
    auto from = records.begin() + static_cast<std::ptrdiff_t>(at);
    auto to = records.begin() + static_cast<std::ptrdiff_t>(std::min(at + kChunk, records.size()));
    index->append(Chunk(from, to));
  }
  return index;
}

// Splits what has grown too large; joins what has shrunk to its neighbour on the left.
void Index::append(Chunk chunk) {
  if (chunk.empty()) return;
  size_ += chunk.size();
  if (!chunks_.empty() && chunks_.back()->size() + chunk.size() <= kChunk / 2) {
    Chunk joined = *chunks_.back();
    joined.insert(joined.end(), chunk.begin(), chunk.end());
    chunks_.back() = std::make_shared<const Chunk>(std::move(joined));
    return;
  }
  size_t pieces = 1 + (chunk.size() - 1) / (2 * kChunk);
  size_t each = 1 + (chunk.size() - 1) / pieces;
  for (size_t at = 0; at < chunk.size(); at += each) {
    auto from = chunk.begin() + static_cast<std::ptrdiff_t>(at);
    auto to = chunk.begin() + static_cast<std::ptrdiff_t>(std::min(at + each, chunk.size()));
    chunks_.push_back(std::make_shared<const Chunk>(from, to));
  }
}

std::shared_ptr<const Index> Index::with(const Changes& changes) const {
  auto next = std::make_shared<Index>();
  next->chunks_.reserve(chunks_.size() + 1);
  auto change = changes.begin();
  for (size_t i = 0; i < chunks_.size(); ++i) {
    // A chunk takes the changes before the next chunk's first key; the last one takes the rest.
    auto until = changes.end();
    if (i + 1 < chunks_.size()) until = changes.lower_bound(chunks_[i + 1]->front()->key);
    if (change == until) {
      next->chunks_.push_back(chunks_[i]);
      next->size_ += chunks_[i]->size();
    } else {
      next->append(merged(*chunks_[i], change, until));
    }
    change = until;
  }
  if (change != changes.end()) next->append(merged({}, change, changes.end()));
  return next;
}

RecordRef Index::find(std::string_view key) const {
  Position at = lower_bound(key);
  if (at == end() || this->at(at)->key != key) return nullptr;
  return this->at(at);
}

Index::Position Index::lower_bound(std::string_view key) const {
  auto after =
      std::upper_bound(chunks_.begin(), chunks_.end(), key,
                       [](std::string_view k, const auto& chunk) { return k < chunk->front()->key; });
  if (after == chunks_.begin()) return {0, 0};
  const Chunk& chunk = **(after - 1);
  auto record = std::lower_bound(chunk.begin(), chunk.end(), key, key_before);
  if (record == chunk.end()) return {static_cast<size_t>(after - chunks_.begin()), 0};
  return {static_cast<size_t>(after - chunks_.begin()) - 1, static_cast<size_t>(record - chunk.begin())};
}

Index::Position Index::end_of(std::string_view prefix) const {
  std::string behind = successor(prefix);
  return behind.empty() ? end() : lower_bound(behind);
}

Index::Position Index::next(Position at) const {
  if (at.offset + 1 < chunks_[at.chunk]->size()) return {at.chunk, at.offset + 1};
  return {at.chunk + 1, 0};
}

size_t Index::distance(Position from, Position to) const {
  if (to <= from) return 0;
  size_t count = to.offset;
  for (size_t chunk = from.chunk; chunk < to.chunk; ++chunk) count += chunks_[chunk]->size();
  return count - from.offset;
}

}  // namespace skiff::store
