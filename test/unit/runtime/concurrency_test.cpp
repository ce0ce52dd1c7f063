#include <atomic>
#include <thread>
#include <vector>

#include "test_node.hpp"

namespace skiff::runtime {

// skiff-init once followed events of a descriptor that it had closed, because another child, between clone and exec,
// still held a copy of it: many starts at once ended the node.
TEST_CASE("many containers start at once") {
  if (skip_without_root()) return;
  TestNode test;
  constexpr int kThreads = 6, kEach = 6;
  std::vector<std::vector<ContainerSpec>> specs(kThreads);
  for (int t = 0; t < kThreads; ++t)
    for (int i = 0; i < kEach; ++i)
      specs[static_cast<size_t>(t)].push_back(test.container(fmt::format("c{}-{}", t, i), "echo started"));
  std::atomic<int> failures{0};
  {
    std::vector<std::jthread> starters;
    for (const std::vector<ContainerSpec>& mine : specs)
      starters.emplace_back([&] {
        for (const ContainerSpec& spec : mine)
          if (!test.node->run_container(spec).ok()) ++failures;
      });
  }
  CHECK(failures == 0);
  for (const std::vector<ContainerSpec>& mine : specs)
    for (const ContainerSpec& spec : mine) CHECK(test.wait_exit(spec.id).exit_code == 0);
  CHECK(test.node->alive());
}

}  // namespace skiff::runtime
