#pragma once
// std::mutex with the annotations that clang's thread-safety analysis reads (g++ ignores them).

#include <condition_variable>
#include <mutex>

#if defined(__clang__)
#define SKIFF_ANNOTATE(x) __attribute__((x))
#else
#define SKIFF_ANNOTATE(x)
#endif
#define GUARDED_BY(m) SKIFF_ANNOTATE(guarded_by(m))
#define REQUIRES(m) SKIFF_ANNOTATE(requires_capability(m))
#define EXCLUDES(m) SKIFF_ANNOTATE(locks_excluded(m))

namespace skiff {

class SKIFF_ANNOTATE(capability("mutex")) Mutex {
 public:
  void lock() SKIFF_ANNOTATE(acquire_capability()) { mutex_.lock(); }
  void unlock() SKIFF_ANNOTATE(release_capability()) { mutex_.unlock(); }

 private:
  std::mutex mutex_;
};

/// Holds a Mutex for a scope; waits on a CondVar release it meanwhile.
class SKIFF_ANNOTATE(scoped_lockable) MutexLock {
 public:
  explicit MutexLock(Mutex& mutex) SKIFF_ANNOTATE(acquire_capability(mutex)) : mutex_(mutex) { mutex_.lock(); }
  ~MutexLock() SKIFF_ANNOTATE(release_capability()) { mutex_.unlock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;
  Mutex& mutex() { return mutex_; }

 private:
  Mutex& mutex_;
};

/// Waits on a Mutex; see Clock::wait for waits with a deadline and a stop token.
using CondVar = std::condition_variable_any;

}  // namespace skiff
