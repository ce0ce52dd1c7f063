// hostUsers: false: whose ids are whose, also after a restart.

#include "kubelet/user_ids.hpp"

#include "test_kubelet.hpp"

namespace skiff::kubelet {

TEST_CASE("each pod has a block of ids of its own for as long as it has a directory") {
  image::test::TempDirectory directory;
  UserIds ids(directory / "ids"), another_process(directory / "ids");
  for (const char* pod : {"a", "b", "c"}) REQUIRE(sys::make_directories(directory / pod).ok());
  uid_t a = ids.take(directory / "a").value();
  uid_t b = another_process.take(directory / "b").value();
  CHECK(a % runtime::kIdsOfPod == 0);
  CHECK(b == a + runtime::kIdsOfPod);
  CHECK(another_process.take(directory / "a").value() == a);  // after a restart
  REQUIRE(ids.give_back(directory / "a").ok());
  CHECK(ids.give_back(directory / "a").ok());
  CHECK(ids.take(directory / "c").value() == a);
  REQUIRE(sys::remove_tree(directory / "b").ok());  // its cluster was deleted
  CHECK(ids.take(directory / "a").value() == b);
  REQUIRE(sys::write_file(directory / "a/userns", "12").ok());
  CHECK(ids.take(directory / "a").error().code() == Code::Invalid);
}

TEST_CASE("a pod without the host's users") {
  if (skip_without_root()) return;
  TestKubelet test;
  test.cluster.create<api::ConfigMap>(R"({"metadata":{"name":"m","namespace":"default"},"data":{"key":"value"}})");
  test.create("cat /proc/self/uid_map; cat /m/key; echo; touch /data/x && echo made; sleep 1000",
              R"(,"volumeMounts":[{"name":"data","mountPath":"/data"},{"name":"m","mountPath":"/m"}])",
              R"(,"hostUsers":false,"volumes":[{"name":"data","emptyDir":{}},{"name":"m","configMap":{"name":"m"}}])");
  REQUIRE(test.wait_ready());
  auto map_of = [&] { return test.run({"cat", "/proc/self/uid_map"}).first; };
  const std::string map = map_of();
  CHECK(map.find("1879048192") != std::string::npos);
  CHECK(test.run({"sh", "-c", "cat /m/key && ls -ln /data | tail -n 1 | tr -s ' ' | cut -c 1-16; wget 2>/dev/null; true"}).first
            .starts_with("value"));
  test.reconnect();
  CHECK(map_of() == map);
  test.remove(0);
  REQUIRE(test.wait_gone());
  CHECK(test.cluster.wait_for([&] { return sys::list_directory(test.node_spec.directory + "/user-ids").value().size() == 1; }));
}

}  // namespace skiff::kubelet
