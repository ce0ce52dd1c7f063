// What the kubelet decides and words, without a node.

#include <stdlib.h>

#include <catch2/catch.hpp>
#include <filesystem>

#include "api/json.hpp"
#include "api/pods.hpp"
#include "kubelet/adopt.hpp"
#include "kubelet/atomic_writer.hpp"
#include "kubelet/container_spec.hpp"
#include "kubelet/http_check.hpp"
#include "kubelet/log_reader.hpp"
#include "kubelet/node_access.hpp"
#include "kubelet/pod_cgroups.hpp"
#include "kubelet/pod_files.hpp"
#include "kubelet/pod_status.hpp"
#include "sys/files.hpp"

namespace skiff::kubelet {
namespace {

api::Pod pod_of(const std::string& spec, const std::string& metadata = "") {
  return api::from_json<api::Pod>(
             fmt::format(R"({{"metadata":{{"name":"web","namespace":"shop","uid":"u1"{}}},"spec":{{{}}}}})",
                         metadata, spec))
      .value();
}

Run ended(int code, int attempt = 0) {
  Run run;
  run.container.id = "id" + std::to_string(attempt);
  run.container.state = runtime::ContainerState::Exited;
  run.container.exit_code = code;
  run.attempt = attempt;
  return run;
}
Run running() {
  Run run = ended(0);
  run.container.state = runtime::ContainerState::Running;
  return run;
}

ContainerRecord& put(PodState& state, const std::string& name, Run run, bool started = false) {
  ContainerRecord& record = state.containers[name];
  record.current = std::move(run);
  record.started = record.ready = started;
  return record;
}

std::vector<std::string> names(const std::vector<const api::Container*>& containers) {
  std::vector<std::string> all;
  for (const api::Container* container : containers) all.push_back(container->name);
  return all;
}
using Names = std::vector<std::string>;

struct TempDirectory {
  TempDirectory() {
    char name[] = "/tmp/skiff-kubelet-XXXXXX";
    path = ::mkdtemp(name);
  }
  ~TempDirectory() { std::filesystem::remove_all(path); }
  std::string path;
};

}  // namespace

TEST_CASE("phases only move forward and the grace period only shrinks") {
  api::Pod pod = pod_of(R"("containers":[],"terminationGracePeriodSeconds":20)");
  CHECK(observe({}, {pod}).phase == Phase::Syncing);
  WorkerState state = observe({}, {pod, false, true});
  CHECK(state.phase == Phase::Terminating);
  CHECK(*state.grace == 20s);
  pod.metadata.deletionTimestamp = api::Time::parse("2026-01-01T00:00:00Z").value();
  pod.metadata.deletionGracePeriodSeconds = 5;
  state = observe(state, {pod});
  CHECK(*state.grace == 5s);
  pod.metadata.deletionGracePeriodSeconds = 0;
  CHECK(*observe(state, {pod}).grace == 1s);
  pod.metadata.deletionGracePeriodSeconds = 30;
  CHECK(*observe(state, {pod}).grace == 5s);
  CHECK(observe(state, {pod_of(R"("containers":[])")}).phase == Phase::Terminating);
  CHECK(observe({Phase::Terminated, 1s}, {pod}).phase == Phase::Terminated);
}

TEST_CASE("restarts back off from 10 s to 5 min and start over after a long run") {
  RestartBackoff backoff;
  WallTime now{};
  CHECK(backoff.remaining(now, now) == 0s);  // the first restart is immediate
  std::vector<Duration> delays;
  for (int i = 0; i < 7; ++i) {
    backoff.restarted(now);
    delays.push_back(backoff.delay());
  }
  CHECK(delays == std::vector<Duration>{10s, 20s, 40s, 80s, 160s, 300s, 300s});
  CHECK(backoff.remaining(now, now + 100s) == 200s);
  backoff.restarted(now + 11min);
  CHECK(backoff.delay() == 10s);
}

TEST_CASE("what to start next") {
  const std::string init =
      R"("initContainers":[{"name":"a"},{"name":"s","restartPolicy":"Always"},{"name":"b"}],)";
  const std::string main = R"("containers":[{"name":"c"},{"name":"d"}],"restartPolicy":)";
  api::Pod pod = pod_of(init + main + R"("OnFailure")");
  PodState state;
  CHECK(names(plan_pod(pod, state).start) == Names{"a"});
  put(state, "a", running());
  CHECK(plan_pod(pod, state).start.empty());
  put(state, "a", ended(1));
  CHECK(names(plan_pod(pod, state).start) == Names{"a"});
  put(state, "a", ended(0));
  CHECK(names(plan_pod(pod, state).start) == Names{"s"});
  put(state, "s", running());
  CHECK(plan_pod(pod, state).start.empty());  // not started yet: its startup probe runs
  put(state, "s", running(), true);
  CHECK(names(plan_pod(pod, state).start) == Names{"b"});
  put(state, "b", ended(0));
  CHECK(names(plan_pod(pod, state).start) == Names{"c", "d"});
  put(state, "c", running(), true);
  put(state, "d", ended(1));
  put(state, "s", ended(1));
  CHECK(names(plan_pod(pod, state).start) == Names{"s", "d"});
  put(state, "s", running(), true);
  put(state, "c", ended(0));
  put(state, "d", ended(0));
  PodPlan plan = plan_pod(pod, state);
  CHECK(names(plan.stop) == Names{"s"});
  CHECK_FALSE(plan.finished);
  put(state, "s", ended(0));
  CHECK(plan_pod(pod, state).finished);
}

TEST_CASE("restart policies") {
  struct Row {
    std::string policy;
    int code;
    bool again;
  };
  for (const Row& row : {Row{"Always", 0, true},
                         {"Always", 1, true},
                         {"OnFailure", 0, false},
                         {"OnFailure", 1, true},
                         {"Never", 0, false},
                         {"Never", 1, false}}) {
    INFO(row.policy << " " << row.code);
    api::Pod pod = pod_of(R"("containers":[{"name":"c"}],"restartPolicy":")" + row.policy + "\"");
    CHECK(restarts(pod, pod.spec.containers[0], row.code) == row.again);
  }
}

TEST_CASE("phases and conditions") {
  api::Time now = api::Time::parse("2026-01-01T00:00:10Z").value();
  auto status_of = [&](const api::Pod& pod, const PodState& state, bool terminated = false) {
    return make_status({pod, state, {"10.0.0.1"}, now, terminated});
  };
  api::Pod pod = pod_of(R"("containers":[{"name":"c"}],"restartPolicy":"Always")");
  PodState state;
  api::PodStatus status = status_of(pod, state);
  CHECK(status.phase == "Pending");
  CHECK(status.containerStatuses[0].state.waiting->reason == "ContainerCreating");
  CHECK(api::find_condition(status, "PodReadyToStartContainers")->status == "False");
  state.sandbox = "u1";
  state.ips = {"10.244.0.9"};
  put(state, "c", running(), true);
  pod.status = status;
  api::PodStatus later =
      make_status({pod, state, {"10.0.0.1"}, api::Time::parse("2026-01-01T00:01:00Z").value()});
  CHECK(later.phase == "Running");
  CHECK(later.podIP == "10.244.0.9");
  CHECK(api::find_condition(later, "Ready")->status == "True");
  CHECK(api::find_condition(later, "Ready")->lastTransitionTime.text() == "2026-01-01T00:01:00Z");
  CHECK(api::find_condition(later, "Initialized")->lastTransitionTime == now);  // unchanged
  put(state, "c", ended(0));
  CHECK(status_of(pod, state).phase == "Running");  // it will be restarted
  CHECK(status_of(pod, state, true).phase == "Succeeded");
  put(state, "c", ended(2));
  CHECK(status_of(pod, state, true).phase == "Failed");
  state.containers["c"].current->container.oom_killed = true;
  CHECK(status_of(pod, state).containerStatuses[0].state.terminated->reason == "OOMKilled");
}

TEST_CASE("a readiness gate holds Ready back, not ContainersReady") {
  api::Pod pod =
      pod_of(R"("containers":[{"name":"c"}],"readinessGates":[{"conditionType":"example.com/up"}])");
  PodState state;
  put(state, "c", running(), true);
  api::PodStatus status = make_status({pod, state, {}, api::Time::parse("2026-01-01T00:00:10Z").value()});
  CHECK(api::find_condition(status, "ContainersReady")->status == "True");
  CHECK(api::find_condition(status, "Ready")->reason == "ReadinessGatesNotReady");
}

TEST_CASE("references in commands and values") {
  Environment known = {{"A", "1"}, {"B", "two"}};
  struct Row {
    std::string text, want;
  };
  for (const Row& row : {Row{"$(A)-$(B)", "1-two"},
                         {"$(C)", "$(C)"},
                         {"$$(A)", "$(A)"},
                         {"$A", "$A"},
                         {"$", "$"},
                         {"$(A", "$(A"},
                         {"a$$b", "a$b"},
                         {"", ""}}) {
    INFO(row.text);
    CHECK(expand(row.text, known) == row.want);
  }
}

TEST_CASE("service variables") {
  api::Service service =
      api::from_json<api::Service>(
          R"({"metadata":{"name":"my-db"},"spec":{"clusterIP":"10.96.0.7","ports":[{"name":"sql","port":5432,"protocol":"TCP"},{"port":53,"protocol":"UDP"}]}})")
          .value();
  Environment made = service_environment({std::make_shared<api::Service>(service)});
  CHECK(made.at("MY_DB_SERVICE_HOST") == "10.96.0.7");
  CHECK(made.at("MY_DB_SERVICE_PORT") == "5432");
  CHECK(made.at("MY_DB_SERVICE_PORT_SQL") == "5432");
  CHECK(made.at("MY_DB_PORT") == "tcp://10.96.0.7:5432");
  CHECK(made.at("MY_DB_PORT_53_UDP_ADDR") == "10.96.0.7");
  service.spec.clusterIP = "None";
  CHECK(service_environment({std::make_shared<api::Service>(service)}).empty());
}

TEST_CASE("fields and resources of the downward API") {
  api::Pod pod = pod_of(
      R"("containers":[{"name":"c","resources":{"limits":{"cpu":"250m","memory":"64Mi"}}}],"nodeName":"n1")",
      R"(,"labels":{"app":"x","tier":"a\"b"},"annotations":{"k/v":"w"})");
  FieldSource source{pod, {"10.1.1.1"}, {"10.0.0.1"}, {{"memory", api::Quantity::of_bytes(1 << 30)}}};
  struct Row {
    std::string path, want;
  };
  for (const Row& row : {Row{"metadata.name", "web"},
                         {"metadata.uid", "u1"},
                         {"metadata.labels['app']", "x"},
                         {"metadata.annotations['k/v']", "w"},
                         {"spec.nodeName", "n1"},
                         {"status.podIP", "10.1.1.1"},
                         {"metadata.labels", "app=\"x\"\ntier=\"a\\\"b\""}}) {
    CHECK(field_value(source, row.path).value() == row.want);
  }
  CHECK_FALSE(field_value(source, "spec.nothing").ok());
  auto resource = [&](const std::string& name, std::optional<api::Quantity> divisor = {}) {
    api::ResourceFieldSelector selector;
    selector.resource = name;
    selector.divisor = divisor;
    return resource_value(source, pod.spec.containers[0], selector).value();
  };
  CHECK(resource("limits.cpu") == "1");
  CHECK(resource("limits.cpu", api::Quantity::of_milli(1)) == "250");
  CHECK(resource("limits.memory") == "67108864");
  CHECK(resource("limits.memory", api::Quantity::of_bytes(1 << 20)) == "64");
  CHECK(resource("requests.cpu") == "0");
}

TEST_CASE("names and resolvers of a pod") {
  api::Pod pod =
      pod_of(R"("containers":[],"subdomain":"sub","hostAliases":[{"ip":"1.2.3.4","hostnames":["a","b"]}])");
  CHECK(hostname_of(pod, "node") == "web");
  CHECK(fqdn_of(pod, "cluster.local") == "web.sub.shop.svc.cluster.local");
  std::string hosts = hosts_file(pod, {"10.1.1.1"}, "node", "cluster.local");
  CHECK(host_network_hosts_file(pod_of(R"("hostAliases":[{"ip":"10.9.8.7","hostnames":["a","b"]}])"), "127.0.0.1 localhost\n") ==
        "# Kubernetes-managed hosts file (host network).\n127.0.0.1 localhost\n\n# Entries added by HostAliases.\n10.9.8.7\ta\tb\n");
  CHECK(hosts.find("10.1.1.1\tweb.sub.shop.svc.cluster.local\tweb\n") != std::string::npos);
  CHECK(hosts.ends_with("# Entries added by HostAliases.\n1.2.3.4\ta\tb\n"));
  DnsSettings dns{{"10.96.0.10"}, "cluster.local", "nameserver 9.9.9.9\nsearch example.com\n"};
  CHECK(resolv_file(pod, dns) ==
        "search shop.svc.cluster.local svc.cluster.local cluster.local example.com\nnameserver 10.96.0.10\n"
        "options ndots:5\n");
  pod.spec.dnsPolicy = "Default";
  CHECK(resolv_file(pod, dns) == "search example.com\nnameserver 9.9.9.9\n");
  pod = pod_of(
      R"("containers":[],"dnsPolicy":"None","dnsConfig":{"nameservers":["8.8.8.8"],"options":[{"name":"ndots","value":"2"}]})");
  CHECK(resolv_file(pod, dns) == "nameserver 8.8.8.8\noptions ndots:2\n");
  pod.metadata.name = std::string(62, 'x') + "-y";
  CHECK(hostname_of(pod, "node") == std::string(62, 'x'));
}

TEST_CASE("cpu and memory as cgroup limits") {
  CHECK(cpu_shares(0) == 2);
  CHECK(cpu_shares(250) == 256);
  CHECK(cpu_shares(1000000) == 262144);
  CHECK(cpu_quota(500, 100000) == 50000);
  CHECK(cpu_quota(1, 100000) == 1000);
  api::Pod pod = pod_of(
      R"("containers":[{"name":"a","resources":{"limits":{"cpu":"1","memory":"1Gi"},"requests":{"cpu":"500m","memory":"512Mi"}}},{"name":"b"}])");
  CHECK(container_limits(pod.spec.containers[0]).cpu_shares == 512);
  CHECK(container_limits(pod.spec.containers[0]).memory_bytes == 1 << 30);
  CHECK_FALSE(pod_limits(pod).memory_bytes);  // b has none
  CHECK(oom_score(pod, pod.spec.containers[0], std::int64_t{1} << 30) == 500);
  CHECK(oom_score(pod_of(R"("containers":[{"name":"a"}])"), api::Container{}, 1) == 1000);
}

TEST_CASE("stop signals by name and number") {
  CHECK(signal_number("SIGQUIT") == 3);
  CHECK(signal_number("USR1") == 10);
  CHECK(signal_number("9") == 9);
  CHECK(signal_number("nonsense") == 15);
}

TEST_CASE("a pod's state is rebuilt from the node and the status") {
  api::Pod pod = pod_of(R"("containers":[{"name":"c"},{"name":"d"},{"name":"e"}])");
  auto status = [](const std::string& json) { return api::from_json<api::ContainerStatus>(json).value(); };
  pod.status.containerStatuses = {
      status(
          R"({"name":"c","containerID":"skiff://id1","restartCount":1,"ready":true,"started":true,"state":{"running":{"startedAt":"2026-01-01T00:00:00Z"}}})"),
      status(
          R"({"name":"d","containerID":"skiff://gone","restartCount":2,"state":{"running":{"startedAt":"2026-01-01T00:00:00Z"}}})"),
      status(
          R"({"name":"e","containerID":"skiff://done","restartCount":0,"state":{"terminated":{"exitCode":4,"reason":"Error"}}})")};
  auto known = [](const std::string& id, int attempt, runtime::ContainerState state) {
    runtime::ContainerStatus container;
    container.id = id;
    container.labels = {{kContainerName, "c"}, {kAttempt, std::to_string(attempt)}};
    container.state = state;
    return container;
  };
  PodState state = adopt(
      pod,
      {known("id1", 1, runtime::ContainerState::Running), known("id0", 0, runtime::ContainerState::Exited)},
      WallTime{});
  const ContainerRecord& c = state.containers.at("c");
  CHECK(c.running());
  CHECK(c.ready);
  CHECK(c.started);
  CHECK(c.previous->container.id == "id0");
  CHECK(c.next_attempt == 2);
  const ContainerRecord& d = state.containers.at("d");
  CHECK_FALSE(d.running());
  CHECK(d.current->reason == "ContainerStatusUnknown");
  CHECK(d.current->container.exit_code == 137);
  CHECK(d.next_attempt == 3);
  CHECK(state.containers.at("e").current->container.exit_code == 4);
}

TEST_CASE("volume files change at once and leave nothing behind") {
  TempDirectory directory;
  SeededRandom random(1);
  auto text = [&](const std::string& name) {
    Result<std::string> content = sys::read_file(directory.path + "/" + name);
    return content.ok() ? content.value() : "(missing)";
  };
  REQUIRE(write_volume(directory.path, {{"a", {"1", 0644}}, {"sub/b", {"2", 0400}}}, random, -1).ok());
  CHECK(text("a") == "1");
  CHECK(text("sub/b") == "2");
  CHECK((sys::stat_of(directory.path + "/sub/b").value().st_mode & 0777) == 0400);
  std::string before = sys::read_link(directory.path + "/..data").value();
  REQUIRE(write_volume(directory.path, {{"a", {"1", 0644}}, {"sub/b", {"2", 0400}}}, random, -1).ok());
  CHECK(sys::read_link(directory.path + "/..data").value() == before);  // nothing to do
  REQUIRE(write_volume(directory.path, {{"a", {"new", 0644}}}, random, -1).ok());
  CHECK(text("a") == "new");
  CHECK(text("sub/b") == "(missing)");
  CHECK(sys::list_directory(directory.path).value().size() == 3);  // ..data, one stamp, a
  CHECK_FALSE(write_volume(directory.path, {{"../evil", {"x", 0644}}}, random, -1).ok());
}

TEST_CASE("logs are read as kubectl asks") {
  TempDirectory directory;
  std::string path = directory.path + "/0.log";
  REQUIRE(sys::write_file(path,
                          "2026-01-01T00:00:01.000000001Z stdout F one\n"
                          "2026-01-01T00:00:02.000000001Z stderr F err\n"
                          "2026-01-01T00:00:03.000000001Z stdout P tw\n"
                          "2026-01-01T00:00:03.000000002Z stdout F o\n"
                          "2026-01-01T00:00:04.000000001Z stdout F three\n"
                          "cut of")
              .ok());
  auto read = [&](LogQuery query) {
    std::string text;
    LogReader reader = LogReader::open(path, std::move(query)).value();
    REQUIRE(reader
                .read([&](std::string_view part) {
                  text += part;
                  return true;
                })
                .ok());
    return text;
  };
  CHECK(read({}) == "one\nerr\ntwo\nthree\n");
  CHECK(read({.since = {}, .tail_lines = 2, .limit_bytes = {}, .stream = {}}) == "two\nthree\n");
  CHECK(read({.since = {}, .tail_lines = 0, .limit_bytes = {}, .stream = {}}).empty());
  CHECK(read({.since = {}, .tail_lines = {}, .limit_bytes = 6, .stream = {}}) == "one\ner");
  CHECK(read({.since = {}, .tail_lines = {}, .limit_bytes = {}, .stream = "stderr"}) == "err\n");
  CHECK(read({.timestamps = true, .since = {}, .tail_lines = 1, .limit_bytes = {}, .stream = {}}) ==
        "2026-01-01T00:00:04.000000001Z three\n");
  WallTime since = api::Time::parse("2026-01-01T00:00:03Z").value().wall();
  CHECK(read({.since = since, .tail_lines = {}, .limit_bytes = {}, .stream = {}}) == "two\nthree\n");
  CHECK(last_lines(path, 1, 100) == "three\n");
}

TEST_CASE("a log reader goes on after a rotation") {
  TempDirectory directory;
  std::string path = directory.path + "/0.log";
  auto entry = [](const std::string& text) {
    return "2026-01-01T00:00:01.000000001Z stdout F " + text + "\n";
  };
  REQUIRE(sys::write_file(path, entry("one")).ok());
  LogReader reader = LogReader::open(path, {}).value();
  std::string text;
  auto take = [&](std::string_view part) {
    text += part;
    return true;
  };
  REQUIRE(reader.read(take).ok());
  REQUIRE(sys::write_file(path, entry("one") + entry("two")).ok());
  REQUIRE(sys::rename(path, path + ".1").ok());
  REQUIRE(sys::write_file(path, entry("three")).ok());
  REQUIRE(reader.read(take).ok());
  CHECK(text == "one\ntwo\nthree\n");
}

TEST_CASE("a log reader that falls behind by several rotations loses nothing that is left") {
  TempDirectory directory;
  std::string path = directory.path + "/0.log";
  int next = 0;
  auto entries = [&](int count) {
    std::string text;
    for (int i = 0; i < count; ++i) text += fmt::format("2026-01-01T00:00:01.000000001Z stdout F {}\n", next++);
    return text;
  };
  auto rotate = [&](int kept) {
    for (int age = kept; age > 0; --age) {
      std::string from = age == 1 ? path : fmt::format("{}.{}", path, age - 1);
      if (sys::exists(from)) REQUIRE(sys::rename(from, fmt::format("{}.{}", path, age)).ok());
    }
    REQUIRE(sys::write_file(path, entries(3)).ok());
  };
  REQUIRE(sys::write_file(path, entries(3)).ok());
  LogReader reader = LogReader::open(path, {}).value();
  std::string text, wanted;
  auto take = [&](std::string_view part) {
    text += part;
    return true;
  };
  REQUIRE(reader.read(take).ok());
  for (int i = 0; i < 3; ++i) rotate(4);
  REQUIRE(reader.read(take).ok());
  for (int i = 0; i < next; ++i) wanted += fmt::format("{}\n", i);
  CHECK(text == wanted);
  // So many that the file it read is deleted, perhaps with its inode in use again: it goes on with the oldest one there is.
  for (int i = 0; i < 6; ++i) rotate(4);
  text.clear();
  wanted.clear();
  REQUIRE(reader.read(take).ok());
  for (int i = next - 15; i < next; ++i) wanted += fmt::format("{}\n", i);
  CHECK(text == wanted);
}

TEST_CASE("which container and which log is meant") {
  api::Pod pod = pod_of(R"("containers":[{"name":"a"},{"name":"b"}],"initContainers":[{"name":"i"}])");
  CHECK(choose_container(pod, "b").value() == "b");
  CHECK(choose_container(pod, "i").value() == "i");
  CHECK(choose_container(pod, "x").error().message() == "container x is not valid for pod web");
  CHECK(choose_container(pod, "").error().message() ==
        "a container name must be specified for pod web, choose one of: [a b]");
  pod.metadata.annotations["kubectl.kubernetes.io/default-container"] = "b";
  CHECK(choose_container(pod, "").value() == "b");
  auto with = [&](const std::string& json) {
    pod.status.containerStatuses = {api::from_json<api::ContainerStatus>(json).value()};
    return pod;
  };
  CHECK(choose_log(with(R"({"name":"a","restartCount":2,"state":{"running":{}}})"), "a", false).value() == 2);
  CHECK(choose_log(with(R"({"name":"a","restartCount":0,"state":{"running":{}}})"), "a", true)
            .error()
            .message() == "previous terminated container \"a\" in pod \"web\" not found");
  CHECK(choose_log(with(R"({"name":"a","state":{"waiting":{"reason":"ContainerCreating"}}})"), "a", false)
            .error()
            .message() == "container \"a\" in pod \"web\" is waiting to start: ContainerCreating");
}

TEST_CASE("probe results count against their thresholds") {
  api::Probe probe;
  probe.successThreshold = 2;
  probe.failureThreshold = 3;
  ProbeCount count;
  std::vector<bool> decided;
  for (bool success : {false, false, false, true, false, true, true})
    decided.push_back(count.add(success, probe));
  CHECK(decided == std::vector<bool>{false, false, true, false, false, false, true});
}

TEST_CASE("HTTP answers") {
  CHECK(parse_answer("HTTP/1.1 204 No Content\r\nA: b\r\n\r\nbody").value().status == 204);
  CHECK(parse_answer("HTTP/1.0 500 x\r\n\r\nbody").value().body == "body");
  CHECK_FALSE(parse_answer("SSH-2.0-x\r\n").ok());
}

}  // namespace skiff::kubelet
