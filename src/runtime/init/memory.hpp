#pragma once
// What skiff-init has instead of the C++ library: owners and growing arrays over malloc. Out of memory ends
// the program (and with it the node): there is nothing sensible left to do for PID 1.

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

namespace skiff::init {

void* allocate(size_t size);
void* reallocate(void* old, size_t size);
char* copy_text(const char* text);

class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) : fd_(other.release()) {}
  Fd& operator=(Fd&& other) {
    reset(other.release());
    return *this;
  }
  ~Fd() { reset(); }
  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }
  int release() {
    int fd = fd_;
    fd_ = -1;
    return fd;
  }
  void reset(int fd = -1) {
    if (fd_ >= 0 && fd_ != fd) close(fd_);
    fd_ = fd;
  }

 private:
  int fd_ = -1;
};

class Buffer {
 public:
  Buffer() = default;
  Buffer(Buffer&& other) : data_(other.data_), size_(other.size_), capacity_(other.capacity_) {
    other.forget();
  }
  Buffer& operator=(Buffer&& other) {
    if (this != &other) {
      free(data_);
      data_ = other.data_, size_ = other.size_, capacity_ = other.capacity_;
      other.forget();
    }
    return *this;
  }
  ~Buffer() { free(data_); }

  char* data() { return data_; }
  const char* data() const { return data_; }
  size_t size() const { return size_; }
  void append(const char* data, size_t size) {
    if (size == 0) return;
    memcpy(room(size), data, size);
    size_ += size;
  }
  /// Space for `size` more bytes after the end; grown() says how many were used.
  char* room(size_t size) {
    if (capacity_ - size_ < size) {
      capacity_ = size_ + size > 2 * capacity_ ? size_ + size : 2 * capacity_;
      data_ = static_cast<char*>(reallocate(data_, capacity_));
    }
    return data_ + size_;
  }
  void grown(size_t size) { size_ += size; }
  /// Drops bytes at the front.
  void consume(size_t size) {
    size_ -= size;
    if (size_ > 0) memmove(data_, data_ + size, size_);
  }
  void clear() { size_ = 0; }
  /// Gives the memory back.
  void release() { *this = Buffer(); }

 private:
  void forget() { data_ = nullptr, size_ = capacity_ = 0; }
  char* data_ = nullptr;
  size_t size_ = 0;
  size_t capacity_ = 0;
};

/// An array of values that memcpy may move (pointers, numbers, plain structs).
template <class T>
class Array {
 public:
  Array() = default;
  Array(const Array&) = delete;
  Array& operator=(const Array&) = delete;
  ~Array() { free(items_); }

  void push(const T& item) {
    if (size_ == capacity_) {
      capacity_ = capacity_ == 0 ? 4 : 2 * capacity_;
      items_ = static_cast<T*>(reallocate(items_, capacity_ * sizeof(T)));
    }
    items_[size_++] = item;
  }
  void remove(const T& item) {
    for (size_t i = 0; i < size_; ++i) {
      if (items_[i] == item) {
        memmove(items_ + i, items_ + i + 1, (size_ - i - 1) * sizeof(T));
        --size_;
        return;
      }
    }
  }
  size_t size() const { return size_; }
  T* begin() { return items_; }
  T* end() { return items_ + size_; }
  const T* begin() const { return items_; }
  const T* end() const { return items_ + size_; }
  T& operator[](size_t i) { return items_[i]; }
  const T& operator[](size_t i) const { return items_[i]; }

 private:
  T* items_ = nullptr;
  size_t size_ = 0;
  size_t capacity_ = 0;
};

}  // namespace skiff::init

// Placement and plain new, which the C++ library would bring.
void* operator new(size_t size);
void operator delete(void* memory) noexcept;
void operator delete(void* memory, size_t size) noexcept;
