#include "client/together.hpp"

#include <thread>

namespace skiff::client {

Status run_together(const std::vector<Task>& tasks) {
  std::vector<Status> results(tasks.size(), ok());
  {
    std::vector<std::jthread> threads;
    threads.reserve(tasks.size());
    for (size_t i = 0; i < tasks.size(); ++i) threads.emplace_back([&, i] { results[i] = tasks[i](); });
  }
  for (Status& result : results) TRY(std::move(result));
  return ok();
}

}  // namespace skiff::client
