#include "image/layer_tree.hpp"

#include <fcntl.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>

#include "base/encoding.hpp"
#include "sys/beneath.hpp"
#include "sys/files.hpp"

namespace skiff::image {

namespace {

// OCI image layer specification: ".wh.NAME" hides NAME of the layers below, ".wh..wh..opq" all of a
// directory's.
constexpr std::string_view kWhiteout = ".wh.";
constexpr std::string_view kOpaque = ".wh..wh..opq";
constexpr std::string_view kReserved = ".wh..wh.";  // aufs' own files
constexpr std::uint64_t kWriteBehind = 1U << 20;
constexpr const char* kOpaqueAttribute = "trusted.overlay.opaque";

Error refused(const LayerEntry& entry, std::string_view why) {
  return error(Code::Invalid, "entry '{}' {}", entry.path, why);
}

// "./a//b/" is {a, b}. A leading '/' means the layer's root, as for tar.
Result<std::vector<std::string>> parts_of(std::string_view path, const LayerEntry& entry) {
  std::vector<std::string> parts;
  for (std::string& part : split(path, '/')) {
    if (part.empty() || part == ".") continue;
    if (part == "..") return refused(entry, "leads out of the layer ('..')");
    if (part.size() > NAME_MAX) return refused(entry, "has a name that is too long");
    parts.push_back(std::move(part));
  }
  return parts;
}

bool is_whiteout(const struct stat& info) { return S_ISCHR(info.st_mode) && info.st_rdev == 0; }

Status make_opaque(const UniqueFd& directory, const std::string& path) {
  if (::fsetxattr(directory.get(), kOpaqueAttribute, "y", 1, 0) < 0)
    return errno_error(errno, "setxattr {} '{}'", kOpaqueAttribute, path);
  return ok();
}

// What a layer may set: trusted.overlay.* would steer overlayfs itself, other security.* the host's policy.
bool may_set(const std::string& name) {
  if (name == "security.capability") return true;
  return name.starts_with("user.") && !name.starts_with("user.overlay.");
}

Status set_xattrs(const UniqueFd& fd, const LayerEntry& entry) {
  for (const auto& [name, value] : entry.xattrs) {
    if (!may_set(name)) continue;
    if (::fsetxattr(fd.get(), name.c_str(), value.data(), value.size(), 0) == 0) continue;
    // Not every file system keeps user.*; nothing that runs depends on them.
    if (errno == EOPNOTSUPP && name.starts_with("user.")) continue;
    return errno_error(errno, "setxattr {} '{}'", name, entry.path);
  }
  return ok();
}

}  // namespace

Result<LayerTree> LayerTree::open(const std::string& directory) {
  TRY_ASSIGN(UniqueFd root, sys::open(directory, O_RDONLY | O_DIRECTORY));
  return LayerTree(directory, std::move(root));
}

Status LayerTree::add(const LayerEntry& entry, const NextBlock& next) {
  TRY_ASSIGN(std::vector<std::string> parts, parts_of(entry.path, entry));
  if (parts.empty()) {
    if (entry.type != LayerEntry::Type::Directory) return refused(entry, "would replace the layer's root");
    return set_metadata(root_, entry);
  }
  const std::string path = join(parts, "/");
  const std::string name = std::move(parts.back());
  parts.pop_back();
  TRY_ASSIGN(const UniqueFd* parent, parent_of(entry, parts));
  if (name.starts_with(kWhiteout)) return add_whiteout(*parent, path, name);
  switch (entry.type) {
    case LayerEntry::Type::Directory:
      return add_directory(*parent, path, entry);
    case LayerEntry::Type::File:
      return add_file(*parent, path, entry, next);
    case LayerEntry::Type::HardLink:
      return add_hard_link(*parent, path, entry);
    case LayerEntry::Type::Symlink:
    case LayerEntry::Type::Fifo:
      return add_special(*parent, path, entry);
    case LayerEntry::Type::Device:
      ++devices_;
      return ok();
  }
  return ok();
}

// The directory that holds the entry; made, with its parents, where the archive did not list it before.
Result<const UniqueFd*> LayerTree::parent_of(const LayerEntry& entry, const std::vector<std::string>& parts) {
  if (parts.empty()) return &root_;
  std::string wanted = join(parts, "/");
  if (parent_ && wanted == parent_path_) return &parent_;
  Result<UniqueFd> found = open_directory(wanted, entry);
  if (!found.ok() && found.error().sys_errno() == ENOENT) {
    std::string path;
    for (const std::string& part : parts) {
      path += (path.empty() ? "" : "/") + part;
      if (::mkdirat(root_.get(), path.c_str(), 0755) < 0 && errno != EEXIST)
        return errno_error(errno, "mkdir '{}'", path);
      // Checked before the next step: an existing part that is a link must not be walked through.
      found = open_directory(path, entry);
      if (!found.ok()) break;
    }
  }
  if (!found.ok()) return std::move(found).error();
  parent_ = std::move(found).value();
  parent_path_ = std::move(wanted);
  return &parent_;
}

Result<UniqueFd> LayerTree::open_directory(const std::string& path, const LayerEntry& entry) {
  Result<UniqueFd> opened = sys::open_beneath(root_, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  if (opened.ok()) return opened;
  int why = opened.error().sys_errno();
  if (why == ELOOP) return refused(entry, "goes through a symbolic link");
  if (why == ENOTDIR) {
    // O_DIRECTORY reports a link as the last part as "not a directory" too.
    struct stat info {};
    bool link =
        ::fstatat(root_.get(), path.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(info.st_mode);
    return refused(entry, link ? "goes through a symbolic link" : "goes through a file that is no directory");
  }
  return opened;
}

// Makes room for `path`: the later entry of an archive wins. True when a whiteout stood there.
Result<bool> LayerTree::clear(const UniqueFd& parent, const std::string& path, bool keep_directory) {
  const std::string name = path.substr(path.rfind('/') + 1);
  struct stat info {};
  if (::fstatat(parent.get(), name.c_str(), &info, AT_SYMLINK_NOFOLLOW) < 0) {
    if (errno == ENOENT) return false;
    return errno_error(errno, "stat '{}'", path);
  }
  if (!S_ISDIR(info.st_mode)) {
    if (::unlinkat(parent.get(), name.c_str(), 0) < 0) return errno_error(errno, "unlink '{}'", path);
    return is_whiteout(info);
  }
  if (keep_directory) return false;
  if (parent_path_ == path ||
      parent_path_.starts_with(path + "/")) {  // `parent` is above `path`, so not this one
    parent_path_.clear();
    parent_.reset();
  }
  // By path: the directory is private to this process and every parent was just opened without links.
  TRY(sys::remove_tree(directory_ + "/" + path));
  return false;
}

Status LayerTree::add_whiteout(const UniqueFd& parent, const std::string& path, std::string_view name) {
  if (name == kOpaque) return make_opaque(parent, path);
  if (name.starts_with(kReserved)) return ok();
  std::string hidden(name.substr(kWhiteout.size()));
  if (hidden.empty() || hidden == "." || hidden == "..")
    return error(Code::Invalid, "entry '{}' hides no name", path);
  struct stat info {};
  if (::fstatat(parent.get(), hidden.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0) {
    // The layer itself brings that name, which a whiteout does not concern; a directory hides what was below
    // it.
    if (!S_ISDIR(info.st_mode)) return ok();
    TRY_ASSIGN(UniqueFd directory, sys::open_at(parent, hidden, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
    return make_opaque(directory, path);
  }
  if (::mknodat(parent.get(), hidden.c_str(), S_IFCHR, makedev(0, 0)) < 0)
    return errno_error(errno, "mknod whiteout '{}'", path);
  return ok();
}

Status LayerTree::add_directory(const UniqueFd& parent, const std::string& path, const LayerEntry& entry) {
  TRY_ASSIGN(bool was_whiteout, clear(parent, path, true));
  const std::string name = path.substr(path.rfind('/') + 1);
  if (::mkdirat(parent.get(), name.c_str(), 0755) < 0 && errno != EEXIST)
    return errno_error(errno, "mkdir '{}'", path);
  TRY_ASSIGN(UniqueFd made, sys::open_at(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  if (was_whiteout) TRY(make_opaque(made, path));
  directory_times_.emplace_back(path, entry.modified);
  return set_metadata(made, entry);
}

Status LayerTree::add_file(const UniqueFd& parent, const std::string& path, const LayerEntry& entry,
                           const NextBlock& next) {
  TRY(clear(parent, path, false));
  const std::string name = path.substr(path.rfind('/') + 1);
  TRY_ASSIGN(UniqueFd file, sys::open_at(parent, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600));
  ContentBlock block;
  while (true) {
    TRY_ASSIGN(bool more, next(block));
    if (!more) break;
    bytes_ += block.data.size();
    while (!block.data.empty()) {
      ssize_t written = sys::retry_eintr([&] {
        return ::pwrite(file.get(), block.data.data(), block.data.size(), static_cast<off_t>(block.offset));
      });
      if (written < 0) return errno_error(errno, "write '{}'", path);
      block.data.remove_prefix(static_cast<size_t>(written));
      block.offset += static_cast<std::uint64_t>(written);
    }
  }
  if (::ftruncate(file.get(), static_cast<off_t>(entry.size)) < 0)
    return errno_error(errno, "truncate '{}'", path);
  // The disk begins on large files while the next ones are hashed: the sync at the end of the import has less to wait for.
  if (entry.size >= kWriteBehind) ::sync_file_range(file.get(), 0, 0, SYNC_FILE_RANGE_WRITE);
  TRY(set_metadata(file, entry));
  const timespec times[2] = {entry.modified, entry.modified};
  if (::futimens(file.get(), times) < 0) return errno_error(errno, "utimens '{}'", path);
  return ok();
}

Status LayerTree::add_hard_link(const UniqueFd& parent, const std::string& path, const LayerEntry& entry) {
  TRY_ASSIGN(std::vector<std::string> target, parts_of(entry.target, entry));
  if (target.empty()) return refused(entry, "is a hard link to nothing");
  std::string target_path = join(target, "/");
  if (target_path == path) return ok();
  std::string target_name = std::move(target.back());
  target.pop_back();
  std::string directory = target.empty() ? "." : join(target, "/");
  Result<UniqueFd> holder = open_directory(directory, entry);
  struct stat info {};
  bool found =
      holder.ok() && ::fstatat(holder.value().get(), target_name.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0;
  if (!holder.ok() && holder.error().code() == Code::Invalid) return std::move(holder).error();
  if (!found || S_ISDIR(info.st_mode))
    return refused(entry, fmt::format("is a hard link to '{}', which is no file of the layer", entry.target));
  TRY(clear(parent, path, false));
  const std::string name = path.substr(path.rfind('/') + 1);
  if (::linkat(holder.value().get(), target_name.c_str(), parent.get(), name.c_str(), 0) < 0)
    return errno_error(errno, "link '{}' to '{}'", path, entry.target);
  return ok();
}

// Symbolic links and FIFOs: their metadata is set by name, they cannot be opened.
Status LayerTree::add_special(const UniqueFd& parent, const std::string& path, const LayerEntry& entry) {
  TRY(clear(parent, path, false));
  const std::string name = path.substr(path.rfind('/') + 1);
  bool symlink = entry.type == LayerEntry::Type::Symlink;
  if (symlink && entry.target.empty()) return refused(entry, "is a symbolic link to nothing");
  int made = symlink ? ::symlinkat(entry.target.c_str(), parent.get(), name.c_str())
                     : ::mknodat(parent.get(), name.c_str(), S_IFIFO | 0600, 0);
  if (made < 0) return errno_error(errno, "make '{}'", path);
  if (::fchownat(parent.get(), name.c_str(), entry.uid, entry.gid, AT_SYMLINK_NOFOLLOW) < 0)
    return errno_error(errno, "chown '{}'", path);
  if (!symlink && ::fchmodat(parent.get(), name.c_str(), entry.mode, 0) < 0)
    return errno_error(errno, "chmod '{}'", path);
  const timespec times[2] = {entry.modified, entry.modified};
  if (::utimensat(parent.get(), name.c_str(), times, AT_SYMLINK_NOFOLLOW) < 0)
    return errno_error(errno, "utimens '{}'", path);
  return ok();
}

Status LayerTree::set_metadata(const UniqueFd& fd, const LayerEntry& entry) {
  // In this order: a change of owner clears the setuid bit and security.capability.
  if (::fchown(fd.get(), entry.uid, entry.gid) < 0) return errno_error(errno, "chown '{}'", entry.path);
  if (::fchmod(fd.get(), entry.mode) < 0) return errno_error(errno, "chmod '{}'", entry.path);
  return set_xattrs(fd, entry);
}

Status LayerTree::finish() {
  for (const auto& [path, modified] : directory_times_) {
    Result<UniqueFd> directory = sys::open_beneath(root_, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    if (!directory.ok()) continue;  // a later entry replaced it
    const timespec times[2] = {modified, modified};
    if (::futimens(directory.value().get(), times) < 0) return errno_error(errno, "utimens '{}'", path);
  }
  return ok();
}

}  // namespace skiff::image
