#include "controllers/slow_start.hpp"

#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

#include "base/mutex.hpp"

namespace skiff::controllers {
namespace {

// Enough for the store to commit a batch at once; more would only wait for each other.
constexpr int kMaxThreads = 8;

class Batch {
 public:
  Batch(int size, const std::function<Status()>& make) : left_(size), make_(make) {}

  void run() {
    while (left_.fetch_sub(1) > 0) {
      Status made = make_();
      MutexLock lock(mutex_);
      if (made.ok())
        ++result_.done;
      else
        result_.error = std::move(made).error();
    }
  }
  SlowStart result() {
    MutexLock lock(mutex_);
    return result_;
  }

 private:
  std::atomic<int> left_;
  const std::function<Status()>& make_;
  Mutex mutex_;
  SlowStart result_ GUARDED_BY(mutex_);
};

SlowStart run_batch(int size, const std::function<Status()>& make) {
  Batch batch(size, make);
  {
    std::vector<std::jthread> helpers;
    for (int i = 1; i < std::min(size, kMaxThreads); ++i) helpers.emplace_back([&batch] { batch.run(); });
    batch.run();
  }
  return batch.result();
}

}  // namespace

SlowStart slow_start(int count, const std::function<Status()>& make) {
  SlowStart total;
  for (int size = 1; count > 0; size *= 2) {
    size = std::min(size, count);
    SlowStart batch = run_batch(size, make);
    total.done += batch.done;
    count -= size;
    if (!batch.error) continue;
    total.error = std::move(batch.error);
    break;
  }
  return total;
}

}  // namespace skiff::controllers
