#pragma once
// Writing the files of a layer, as a stranger's archive lists them, into a directory that overlayfs can take
// as a lower one. Everything stays beneath the directory, and no symbolic link is ever followed.

#include <sys/stat.h>

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.hpp"
#include "base/fd.hpp"

namespace skiff::image {

struct LayerEntry {
  enum class Type : std::uint8_t { File, Directory, Symlink, HardLink, Fifo, Device };
  Type type = Type::File;
  std::string path;    // as in the archive: "./usr/bin/env"
  std::string target;  // of a link
  mode_t mode = 0;     // permission bits, with setuid, setgid and sticky
  uid_t uid = 0;
  gid_t gid = 0;
  timespec modified{};
  std::uint64_t size = 0;
  std::map<std::string, std::string> xattrs;
};

/// A piece of a file's content. Pieces come in order; what lies between them is zero.
struct ContentBlock {
  std::string_view data;  // until the next one
  std::uint64_t offset = 0;
};
/// The next piece of the current file; false at its end.
using NextBlock = std::function<Result<bool>(ContentBlock&)>;

/// One layer being written. Not synchronised.
class LayerTree {
 public:
  /// `directory` exists and is empty.
  static Result<LayerTree> open(const std::string& directory);

  /// Invalid, naming the entry: its path leads out of the layer or through a link, or its link target is not
  /// in the layer. Device nodes are left out and counted.
  Status add(const LayerEntry& entry, const NextBlock& next);
  /// Sets the times of the directories. Call once, after the last entry.
  Status finish();

  std::uint64_t bytes() const { return bytes_; }  // of file content
  std::uint64_t devices_skipped() const { return devices_; }

 private:
  LayerTree(std::string directory, UniqueFd root)
      : directory_(std::move(directory)), root_(std::move(root)) {}

  Result<const UniqueFd*> parent_of(const LayerEntry& entry, const std::vector<std::string>& parts);
  Result<UniqueFd> open_directory(const std::string& path, const LayerEntry& entry);
  Result<bool> clear(const UniqueFd& parent, const std::string& path, bool keep_directory);
  Status add_whiteout(const UniqueFd& parent, const std::string& path, std::string_view name);
  Status add_directory(const UniqueFd& parent, const std::string& path, const LayerEntry& entry);
  Status add_file(const UniqueFd& parent, const std::string& path, const LayerEntry& entry,
                  const NextBlock& next);
  Status add_hard_link(const UniqueFd& parent, const std::string& path, const LayerEntry& entry);
  Status add_special(const UniqueFd& parent, const std::string& path, const LayerEntry& entry);
  Status set_metadata(const UniqueFd& fd, const LayerEntry& entry);

  std::string directory_;
  UniqueFd root_;
  std::string parent_path_;  // of parent_: archives list a directory's files together
  UniqueFd parent_;
  std::vector<std::pair<std::string, timespec>> directory_times_;
  std::uint64_t bytes_ = 0;
  std::uint64_t devices_ = 0;
};

}  // namespace skiff::image
