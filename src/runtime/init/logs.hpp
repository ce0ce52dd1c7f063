#pragma once
// A container's output as the kubelet reads it: "<RFC 3339 time> stdout F <line>\n", P instead of F for a
// line that goes on in the next entry. Files rotate by size: name, name.1 (the newest before), name.2, ...

#include <stdint.h>

#include "events.hpp"
#include "memory.hpp"

namespace skiff::init {

class LogFile {
 public:
  ~LogFile() { free(path_); }
  /// False with errno. Parent directories must exist.
  bool open_at(const char* path, uint64_t max_bytes, uint64_t max_files);
  /// Opens the path anew, for whoever has renamed the file.
  bool reopen();
  void write_entries(const Buffer& entries);

 private:
  void rotate();
  char* path_ = nullptr;
  Fd fd_;
  uint64_t size_ = 0;
  uint64_t max_bytes_ = 0;
  uint64_t max_files_ = 1;
};

/// One of stdout and stderr, from the pipe (or terminal) to the log and to whoever is attached.
class LogStream {
 public:
  LogStream(Events& events, LogFile& log, const char* name) : events_(events), log_(log), name_(name) {}
  ~LogStream() { close_all(); }

  void start(Fd readable);
  bool open() const { return fd_.valid(); }
  /// A descriptor that receives a copy of what is read from now on. It is closed rather than waited for.
  void add_tap(int writable);
  /// Keeps what comes until somebody attaches, and hands it to the first who does: whoever starts a program to talk with
  /// it misses nothing that it said meanwhile.
  void keep_early() { keeps_early_ = true; }
  /// Takes everything that is there without waiting, then closes: the writers have ended.
  void finish();

 private:
  static void on_ready(Source& self, uint32_t events);
  bool read_once();  // false at the end, or when nothing is there
  void log(const char* data, size_t size);
  void entry(char kind, const char* data, size_t size);
  void remember(const char* data, size_t size);
  void copy_to_taps(const char* data, size_t size);
  void close_all();

  Events& events_;
  LogFile& log_;
  const char* name_;
  Fd fd_;
  Source source_;
  Buffer line_;     // the start of a line whose end was not read yet
  Buffer entries_;  // formatted, written at the end of each read
  Array<int> taps_;
  Buffer early_;
  bool keeps_early_ = false;
  bool ended_ = false;
};

}  // namespace skiff::init
