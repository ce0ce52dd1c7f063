#include "image/source.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <limits>

#include "base/encoding.hpp"
#include "image/archive.hpp"
#include "sys/beneath.hpp"
#include "sys/files.hpp"

namespace skiff::image {

namespace {

constexpr size_t kArchiveEntries = 100'000;
constexpr int kLinkDepth = 8;

class DirectorySource final : public Source {
 public:
  explicit DirectorySource(UniqueFd directory) : directory_(std::move(directory)) {}
  bool has(const std::string& name) const override { return open(name).ok(); }
  Result<Blob> open(const std::string& name) const override {
    Result<UniqueFd> file = sys::open_beneath(directory_, name, O_RDONLY | O_NONBLOCK);
    if (!file.ok() && file.error().sys_errno() == ENOENT)
      return error(Code::NotFound, "'{}' is missing", name);
    if (!file.ok()) return std::move(file).error();
    return Blob{std::move(file).value()};
  }

 private:
  UniqueFd directory_;
};

// "./a/../b" is "b"; a lexical path within the archive, never one of the file system.
std::string normal_name(std::string_view path) {
  std::vector<std::string> parts;
  for (std::string& part : split(path, '/')) {
    if (part == ".." && !parts.empty())
      parts.pop_back();
    else if (!part.empty() && part != "." && part != "..")
      parts.push_back(std::move(part));
  }
  return join(parts, "/");
}

class ArchiveSource final : public Source {
 public:
  ArchiveSource(std::string archive, std::string scratch) : archive_(std::move(archive)), scratch_(std::move(scratch)) {}

  /// False: a part of the archive can only be had by unpacking it.
  Result<bool> index(std::uint64_t byte_limit) {
    TRY_ASSIGN(UniqueFd file, sys::open(archive_, O_RDONLY));
    TRY_ASSIGN(std::optional<std::vector<TarMember>> members, list_members(file, kArchiveEntries));
    if (!members || members->empty()) return false;
    std::uint64_t total = 0;
    for (const TarMember& member : *members)
      if ((total += member.entry.size) > byte_limit) return error(Code::TooLarge, "unpacks to more than {} bytes", byte_limit);
    // The last member has no header behind it that would say where it ends; it is short in what people make.
    if (members->back().entry.type == LayerEntry::Type::File) TRY(take_last(members->back()));
    for (const TarMember& member : *members) {
      const std::string name = note_link(member.entry);
      if (member.entry.type != LayerEntry::Type::File || &member == &members->back()) continue;
      if (!member.size) return false;
      files_[name] = {archive_, member.offset, *member.size};
    }
    return true;
  }

  Status unpack(TarReader& tar) {
    files_.clear();
    links_.clear();
    while (true) {
      TRY_ASSIGN(std::optional<LayerEntry> entry, tar.next());
      if (!entry) return ok();
      if (files_.size() + links_.size() > kArchiveEntries)
        return error(Code::TooLarge, "more than {} files", kArchiveEntries);
      TRY(take(*entry, tar));
    }
  }

  bool has(const std::string& name) const override { return file_of(name) != nullptr; }
  Result<Blob> open(const std::string& name) const override {
    const Place* place = file_of(name);
    if (place == nullptr) return error(Code::NotFound, "'{}' is missing", name);
    TRY_ASSIGN(UniqueFd file, sys::open(place->path, O_RDONLY));
    if (::lseek(file.get(), static_cast<off_t>(place->offset), SEEK_SET) < 0) return errno_error(errno, "lseek '{}'", place->path);
    return Blob{std::move(file), place->size};
  }

 private:
  struct Place {
    std::string path;
    std::uint64_t offset = 0;
    std::optional<std::uint64_t> size;
  };

  // Returns the name that the entry has; a link's is remembered.
  std::string note_link(const LayerEntry& entry) {
    std::string name = normal_name(entry.path);
    if (entry.type == LayerEntry::Type::Symlink)  // older versions of docker link equal layers
      links_[name] = normal_name(name.substr(0, name.rfind('/') + 1) + entry.target);
    if (entry.type == LayerEntry::Type::HardLink) links_[name] = normal_name(entry.target);
    return name;
  }

  // Read once more from its header on.
  Status take_last(const TarMember& last) {
    TRY_ASSIGN(UniqueFd file, sys::open(archive_, O_RDONLY));
    if (::lseek(file.get(), static_cast<off_t>(last.offset), SEEK_SET) < 0) return errno_error(errno, "lseek '{}'", archive_);
    ByteStream bytes(Blob{std::move(file)}, std::numeric_limits<std::uint64_t>::max());
    bytes.skip_file_digest();
    TRY(bytes.open());
    TarReader tar(bytes);
    TRY(tar.open());
    TRY_ASSIGN(std::optional<LayerEntry> entry, tar.next());
    return entry ? take(*entry, tar) : ok();
  }

  Status take(const LayerEntry& entry, TarReader& tar) {
    const std::string name = note_link(entry);
    if (entry.type != LayerEntry::Type::File) return ok();
    std::string path = fmt::format("{}/{}", scratch_, files_.size());
    TRY_ASSIGN(UniqueFd file, sys::open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600));
    ContentBlock block;
    while (true) {
      TRY_ASSIGN(bool more, tar.next_block(block));
      if (!more) break;
      TRY(sys::write_all(file, block.data, path));
    }
    files_[name] = {path, 0, {}};
    return ok();
  }

  const Place* file_of(std::string name) const {
    for (int depth = 0; depth < kLinkDepth; ++depth) {
      if (auto file = files_.find(name); file != files_.end()) return &file->second;
      auto link = links_.find(name);
      if (link == links_.end()) return nullptr;
      name = link->second;
    }
    return nullptr;
  }

  std::string archive_, scratch_;
  std::map<std::string, Place> files_;        // by name
  std::map<std::string, std::string> links_;  // name to name
};

class MemorySource final : public Source {
 public:
  explicit MemorySource(std::map<std::string, std::string> blobs) : blobs_(std::move(blobs)) {}
  bool has(const std::string& name) const override { return blobs_.contains(name); }
  Result<Blob> open(const std::string& name) const override {
    auto blob = blobs_.find(name);
    if (blob == blobs_.end()) return error(Code::NotFound, "'{}' is missing", name);
    UniqueFd file(::memfd_create("skiff-blob", MFD_CLOEXEC));
    if (!file) return errno_error(errno, "memfd_create");
    TRY(sys::write_all(file, blob->second, name));
    if (::lseek(file.get(), 0, SEEK_SET) < 0) return errno_error(errno, "lseek '{}'", name);
    return Blob{std::move(file)};
  }

 private:
  std::map<std::string, std::string> blobs_;
};

Result<std::string> read_document(const Source& source, const std::string& name) {
  TRY_ASSIGN(Blob blob, source.open(name));
  std::string content;
  std::vector<char> buffer(65536);
  while (true) {
    TRY_ASSIGN(std::string_view part, blob.read(buffer));
    if (part.empty()) return content;
    content += part;
    if (content.size() > kDocumentLimit)
      return error(Code::TooLarge, "'{}' is longer than {} bytes", name, kDocumentLimit);
  }
}

std::string blob_name(std::string_view digest) { return fmt::format("blobs/sha256/{}", hex_of(digest)); }

Result<std::string> read_blob(const Source& source, const std::string& digest) {
  TRY_ASSIGN(std::string content, read_document(source, blob_name(digest)));
  if (digest_of(content) != digest)
    return error(Code::Invalid, "'{}' does not have the digest of its name", digest);
  return content;
}

Result<std::vector<Candidate>> docker_candidates(const Source& source) {
  TRY_ASSIGN(std::string manifest, read_document(source, "manifest.json"));
  TRY_ASSIGN(std::vector<DockerImage> images, parse_docker_manifest(manifest));
  std::vector<Candidate> out;
  for (const DockerImage& image : images) {
    Candidate& candidate = out.emplace_back();
    TRY_ASSIGN(candidate.config, read_document(source, normal_name(image.config)));
    for (const std::string& layer : image.layers) candidate.layers.push_back({normal_name(layer), "", ""});
    for (const std::string& name : image.names) {
      TRY_ASSIGN(Reference reference, parse_reference(name));
      candidate.names.push_back(std::move(reference));
    }
    TRY(complete(candidate));
  }
  return out;
}

// The names that producers write: a whole reference, or only the tag, which names nothing by itself.
Result<std::vector<Reference>> names_of(const Descriptor& descriptor) {
  std::vector<Reference> names;
  if (descriptor.name.find_first_of(":/") == std::string::npos) return names;
  TRY_ASSIGN(Reference reference, parse_reference(descriptor.name));
  names.push_back(std::move(reference));
  return names;
}

bool runs_here(const Descriptor& descriptor) {
  if (descriptor.architecture.empty()) return true;
  return descriptor.architecture == machine_architecture() &&
         (descriptor.os.empty() || descriptor.os == "linux");
}

// Descends through indexes (a multi-platform image is one within another) to the manifests for this machine.
Status oci_candidates(const Source& source, const Descriptor& from, int depth, std::vector<Candidate>& out) {
  TRY_ASSIGN(std::string text, read_blob(source, from.digest));
  TRY_ASSIGN(Manifest manifest, parse_manifest(text, from.digest));
  if (manifest.is_index) {
    if (depth == 0) return error(Code::Invalid, "index '{}' is nested too deeply", from.digest);
    for (Descriptor& next : manifest.manifests) {
      if (!runs_here(next)) continue;
      if (next.name.empty()) next.name = from.name;
      TRY(oci_candidates(source, next, depth - 1, out));
    }
    return ok();
  }
  Candidate candidate;
  candidate.manifest_digest = from.digest;
  TRY_ASSIGN(candidate.config, read_blob(source, manifest.config.digest));
  for (const Descriptor& layer : manifest.layers)
    candidate.layers.push_back({blob_name(layer.digest), layer.digest, ""});
  TRY_ASSIGN(candidate.names, names_of(from));
  TRY(complete(candidate));
  out.push_back(std::move(candidate));
  return ok();
}

}  // namespace

Status complete(Candidate& candidate) {
  candidate.id = digest_of(candidate.config);
  TRY_ASSIGN(Config config, parse_config(candidate.config));
  if (config.diff_ids.size() != candidate.layers.size())
    return error(Code::Invalid, "image {}: {} layers, but its configuration has {}", candidate.id,
                 candidate.layers.size(), config.diff_ids.size());
  for (size_t i = 0; i < config.diff_ids.size(); ++i) candidate.layers[i].diff_id = config.diff_ids[i];
  return ok();
}

std::string_view machine_architecture() {
#if defined(__x86_64__)
  return "amd64";
#elif defined(__aarch64__)
  return "arm64";
#else
#error "name this architecture as Go does"
#endif
}

Result<std::unique_ptr<Source>> open_directory_source(const std::string& directory) {
  TRY_ASSIGN(UniqueFd fd, sys::open(directory, O_RDONLY | O_DIRECTORY));
  return std::unique_ptr<Source>(std::make_unique<DirectorySource>(std::move(fd)));
}

Result<std::unique_ptr<Source>> open_archive_source(const std::string& path, const std::string& scratch,
                                                    std::uint64_t byte_limit) {
  auto source = std::make_unique<ArchiveSource>(path, scratch);
  TRY_ASSIGN(bool indexed, source->index(byte_limit));
  if (indexed) return std::unique_ptr<Source>(std::move(source));
  TRY_ASSIGN(UniqueFd file, sys::open(path, O_RDONLY));
  ByteStream bytes(Blob{std::move(file)}, byte_limit);
  TRY(bytes.open());
  TarReader tar(bytes);
  TRY(tar.open());
  TRY(source->unpack(tar));
  return std::unique_ptr<Source>(std::move(source));
}

std::unique_ptr<Source> memory_source(std::map<std::string, std::string> blobs) {
  return std::make_unique<MemorySource>(std::move(blobs));
}

Result<std::vector<Candidate>> read_candidates(const Source& source) {
  // docker writes both since version 25; its own manifest knows the names better.
  if (source.has("manifest.json")) return docker_candidates(source);
  if (!source.has("index.json"))
    return error(Code::Invalid,
                 "this is no image archive: neither manifest.json (docker save) nor index.json (OCI)");
  TRY_ASSIGN(std::string text, read_document(source, "index.json"));
  TRY_ASSIGN(Manifest index, parse_manifest(text, "index.json"));
  if (!index.is_index) return error(Code::Invalid, "index.json lists no manifests");
  std::vector<Candidate> out;
  for (const Descriptor& descriptor : index.manifests)
    if (runs_here(descriptor)) TRY(oci_candidates(source, descriptor, 3, out));
  if (out.empty()) return error(Code::Invalid, "no image in it is for linux/{}", machine_architecture());
  return out;
}

}  // namespace skiff::image
