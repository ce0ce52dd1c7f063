#include "image/content_store.hpp"

#include <fcntl.h>
#include <sys/file.h>

#include <algorithm>
#include <cerrno>

#include "image/digest.hpp"
#include "image/import.hpp"
#include "image/index.hpp"
#include "image/reference.hpp"
#include "image/source.hpp"
#include "sys/files.hpp"

namespace skiff::image {

namespace {

constexpr size_t kShortestId = 12;

Error not_found(std::string_view reference) {
  return error(Code::NotFound, "image '{}' not found", reference);
}

bool has_digest(std::string_view canonical) { return canonical.find('@') != std::string_view::npos; }

std::string display_of(const std::string& canonical) {
  Result<Reference> reference = parse_reference(canonical);
  return reference.ok() ? reference.value().display() : canonical;
}

// "sha256:0123456789ab..." or its digits; empty when `text` cannot be an id.
std::string_view id_digits(std::string_view text) {
  if (text.starts_with("sha256:")) text.remove_prefix(std::string_view("sha256:").size());
  bool digits = std::all_of(text.begin(), text.end(),
                            [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
  return digits && text.size() >= kShortestId ? text : std::string_view();
}

bool is_named(const Index& index, const std::string& id) {
  return std::any_of(index.names.begin(), index.names.end(),
                     [&](const auto& name) { return name.second == id; });
}

// Drops the images that have no name and are not in use, and the layers that no image is left for.
std::vector<std::string> drop_untagged(Index& index, const std::set<std::string>& in_use) {
  std::vector<std::string> dropped;
  std::set<std::string> needed;
  for (auto image = index.images.begin(); image != index.images.end();) {
    if (is_named(index, image->first) || in_use.contains(image->first)) {
      needed.insert(image->second.begin(), image->second.end());
      ++image;
    } else {
      dropped.push_back(image->first);
      index.access.erase(image->first);
      image = index.images.erase(image);
    }
  }
  std::erase_if(index.layers, [&](const auto& layer) { return !needed.contains(layer.first); });
  return dropped;
}

}  // namespace

ContentStore::ContentStore(std::string directory, Limits limits)
    : directory_(std::move(directory)), limits_(limits) {}

Result<std::unique_ptr<ContentStore>> ContentStore::open(std::string directory, Limits limits) {
  // Layers hold setuid programs and other users' files: nobody else may walk in.
  TRY(sys::make_directories(directory, 0700));
  for (const char* name : {"/blobs", "/blobs/sha256", "/layers", "/tmp", "/empty"})
    TRY(sys::make_directory(directory + name));
  std::unique_ptr<ContentStore> store(new ContentStore(std::move(directory), limits));
  TRY(store->read_index());
  return store;
}

Result<UniqueFd> ContentStore::lock() const {
  const std::string path = directory_ + "/lock";
  TRY_ASSIGN(UniqueFd fd, sys::open(path, O_RDWR | O_CREAT, 0600));
  if (sys::retry_eintr([&] { return ::flock(fd.get(), LOCK_EX); }) < 0)
    return errno_error(errno, "flock '{}'", path);
  // Whoever made these is gone, or would hold the lock.
  TRY_ASSIGN(std::vector<std::string> unfinished, sys::list_directory(directory_ + "/tmp"));
  for (const std::string& name : unfinished) TRY(sys::remove_tree(directory_ + "/tmp/" + name));
  return fd;
}

Result<Index> ContentStore::read_index() const {
  const std::string path = directory_ + "/index.json";
  Result<std::string> text = sys::read_file(path);
  if (!text.ok() && text.error().sys_errno() == ENOENT) return Index{};
  if (!text.ok()) return std::move(text).error();
  Result<Index> index = parse_index(text.value());
  if (!index.ok()) return error(Code::Invalid, "image store '{}' {}", path, index.error().message());
  return index;
}

Status ContentStore::write_index(const Index& index) {
  TRY(sys::replace_file(directory_ + "/index.json", format_index(index), 0600));
  return sys::sync_directory(directory_);
}

Result<LoadReport> ContentStore::load(const std::string& path) {
  auto loaded = [&]() -> Result<LoadReport> {
    TRY_ASSIGN(struct stat info, sys::stat_of(path));
    TRY_ASSIGN(Import import, Import::begin(*this));
    std::unique_ptr<Source> source;
    if (S_ISDIR(info.st_mode)) {
      TRY_ASSIGN(source, open_directory_source(path));
    } else {
      const std::string scratch = import.scratch() + "/archive";
      TRY(sys::make_directory(scratch));
      TRY_ASSIGN(source, open_archive_source(path, scratch, limits_.archive_bytes));
    }
    TRY_ASSIGN(std::vector<Candidate> candidates, read_candidates(*source));
    return import.run(*source, candidates);
  }();
  if (!loaded.ok()) return std::move(loaded).error().in(fmt::format("load '{}'", path));
  return loaded;
}

Result<std::vector<std::string>> ContentStore::missing_layers(const Candidate& candidate) const {
  TRY_ASSIGN(Index index, read_index());
  std::vector<std::string> missing;
  for (const Candidate::Layer& layer : candidate.layers) {
    bool known = index.layers.contains(layer.diff_id) ||
                 std::find(missing.begin(), missing.end(), layer.digest) != missing.end();
    if (!known) missing.push_back(layer.digest);
  }
  return missing;
}

Result<std::vector<Image>> ContentStore::list() const {
  TRY_ASSIGN(Index index, read_index());
  std::vector<Image> images;
  for (const auto& [id, layers] : index.images) {
    Result<Image> next = image(index, id);
    if (next.ok())
      images.push_back(std::move(next).value());
    else if (next.error().code() != Code::NotFound)
      return std::move(next).error();  // else removed meanwhile
  }
  std::stable_sort(images.begin(), images.end(), [](const Image& a, const Image& b) {
    if (a.names.empty() || b.names.empty()) return !a.names.empty() && b.names.empty();
    return a.names < b.names;
  });
  return images;
}

Result<Image> ContentStore::image(const Index& index, const std::string& id) const {
  auto layers = index.images.find(id);
  if (layers == index.images.end()) return not_found(id);
  Result<std::string> text = sys::read_file(fmt::format("{}/blobs/sha256/{}", directory_, hex_of(id)));
  if (!text.ok() && text.error().sys_errno() == ENOENT) return not_found(id);
  if (!text.ok()) return std::move(text).error();
  Image out;
  out.id = id;
  TRY_ASSIGN(out.config, parse_config(text.value()));
  for (const auto& [name, named] : index.names)
    if (named == id && index.pulled.contains(name) && !has_digest(name)) ++out.pulled_names;
  for (const auto& [name, named] : index.names)
    if (named == id)
      (has_digest(name) ? out.digests : out.names).push_back(has_digest(name) ? name : display_of(name));
  std::sort(out.names.begin(), out.names.end());
  for (auto layer = layers->second.rbegin(); layer != layers->second.rend(); ++layer) {
    std::string directory = fmt::format("{}/layers/{}/fs", directory_, layer_directory(*layer));
    // overlayfs takes a directory once; below its upper occurrence a layer adds nothing.
    if (std::find(out.lower_dirs.begin(), out.lower_dirs.end(), directory) != out.lower_dirs.end()) continue;
    out.lower_dirs.push_back(std::move(directory));
    if (auto size = index.layers.find(*layer); size != index.layers.end()) out.size += size->second;
  }
  if (auto access = index.access.find(id); access != index.access.end()) out.access = access->second;
  if (out.lower_dirs.empty()) out.lower_dirs.push_back(directory_ + "/empty");
  return out;
}

Result<std::string> ContentStore::id_of(const Index& index, std::string_view text) const {
  Result<Reference> reference = parse_reference(text);
  if (reference.ok()) {
    auto named = index.names.find(reference.value().canonical());
    if (named != index.names.end()) return named->second;
  }
  if (std::string_view digits = id_digits(text); !digits.empty()) {
    std::vector<std::string> matches;
    for (const auto& [id, layers] : index.images)
      if (hex_of(id).starts_with(digits)) matches.push_back(id);
    if (matches.size() == 1) return matches.front();
    if (matches.size() > 1)
      return error(Code::Invalid, "'{}' begins the ids of {} images", text, matches.size());
    return not_found(text);
  }
  if (!reference.ok()) return std::move(reference).error();
  return not_found(reference.value().display());
}

// The name that `reference` is; "" for an id.
std::string ContentStore::name_of(const Index& index, std::string_view text) const {
  Result<Reference> reference = parse_reference(text);
  return reference.ok() && reference.value().digest.empty() && index.names.contains(reference.value().canonical())
             ? reference.value().display()
             : "";
}

Result<Image> ContentStore::resolve(std::string_view reference) const {
  TRY_ASSIGN(Index index, read_index());
  TRY_ASSIGN(std::string id, id_of(index, reference));
  return image(index, id);
}

bool ContentStore::was_pulled(std::string_view name) const {
  Result<Reference> reference = parse_reference(name);
  Result<Index> index = read_index();
  return reference.ok() && index.ok() && index.value().pulled.contains(reference.value().canonical());
}

Status ContentStore::tag(std::string_view reference, std::string_view new_name) {
  TRY_ASSIGN(Reference name, parse_reference(new_name));
  if (!name.digest.empty())
    return error(Code::Invalid, "'{}' has a digest, which cannot be given to an image", new_name);
  TRY_ASSIGN(UniqueFd locked, lock());
  TRY_ASSIGN(Index index, read_index());
  TRY_ASSIGN(std::string id, id_of(index, reference));
  index.names[name.canonical()] = id;
  index.pulled.erase(name.canonical());
  // Whoever tags an image by hand means that it be used by that name.
  if (auto access = index.access.find(id); access != index.access.end()) access->second[name.name()].anyone = true;
  return write_index(index);
}

Result<ContentStore::Removed> ContentStore::remove(std::string_view reference,
                                                   const std::set<std::string>& in_use) {
  TRY_ASSIGN(UniqueFd locked, lock());
  TRY_ASSIGN(Index before, read_index());
  TRY_ASSIGN(std::string id, id_of(before, reference));
  Result<Reference> name = parse_reference(reference);
  const bool by_name = name.ok() && before.names.contains(name.value().canonical());
  if (!by_name && in_use.contains(id))
    return error(Code::Conflict, "image '{}' is used by a container", reference);
  Index after = before;
  Removed removed;
  for (const auto& [canonical, named] : before.names) {
    if (named != id || (by_name && canonical != name.value().canonical())) continue;
    removed.untagged.push_back(display_of(canonical));
    after.names.erase(canonical);
    after.pulled.erase(canonical);
  }
  // A digest alone keeps no image: with its last tag it goes too.
  bool tagged = std::any_of(after.names.begin(), after.names.end(),
                            [&](const auto& left) { return left.second == id && !has_digest(left.first); });
  if (!tagged) std::erase_if(after.names, [&](const auto& left) { return left.second == id; });
  if (!is_named(after, id) && !in_use.contains(id)) {
    // Only this image: other untagged ones are collect_garbage's.
    std::set<std::string> others;
    for (const auto& [other, layers] : after.images)
      if (other != id) others.insert(other);
    removed.deleted = drop_untagged(after, others);
  }
  TRY(write_index(after));
  TRY(delete_unused(before, after));
  return removed;
}

Result<std::vector<std::string>> ContentStore::collect_garbage(const std::set<std::string>& in_use) {
  TRY_ASSIGN(UniqueFd locked, lock());
  TRY_ASSIGN(Index before, read_index());
  Index after = before;
  std::vector<std::string> dropped = drop_untagged(after, in_use);
  if (!dropped.empty()) TRY(write_index(after));
  TRY(delete_unused(before, after));
  std::set<std::string> layers, blobs;
  for (const auto& [diff_id, size] : after.layers) layers.insert(layer_directory(diff_id));
  for (const auto& [id, diff_ids] : after.images) blobs.emplace(hex_of(id));
  for (const auto& [part, kept] :
       {std::pair{directory_ + "/layers/", &layers}, {directory_ + "/blobs/sha256/", &blobs}}) {
    TRY_ASSIGN(std::vector<std::string> present, sys::list_directory(part));
    for (const std::string& name : present)
      if (!kept->contains(name)) TRY(sys::remove_tree(part + name));
  }
  return dropped;
}

// After the index: a crash in between leaves files that collect_garbage() removes.
Status ContentStore::delete_unused(const Index& before, const Index& after) {
  for (const auto& [diff_id, size] : before.layers)
    if (!after.layers.contains(diff_id))
      TRY(sys::remove_tree(fmt::format("{}/layers/{}", directory_, layer_directory(diff_id))));
  for (const auto& [id, layers] : before.images)
    if (!after.images.contains(id))
      TRY(sys::remove_file(fmt::format("{}/blobs/sha256/{}", directory_, hex_of(id))));
  return ok();
}

}  // namespace skiff::image
