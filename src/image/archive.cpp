#include "image/archive.hpp"

#include <archive.h>
#include <archive_entry.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>

#include "sys/files.hpp"

namespace skiff::image {

namespace {

constexpr size_t kBuffer = 256U << 10;
constexpr std::string_view kUnrecognized = "Unrecognized archive format";
constexpr std::int64_t kIdLimit = std::numeric_limits<std::uint32_t>::max();  // (uid_t)-1 means "keep"

// libarchive gives null for a name that does not fit the locale; UTF-8 ones then come from the second form.
std::string text_or(const char* plain, const char* utf8) {
  if (plain != nullptr) return plain;
  return utf8 != nullptr ? utf8 : "";
}

std::map<std::string, std::string> xattrs_of(archive_entry* entry) {
  std::map<std::string, std::string> out;
  archive_entry_xattr_reset(entry);
  const char* name = nullptr;
  const void* value = nullptr;
  size_t size = 0;
  while (archive_entry_xattr_next(entry, &name, &value, &size) == ARCHIVE_OK)
    if (name != nullptr) out[name] = std::string(static_cast<const char*>(value), size);
  return out;
}

LayerEntry::Type type_of(archive_entry* entry) {
  if (archive_entry_hardlink(entry) != nullptr || archive_entry_hardlink_utf8(entry) != nullptr)
    return LayerEntry::Type::HardLink;
  switch (archive_entry_filetype(entry)) {
    case AE_IFDIR:
      return LayerEntry::Type::Directory;
    case AE_IFLNK:
      return LayerEntry::Type::Symlink;
    case AE_IFIFO:
      return LayerEntry::Type::Fifo;
    case AE_IFREG:
      return LayerEntry::Type::File;
    default:
      return LayerEntry::Type::Device;
  }
}

Result<LayerEntry> entry_from(archive_entry* entry) {
  LayerEntry out;
  out.type = type_of(entry);
  out.path = text_or(archive_entry_pathname(entry), archive_entry_pathname_utf8(entry));
  if (out.path.empty()) return error(Code::Invalid, "an entry has no usable name");
  if (out.type == LayerEntry::Type::HardLink)
    out.target = text_or(archive_entry_hardlink(entry), archive_entry_hardlink_utf8(entry));
  if (out.type == LayerEntry::Type::Symlink)
    out.target = text_or(archive_entry_symlink(entry), archive_entry_symlink_utf8(entry));
  std::int64_t uid = archive_entry_uid(entry), gid = archive_entry_gid(entry);
  if (uid < 0 || uid >= kIdLimit || gid < 0 || gid >= kIdLimit)
    return error(Code::Invalid, "entry '{}' has owner {}:{}, which no file can have", out.path, uid, gid);
  out.uid = static_cast<uid_t>(uid);
  out.gid = static_cast<gid_t>(gid);
  out.mode = archive_entry_perm(entry);
  out.modified = {archive_entry_mtime(entry), archive_entry_mtime_nsec(entry)};
  if (archive_entry_size(entry) < 0) return error(Code::Invalid, "entry '{}' has a negative size", out.path);
  out.size = static_cast<std::uint64_t>(archive_entry_size(entry));
  out.xattrs = xattrs_of(entry);
  return out;
}

std::string message_of(archive* handle) {
  const char* message = archive_error_string(handle);
  return message != nullptr ? message : "damaged archive";
}

}  // namespace

void ArchiveCloser::operator()(archive* handle) const { archive_read_free(handle); }

struct ByteStreamCallbacks {
  static la_ssize_t read(archive* handle, void* self, const void** buffer) {
    auto& stream = *static_cast<ByteStream*>(self);
    std::string_view bytes = stream.read_file();
    *buffer = bytes.data();
    if (stream.file_errno_ == 0) return static_cast<la_ssize_t>(bytes.size());
    archive_set_error(handle, stream.file_errno_, "read: %s", std::strerror(stream.file_errno_));
    return ARCHIVE_FATAL;
  }
};

Result<std::string_view> Blob::read(std::vector<char>& buffer) {
  size_t wanted = std::min<std::uint64_t>(buffer.size(), size.value_or(buffer.size()));
  if (wanted == 0) return std::string_view();
  ssize_t got = sys::retry_eintr([&] { return ::read(file.get(), buffer.data(), wanted); });
  if (got < 0) return errno_error(errno, "read");
  if (size) *size -= static_cast<std::uint64_t>(got);
  return std::string_view(buffer.data(), static_cast<size_t>(got));
}

ByteStream::ByteStream(Blob blob, std::uint64_t limit)
    : blob_(std::move(blob)),
      limit_(limit),
      file_buffer_(kBuffer),
      content_buffer_(kBuffer),
      handle_(archive_read_new()) {}

std::string_view ByteStream::read_file() {
  Result<std::string_view> bytes = blob_.read(file_buffer_);
  if (!bytes.ok()) {
    file_errno_ = bytes.error().sys_errno();
    return {};
  }
  if (hash_file_) file_hash_.add(bytes.value());
  return bytes.value();
}

Status ByteStream::open() {
  archive* handle = handle_.get();
  archive_read_support_filter_gzip(handle);
  archive_read_support_filter_zstd(handle);
  archive_read_support_filter_bzip2(handle);
  archive_read_support_filter_xz(handle);
  archive_read_support_format_raw(handle);
  archive_entry* entry = nullptr;
  if (archive_read_open(handle, this, nullptr, ByteStreamCallbacks::read, nullptr) == ARCHIVE_OK &&
      archive_read_next_header(handle, &entry) == ARCHIVE_OK)
    return ok();
  std::string message = message_of(handle);
  // The raw format takes any bytes: only their absence is not recognized.
  if (message.find(kUnrecognized) != std::string::npos) message = "the file is empty";
  return error(Code::Invalid, "{}", message);
}

Result<std::string_view> ByteStream::read() {
  la_ssize_t size = archive_read_data(handle_.get(), content_buffer_.data(), content_buffer_.size());
  if (size < 0) return error(Code::Invalid, "{}", message_of(handle_.get()));
  std::string_view bytes(content_buffer_.data(), static_cast<size_t>(size));
  total_ += bytes.size();
  if (total_ > limit_) return error(Code::TooLarge, "unpacks to more than {} bytes", limit_);
  content_hash_.add(bytes);
  return bytes;
}

Status ByteStream::drain() {
  while (true) {
    TRY_ASSIGN(std::string_view bytes, read());
    if (bytes.empty()) break;
  }
  while (!read_file().empty()) {  // behind the end of a compressed stream
  }
  if (file_errno_ != 0) return errno_error(file_errno_, "read");
  return ok();
}

namespace {

// The content of the member before ends where this one's header begins, filled up to whole records.
void close_member(TarMember& member, std::uint64_t end) {
  constexpr std::uint64_t kRecord = 512;
  std::uint64_t padded = (member.entry.size + kRecord - 1) / kRecord * kRecord;
  if (member.entry.type != LayerEntry::Type::File || padded > end) return;
  member.offset = end - padded;
  member.size = member.entry.size;
}

}  // namespace

Result<std::optional<std::vector<TarMember>>> list_members(const UniqueFd& file, size_t limit) {
  using Members = std::optional<std::vector<TarMember>>;
  ArchiveHandle handle(archive_read_new());
  archive_read_support_format_tar(handle.get());
  struct stat info {};
  if (::fstat(file.get(), &info) < 0 || !S_ISREG(info.st_mode) || ::lseek(file.get(), 0, SEEK_SET) < 0) return Members();
  if (archive_read_open_fd(handle.get(), file.get(), 10240) != ARCHIVE_OK) return Members();
  Members members(std::in_place);
  bool sparse = false;
  while (true) {
    archive_entry* entry = nullptr;
    int result = archive_read_next_header(handle.get(), &entry);
    if (result != ARCHIVE_OK && result != ARCHIVE_WARN && result != ARCHIVE_EOF) return Members();
    // At the end the position is no header's.
    if (!members->empty() && result != ARCHIVE_EOF && !sparse)
      close_member(members->back(), static_cast<std::uint64_t>(archive_read_header_position(handle.get())));
    if (result == ARCHIVE_EOF) return members;
    if (members->size() >= limit) return error(Code::TooLarge, "more than {} files", limit);
    sparse = archive_entry_sparse_count(entry) > 0;
    TRY_ASSIGN(LayerEntry next, entry_from(entry));
    members->push_back({std::move(next), static_cast<std::uint64_t>(archive_read_header_position(handle.get())), {}});
  }
}

struct TarCallbacks {
  static la_ssize_t read(archive* handle, void* self, const void** buffer) {
    auto& reader = *static_cast<TarReader*>(self);
    Result<std::string_view> bytes = reader.bytes_.read();
    if (bytes.ok()) {
      *buffer = bytes.value().data();
      return static_cast<la_ssize_t>(bytes.value().size());
    }
    archive_set_error(handle, EIO, "%s", bytes.error().message().c_str());
    reader.byte_error_ = bytes.error();
    return ARCHIVE_FATAL;
  }
};

TarReader::TarReader(ByteStream& bytes) : bytes_(bytes), handle_(archive_read_new()) {}

Status TarReader::open() {
  archive_read_support_format_tar(handle_.get());
  if (archive_read_open(handle_.get(), this, nullptr, TarCallbacks::read, nullptr) != ARCHIVE_OK)
    return failure();
  return ok();
}

Error TarReader::failure() const {
  if (byte_error_) return *byte_error_;
  std::string message = message_of(handle_.get());
  if (message.find(kUnrecognized) != std::string::npos) message = "this is no tar archive";
  return error(Code::Invalid, "{}", message);
}

Result<std::optional<LayerEntry>> TarReader::next() {
  archive_entry* entry = nullptr;
  int result = archive_read_next_header(handle_.get(), &entry);
  if (result == ARCHIVE_EOF) return std::optional<LayerEntry>();
  // A warning is about a name that does not fit the locale; we take the bytes.
  if (result != ARCHIVE_OK && result != ARCHIVE_WARN) return failure();
  TRY_ASSIGN(LayerEntry next, entry_from(entry));
  return std::optional(std::move(next));
}

Result<bool> TarReader::next_block(ContentBlock& block) {
  const void* data = nullptr;
  size_t size = 0;
  la_int64_t offset = 0;
  int result = archive_read_data_block(handle_.get(), &data, &size, &offset);
  if (result == ARCHIVE_EOF) return false;
  if (result != ARCHIVE_OK && result != ARCHIVE_WARN) return failure();
  block = {{static_cast<const char*>(data), size}, static_cast<std::uint64_t>(offset)};
  return true;
}

}  // namespace skiff::image
