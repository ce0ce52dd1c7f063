// pack_layer: from a directory for overlayfs back to a layer.

#include <archive_entry.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include <algorithm>
#include <map>
#include <memory>
#include <vector>

#include "image/tar_file.hpp"
#include "sys/files.hpp"

namespace skiff::image {
namespace {

struct EntryCloser {
  void operator()(archive_entry* entry) const { archive_entry_free(entry); }
};
using Entry = std::unique_ptr<archive_entry, EntryCloser>;

class LayerWriter {
 public:
  LayerWriter(const std::string& root, TarFile& tar) : root_(root), tar_(tar) {}

  // Directories before what is in them, names in order.
  Status add_tree(const std::string& directory) {
    TRY_ASSIGN(std::vector<std::string> names, sys::list_directory(root_ + directory));
    std::sort(names.begin(), names.end());
    for (const std::string& name : names) {
      const std::string path = directory + "/" + name;
      struct stat info {};
      if (::lstat((root_ + path).c_str(), &info) < 0) return errno_error(errno, "stat '{}'", path);
      TRY(add(path, info));
      if (!S_ISDIR(info.st_mode)) continue;
      if (is_opaque(path)) TRY(add_mark(path + "/.wh..wh..opq", info));
      TRY(add_tree(path));
    }
    return ok();
  }

 private:
  bool is_opaque(const std::string& path) const {
    char value = 0;
    return ::lgetxattr((root_ + path).c_str(), "trusted.overlay.opaque", &value, 1) == 1 && value == 'y';
  }

  Status add_mark(const std::string& path, const struct stat& like) {
    Entry entry(archive_entry_new());
    archive_entry_set_pathname(entry.get(), path.c_str() + 1);
    archive_entry_set_filetype(entry.get(), AE_IFREG);
    archive_entry_set_perm(entry.get(), 0644);
    archive_entry_set_size(entry.get(), 0);
    archive_entry_set_mtime(entry.get(), like.st_mtim.tv_sec, 0);
    return tar_.begin(entry.get());
  }

  Status add(const std::string& path, const struct stat& info) {
    if (S_ISCHR(info.st_mode) && info.st_rdev == 0) {
      size_t slash = path.rfind('/');
      return add_mark(path.substr(0, slash) + "/.wh." + path.substr(slash + 1), info);
    }
    if (S_ISSOCK(info.st_mode)) return ok();  // as every other tool: a socket means nothing in an archive
    Entry entry(archive_entry_new());
    archive_entry_copy_stat(entry.get(), &info);
    archive_entry_set_pathname(entry.get(), path.c_str() + 1);
    if (S_ISLNK(info.st_mode)) {
      TRY_ASSIGN(std::string target, sys::read_link(root_ + path));
      archive_entry_set_symlink(entry.get(), target.c_str());
    }
    bool content = S_ISREG(info.st_mode);
    if (content && info.st_nlink > 1) {
      auto [first, is_new] = linked_.emplace(info.st_ino, path);
      if (!is_new) {
        archive_entry_set_hardlink(entry.get(), first->second.c_str() + 1);
        archive_entry_set_size(entry.get(), 0);
        content = false;
      }
    }
    add_xattrs(entry.get(), path);
    TRY(tar_.begin(entry.get()));
    return content ? add_content(path) : ok();
  }

  void add_xattrs(archive_entry* entry, const std::string& path) const {
    char names[65536];
    ssize_t size = ::llistxattr((root_ + path).c_str(), names, sizeof names);
    for (ssize_t at = 0; at < size; at += static_cast<ssize_t>(std::string_view(names + at).size()) + 1) {
      std::string_view name = names + at;
      if (name != "security.capability" && !name.starts_with("user.")) continue;
      char value[65536];
      ssize_t length = ::lgetxattr((root_ + path).c_str(), names + at, value, sizeof value);
      if (length >= 0) archive_entry_xattr_add_entry(entry, names + at, value, static_cast<size_t>(length));
    }
  }

  Status add_content(const std::string& path) {
    TRY_ASSIGN(UniqueFd file, sys::open(root_ + path, O_RDONLY | O_NOFOLLOW));
    while (true) {
      TRY_ASSIGN(std::string part, sys::read_some(file, 256U << 10, path));
      if (part.empty()) return ok();
      TRY(tar_.write(part));
    }
  }

  const std::string root_;
  TarFile& tar_;
  std::map<ino_t, std::string> linked_;  // first name of files with several
};

}  // namespace

Result<std::unique_ptr<TarFile>> pack_layer(const std::string& directory, const std::string& path) {
  TRY_ASSIGN(std::unique_ptr<TarFile> tar, TarFile::create(path));
  TRY(LayerWriter(directory, *tar).add_tree(""));
  TRY(tar->finish());
  return tar;
}

}  // namespace skiff::image
