#include "image/tar_file.hpp"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "sys/files.hpp"

namespace skiff::image {

struct TarFileCallbacks {
  static la_ssize_t write(archive* handle, void* self, const void* data, size_t size) {
    TarFile& out = *static_cast<TarFile*>(self);
    std::string_view bytes(static_cast<const char*>(data), size);
    if (Status written = sys::write_all(out.file_, bytes, out.path_); !written.ok()) {
      archive_set_error(handle, written.error().sys_errno(), "%s", written.error().message().c_str());
      return -1;
    }
    out.hash_.add(bytes);
    out.size_ += size;
    return static_cast<la_ssize_t>(size);
  }
};

TarFile::TarFile(UniqueFd file, std::string path)
    : file_(std::move(file)), path_(std::move(path)), handle_(archive_write_new()) {
  archive_write_set_format_pax_restricted(handle_);
}

TarFile::~TarFile() { archive_write_free(handle_); }

Result<std::unique_ptr<TarFile>> TarFile::create(const std::string& path) {
  TRY_ASSIGN(UniqueFd file, sys::open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600));
  std::unique_ptr<TarFile> tar(new TarFile(std::move(file), path));
  if (archive_write_open(tar->handle_, tar.get(), nullptr, TarFileCallbacks::write, nullptr) != ARCHIVE_OK)
    return tar->failure();
  return tar;
}

Error TarFile::failure() const {
  const char* message = archive_error_string(handle_);
  return error(Code::System, "{}", message ? message : "write '" + path_ + "' failed");
}

Status TarFile::begin(archive_entry* entry) {
  return archive_write_header(handle_, entry) == ARCHIVE_OK ? ok() : Status(failure());
}

Status TarFile::write(std::string_view bytes) {
  return archive_write_data(handle_, bytes.data(), bytes.size()) < 0 ? Status(failure()) : ok();
}

Status TarFile::begin_file(const std::string& name, std::uint64_t size) {
  archive_entry* entry = archive_entry_new();
  archive_entry_set_pathname(entry, name.c_str());
  archive_entry_set_filetype(entry, AE_IFREG);
  archive_entry_set_perm(entry, 0644);
  archive_entry_set_size(entry, static_cast<la_int64_t>(size));
  archive_entry_set_mtime(entry, 0, 0);
  Status begun = begin(entry);
  archive_entry_free(entry);
  return begun;
}

Status TarFile::add(const std::string& name, std::string_view content) {
  TRY(begin_file(name, content.size()));
  return write(content);
}

Status TarFile::add_file(const std::string& name, const std::string& path) {
  TRY_ASSIGN(UniqueFd file, sys::open(path, O_RDONLY));
  TRY_ASSIGN(struct stat info, sys::stat_of(path));
  TRY(begin_file(name, static_cast<std::uint64_t>(info.st_size)));
  while (true) {
    TRY_ASSIGN(std::string part, sys::read_some(file, 256U << 10, path));
    if (part.empty()) return ok();
    TRY(write(part));
  }
}

Status TarFile::finish() { return archive_write_close(handle_) == ARCHIVE_OK ? ok() : Status(failure()); }

}  // namespace skiff::image
