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

/// A file, or a part of one, to be read from where it stands.
struct Blob {
  UniqueFd file;
  std::optional<std::uint64_t> size = std::nullopt;  // of the part; nothing: to the end of the file

  /// The next bytes, empty at the end.
  Result<std::string_view> read(std::vector<char>& buffer);
};

/// The bytes of a blob that is plain or compressed with gzip, zstd, bzip2 or xz.
class ByteStream {
 public:
  /// At most `limit` bytes come out; more are Code::TooLarge.
  ByteStream(Blob blob, std::uint64_t limit);

  Status open();
  /// The next bytes, empty at the end. They live until the next call.
  Result<std::string_view> read();
  /// Reads what is left, for the digests.
  Status drain();
  /// Of the blob, and of what it holds. After drain().
  std::string file_digest() { return file_hash_.digest(); }
  /// Nobody will ask for file_digest(). Before open().
  void skip_file_digest() { hash_file_ = false; }
  std::string content_digest() { return content_hash_.digest(); }

 private:
  friend struct ByteStreamCallbacks;
  std::string_view read_file();

  Blob blob_;
  const std::uint64_t limit_;
  bool hash_file_ = true;
  std::uint64_t total_ = 0;
  Sha256 file_hash_;
  Sha256 content_hash_;
  std::vector<char> file_buffer_;
  std::vector<char> content_buffer_;
  int file_errno_ = 0;
  ArchiveHandle handle_;  // last: its callbacks use the rest
};

/// A file of a tar archive that is itself a plain file: where its content lies.
struct TarMember {
  LayerEntry entry;
  std::uint64_t offset = 0;
  std::optional<std::uint64_t> size;  // nothing: it does not lie there in one piece
};
/// The members of the tar archive `file`, found by their headers alone, so in no time however long they are. Nothing: the
/// archive is compressed. TooLarge: more than `limit` members.
Result<std::optional<std::vector<TarMember>>> list_members(const UniqueFd& file, size_t limit);

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
