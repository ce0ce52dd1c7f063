#include "image/import.hpp"

#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "image/archive.hpp"
#include "sys/beneath.hpp"
#include "sys/files.hpp"

namespace skiff::image {

namespace {

// Reads one layer into `tree`, to the end of its file, so that the digests cover all of it.
Status unpack_layer(ByteStream& bytes, LayerTree& tree, const Limits& limits) {
  TRY(bytes.open());
  TarReader tar(bytes);
  TRY(tar.open());
  NextBlock next = [&](ContentBlock& block) { return tar.next_block(block); };
  std::uint64_t entries = 0;
  std::uint64_t declared = 0;
  while (true) {
    TRY_ASSIGN(std::optional<LayerEntry> entry, tar.next());
    if (!entry) break;
    // A sparse file may declare far more than the archive holds.
    declared += entry->size;
    if (++entries > limits.entries) return error(Code::TooLarge, "has more than {} files", limits.entries);
    if (declared > limits.layer_bytes || entry->size > limits.layer_bytes)
      return error(Code::TooLarge, "unpacks to more than {} bytes", limits.layer_bytes);
    TRY(tree.add(*entry, next));
  }
  TRY(tree.finish());
  return bytes.drain();
}

std::string blob_path(const std::string& directory, std::string_view digest) {
  return fmt::format("{}/blobs/sha256/{}", directory, hex_of(digest));
}

}  // namespace

Result<Scratch> Scratch::make(const std::string& store_directory) {
  std::string path = store_directory + "/tmp/XXXXXX";
  if (::mkdtemp(path.data()) == nullptr) return errno_error(errno, "mkdtemp '{}'", path);
  return Scratch(path);
}

Scratch::~Scratch() {
  // What cannot be removed now goes with the next change of the store.
  if (!path_.empty()) static_cast<void>(sys::remove_tree(path_));
}

Result<Import> Import::begin(ContentStore& store) {
  TRY_ASSIGN(UniqueFd lock, store.lock());
  TRY_ASSIGN(Scratch scratch, Scratch::make(store.directory()));
  TRY_ASSIGN(Index index, store.read_index());
  return Import(store, std::move(lock), std::move(scratch), std::move(index));
}

Result<LoadReport> Import::run(const Source& source, const std::vector<Candidate>& candidates) {
  TRY(sys::make_directory(scratch() + "/layers"));
  for (const Candidate& candidate : candidates)
    for (const Candidate::Layer& layer : candidate.layers)
      if (!index_.layers.contains(layer.diff_id)) TRY(unpack(source, layer));
  LoadReport report;
  for (const Candidate& candidate : candidates) {
    Loaded loaded = enter(candidate);
    // An OCI layout lists an image once a name.
    auto same = std::find_if(report.images.begin(), report.images.end(),
                             [&](const Loaded& other) { return other.id == loaded.id; });
    if (same == report.images.end())
      report.images.push_back(std::move(loaded));
    else
      same->names.insert(same->names.end(), loaded.names.begin(), loaded.names.end());
  }
  TRY(publish(candidates));
  report.notes = std::move(notes_);
  return report;
}

// Two layers whose short directory names are equal are an attack: only one can be here.
Status Import::check_room(const std::string& diff_id) const {
  for (const auto& [other, size] : index_.layers)
    if (layer_directory(other) == layer_directory(diff_id))
      return error(Code::Invalid, "layer {} collides with layer {}", diff_id, other);
  return ok();
}

Status Import::unpack(const Source& source, const Candidate::Layer& layer) {
  auto unpacked = [&]() -> Status {
    TRY(check_room(layer.diff_id));
    TRY_ASSIGN(Blob blob, source.open(layer.blob));
    const std::string directory = fmt::format("{}/layers/{}", scratch(), layer_directory(layer.diff_id));
    TRY(sys::make_directory(directory, 0700));
    TRY(sys::make_directory(directory + "/fs"));
    TRY_ASSIGN(LayerTree tree, LayerTree::open(directory + "/fs"));
    ByteStream bytes(std::move(blob), store_.limits_.layer_bytes);
    if (layer.digest.empty()) bytes.skip_file_digest();
    TRY(unpack_layer(bytes, tree, store_.limits_));
    if (!layer.digest.empty() && bytes.file_digest() != layer.digest)
      return error(Code::Invalid, "the blob does not have the digest {}", layer.digest);
    if (std::string is = bytes.content_digest(); is != layer.diff_id)
      return error(Code::Invalid, "its content has the digest {}, not {}", is, layer.diff_id);
    TRY(sys::write_file(directory + "/diff_id", layer.diff_id + "\n"));
    if (tree.devices_skipped() > 0)
      notes_.push_back(
          fmt::format("layer {}: {} device nodes left out", layer.diff_id, tree.devices_skipped()));
    index_.layers[layer.diff_id] = tree.bytes();
    unpacked_.push_back(layer.diff_id);
    return ok();
  }();
  if (!unpacked.ok()) return std::move(unpacked).error().in(fmt::format("layer '{}'", layer.blob));
  return ok();
}

Loaded Import::enter(const Candidate& candidate) {
  Loaded loaded;
  loaded.id = candidate.id;
  std::vector<std::string> diff_ids;
  for (const Candidate::Layer& layer : candidate.layers) diff_ids.push_back(layer.diff_id);
  loaded.new_content = index_.images.emplace(candidate.id, std::move(diff_ids)).second;
  note_access(candidate, !loaded.new_content);
  for (const Reference& reference : candidate.names) {
    index_.names[reference.canonical()] = candidate.id;
    if (candidate.pulled) index_.pulled.insert(reference.canonical());
    else index_.pulled.erase(reference.canonical());
    loaded.names.push_back(reference.display());
    if (!candidate.manifest_digest.empty())
      index_.names[reference.name() + "@" + candidate.manifest_digest] = candidate.id;
  }
  return loaded;
}

// Images that only ever came by hand need no record: without one they are everybody's.
void Import::note_access(const Candidate& candidate, bool was_here) {
  const bool known = index_.access.contains(candidate.id);
  if (!candidate.pulled && !known) return;
  AccessByRepository& access = index_.access[candidate.id];
  // The names it had by hand stay everybody's.
  if (was_here && !known)
    for (const auto& [name, id] : index_.names)
      if (Result<Reference> had = parse_reference(name); id == candidate.id && had.ok()) access[had.value().name()].anyone = true;
  for (const Reference& reference : candidate.names) merge(access[reference.name()], candidate.access);
}

// Content first and synced, the index last: whenever power fails, what the index names is whole.
Status Import::publish(const std::vector<Candidate>& candidates) {
  const std::string& directory = store_.directory();
  if (!unpacked_.empty()) TRY(sys::sync_file_system(scratch()));
  for (const std::string& diff_id : unpacked_) {
    const std::string name = layer_directory(diff_id);
    const std::string place = fmt::format("{}/layers/{}", directory, name);
    TRY(sys::remove_tree(place));  // of an import that was cut off before its index was written
    TRY(sys::rename(fmt::format("{}/layers/{}", scratch(), name), place));
  }
  if (!unpacked_.empty()) TRY(sys::sync_directory(directory + "/layers"));
  for (const Candidate& candidate : candidates)
    if (std::string path = blob_path(directory, candidate.id); !sys::exists(path))
      TRY(sys::replace_file(path, candidate.config));
  return store_.write_index(index_);
}

}  // namespace skiff::image
