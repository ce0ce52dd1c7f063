#include "logs.hpp"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <time.h>

namespace skiff::init {
namespace {

constexpr size_t kMaxLine = 16384;  // the CRI's limit for one entry
constexpr size_t kReadSize = 65536;
constexpr size_t kMaxEarly = 65536;
char read_buffer[kReadSize];  // one for all: this program has one thread

}  // namespace

bool LogFile::open_at(const char* path, uint64_t max_bytes, uint64_t max_files) {
  path_ = copy_text(path);
  max_bytes_ = max_bytes;
  max_files_ = max_files;
  return reopen();
}

bool LogFile::reopen() {
  if (path_ == nullptr || *path_ == '\0') return true;
  Fd fd(open(path_, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0640));
  struct stat info {};
  if (!fd.valid() || fstat(fd.get(), &info) < 0) return false;
  size_ = static_cast<uint64_t>(info.st_size);
  fd_ = static_cast<Fd&&>(fd);
  return true;
}

void LogFile::rotate() {
  char from[4200], to[4200];
  for (uint64_t i = max_files_ - 1; i >= 1; --i) {
    snprintf(to, sizeof to, "%s.%lu", path_, i);
    if (i == 1)
      snprintf(from, sizeof from, "%s", path_);
    else
      snprintf(from, sizeof from, "%s.%lu", path_, i - 1);
    rename(from, to);  // missing ones are fine
  }
  if (max_files_ <= 1) unlink(path_);
  if (!reopen()) fprintf(stderr, "skiff-init: reopen log %s: %s\n", path_, strerror(errno));
}

void LogFile::write_entries(const Buffer& entries) {
  if (!fd_.valid() || entries.size() == 0) return;
  if (size_ > 0 && size_ + entries.size() > max_bytes_) rotate();
  for (size_t done = 0; done < entries.size();) {
    ssize_t written = write(fd_.get(), entries.data() + done, entries.size() - done);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return;  // a full disk loses log lines, not the container
    done += static_cast<size_t>(written);
    size_ += static_cast<uint64_t>(written);
  }
}

void LogStream::start(Fd readable) {
  fd_ = static_cast<Fd&&>(readable);
  fcntl(fd_.get(), F_SETFL, fcntl(fd_.get(), F_GETFL) | O_NONBLOCK);
  source_ = {&on_ready, this};
  events_.watch(fd_.get(), EPOLLIN, source_);
}

void LogStream::on_ready(Source& self, uint32_t) {
  auto& stream = *static_cast<LogStream*>(self.owner);
  stream.read_once();
  if (stream.ended_) stream.finish();
}

bool LogStream::read_once() {
  ssize_t got = read(fd_.get(), read_buffer, sizeof read_buffer);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return false;
  if (got <= 0) {  // a terminal whose other side is closed says EIO
    ended_ = true;
    return false;
  }
  remember(read_buffer, static_cast<size_t>(got));
  copy_to_taps(read_buffer, static_cast<size_t>(got));
  log(read_buffer, static_cast<size_t>(got));
  return true;
}

void LogStream::add_tap(int writable) {
  taps_.push(writable);
  if (early_.size() > 0) copy_to_taps(early_.data(), early_.size());
  early_.release();
  keeps_early_ = false;
}

/// A program that says so much has not waited for anybody.
void LogStream::remember(const char* data, size_t size) {
  if (!keeps_early_) return;
  if (early_.size() + size <= kMaxEarly) return early_.append(data, size);
  early_.release();
  keeps_early_ = false;
}

void LogStream::log(const char* data, size_t size) {
  while (size > 0) {
    size_t limit = kMaxLine - line_.size() < size ? kMaxLine - line_.size() : size;
    auto* newline = static_cast<const char*>(memchr(data, '\n', limit));
    size_t part = newline != nullptr ? static_cast<size_t>(newline - data) : limit;
    line_.append(data, part);
    if (newline != nullptr)
      entry('F', line_.data(), line_.size());
    else if (line_.size() == kMaxLine)
      entry('P', line_.data(), line_.size());
    if (newline != nullptr || line_.size() == kMaxLine) line_.clear();
    size_t used = part + (newline != nullptr ? 1 : 0);
    data += used;
    size -= used;
  }
  log_.write_entries(entries_);
  entries_.clear();
  if (line_.size() == 0) {  // idle containers hold no buffers
    line_.release();
    entries_.release();
  }
}

void LogStream::entry(char kind, const char* data, size_t size) {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  tm parts{};
  gmtime_r(&now.tv_sec, &parts);
  char head[64];
  size_t length = strftime(head, sizeof head, "%Y-%m-%dT%H:%M:%S", &parts);
  length += static_cast<size_t>(
      snprintf(head + length, sizeof head - length, ".%09ldZ %s %c ", now.tv_nsec, name_, kind));
  entries_.append(head, length);
  entries_.append(data, size);
  entries_.append("\n", 1);
}

void LogStream::copy_to_taps(const char* data, size_t size) {
  for (size_t i = taps_.size(); i-- > 0;) {
    int tap = taps_[i];
    if (write(tap, data, size) == static_cast<ssize_t>(size)) continue;
    taps_.remove(tap);  // gone, or so slow that the container would have to wait for it
    close(tap);
  }
}

void LogStream::finish() {
  if (!fd_.valid()) return;
  while (!ended_ && read_once()) {
  }
  if (line_.size() > 0) {
    entry('P', line_.data(), line_.size());  // it never got its newline
    log_.write_entries(entries_);
  }
  line_.release();
  entries_.release();
  close_all();
}

void LogStream::close_all() {
  if (fd_.valid()) events_.forget(fd_.get());
  fd_.reset();
  for (int tap : taps_) close(tap);
  while (taps_.size() > 0) taps_.remove(taps_[0]);
}

}  // namespace skiff::init
