#include "memory.hpp"

namespace skiff::init {

void* allocate(size_t size) {
  void* memory = malloc(size);
  if (memory == nullptr) abort();
  return memory;
}

void* reallocate(void* old, size_t size) {
  void* memory = realloc(old, size);
  if (memory == nullptr) abort();
  return memory;
}

char* copy_text(const char* text) {
  size_t size = strlen(text) + 1;
  return static_cast<char*>(memcpy(allocate(size), text, size));
}

}  // namespace skiff::init

void* operator new(size_t size) { return skiff::init::allocate(size); }
void operator delete(void* memory) noexcept { free(memory); }
void operator delete(void* memory, size_t) noexcept { free(memory); }
