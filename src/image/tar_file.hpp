#pragma once
// Writing tar archives through libarchive, hashed on the way.

#include <memory>
#include <string>
#include <string_view>

#include "base/error.hpp"
#include "base/fd.hpp"
#include "image/digest.hpp"

struct archive;
struct archive_entry;

namespace skiff::image {

/// A new tar archive. One thread.
class TarFile {
 public:
  static Result<std::unique_ptr<TarFile>> create(const std::string& path);
  ~TarFile();

  /// An entry as libarchive describes it, then its content in pieces.
  Status begin(archive_entry* entry);
  Status write(std::string_view bytes);
  /// A whole plain file.
  Status add(const std::string& name, std::string_view content);
  Status add_file(const std::string& name, const std::string& path);
  /// Writes the end. Nothing may follow.
  Status finish();

  // After finish().
  std::string digest() { return hash_.digest(); }
  std::uint64_t size() const { return size_; }

 private:
  friend struct TarFileCallbacks;
  TarFile(UniqueFd file, std::string path);
  Status begin_file(const std::string& name, std::uint64_t size);
  Error failure() const;

  UniqueFd file_;
  const std::string path_;
  Sha256 hash_;
  std::uint64_t size_ = 0;
  archive* handle_;
};

/// Packs what is beneath `directory` into the new archive `path`, as it once came: whiteouts for overlayfs become those of
/// the image specification. The same files give the same bytes.
Result<std::unique_ptr<TarFile>> pack_layer(const std::string& directory, const std::string& path);

}  // namespace skiff::image
