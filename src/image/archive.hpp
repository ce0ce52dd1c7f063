#pragma once
// Reading tar archives through libarchive: a file that may be compressed, hashed on the way.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "base/fd.hpp"
#include "image/digest.hpp"
#include "image/layer_tree.hpp"

struct archive;

namespace skiff::image {

struct ArchiveCloser {
  void operator()(archive* handle) const;
};
using ArchiveHandle = std::unique_ptr<archive, ArchiveCloser>;

/// The bytes of a file that is plain or compressed with gzip, zstd, bzip2 or xz.
class ByteStream {
 public:
  /// At most `limit` bytes come out; more are Code::TooLarge.
  ByteStream(UniqueFd file, std::uint64_t limit);

  Status open();
  /// The next bytes, empty at the end. They live until the next call.
  Result<std::string_view> read();
  /// Reads what is left, for the digests.
  Status drain();
  /// Of the file, and of what it holds. After drain().
  std::string file_digest() { return file_hash_.digest(); }
  std::string content_digest() { return content_hash_.digest(); }

 private:
  friend struct ByteStreamCallbacks;
  std::string_view read_file();

  UniqueFd file_;
  const std::uint64_t limit_;
  std::uint64_t total_ = 0;
  Sha256 file_hash_;
  Sha256 content_hash_;
  std::vector<char> file_buffer_;
  std::vector<char> content_buffer_;
  int file_errno_ = 0;
  ArchiveHandle handle_;  // last: its callbacks use the rest
};

/// The entries of a tar archive.
class TarReader {
 public:
  explicit TarReader(ByteStream& bytes);
  Status open();
  /// The next entry; nothing at the end of the archive.
  Result<std::optional<LayerEntry>> next();
  /// The next piece of the current entry's content; false at its end.
  Result<bool> next_block(ContentBlock& block);

 private:
  friend struct TarCallbacks;
  Error failure() const;

  ByteStream& bytes_;
  std::optional<Error> byte_error_;  // why bytes_ failed, which libarchive cannot carry
  ArchiveHandle handle_;
};

}  // namespace skiff::image
