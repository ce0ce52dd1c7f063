#include <algorithm>

#include "api/gen/coordination.hpp"

#include "test_kubelet.hpp"

namespace skiff::kubelet {

TEST_CASE("a pod runs, shows its logs and goes without a trace") {
  if (skip_without_root()) return;
  TestKubelet test;
  test.create("echo hello; sleep 1000");
  REQUIRE(test.wait_ready());
  const api::PodStatus status = test.pod()->status;
  CHECK(status.phase == "Running");
  CHECK(status.podIP.starts_with("10.244.0."));
  CHECK(status.hostIP == "10.244.0.1");
  CHECK(status.startTime);
  REQUIRE(status.containerStatuses.size() == 1);
  const api::ContainerStatus& container = status.containerStatuses[0];
  CHECK(container.containerID.starts_with("skiff://"));
  CHECK(container.imageID.starts_with("sha256:"));
  CHECK(container.image == "docker.io/library/busybox:1");
  CHECK(container.state.running);
  CHECK(container.restartCount == 0);
  CHECK(status.conditions.size() == 5);
  CHECK(test.wait_event("Pulled", "Container image \"busybox:1\" already present on machine"));
  CHECK(test.wait_event("Created", "Container created"));
  CHECK(test.wait_event("Started", "Container started"));
  // The shell has not necessarily printed yet when the container is up, so follow until the line is there.
  std::string first;
  client::LogOptions follow;
  follow.follow = true;
  REQUIRE(test.kubelet->access()
              ->logs({"default", "p"}, follow,
                     [&](std::string_view part) {
                       first += part;
                       return first.find('\n') == std::string::npos;
                     },
                     {})
              .ok());
  CHECK(first == "hello\n");
  CHECK(test.run({"hostname"}) == std::pair<std::string, int>{"p\n", 0});
  CHECK(test.run({"sh", "-c", "exit 3"}).second == 3);
  std::string uid = test.pod()->metadata.uid;
  test.remove();
  REQUIRE(test.wait_gone());
  CHECK(test.wait_event("Killing", "Stopping container c"));
  CHECK(test.node->list().value().sandboxes.empty());
  CHECK(test.node->list().value().containers.empty());
  CHECK_FALSE(sys::exists(test.node_spec.directory + "/pods/" + uid));
  CHECK(test.network->attached().empty());
}

TEST_CASE("a pod that is done succeeds or fails") {
  if (skip_without_root()) return;
  TestKubelet test;
  SECTION("success") {
    test.create("echo done > /dev/termination-log", "", R"(,"restartPolicy":"Never")");
    REQUIRE(test.wait_phase("Succeeded"));
    const auto& ended = test.pod()->status.containerStatuses[0].state.terminated;
    REQUIRE(ended);
    CHECK(ended->reason == "Completed");
    CHECK(ended->message == "done\n");
    CHECK(api::find_condition(test.pod()->status, "Ready")->reason == "PodCompleted");
  }
  SECTION("failure") {
    test.create("echo why; exit 3", "", R"(,"restartPolicy":"Never")");
    REQUIRE(test.wait_phase("Failed"));
    CHECK(test.pod()->status.containerStatuses[0].state.terminated->exitCode == 3);
    CHECK(test.logs() == "why\n");  // still there
  }
  SECTION("out of time") {
    test.create("sleep 1000", "", R"(,"activeDeadlineSeconds":1)");
    REQUIRE(test.wait_phase("Failed"));
    CHECK(test.pod()->status.reason == "DeadlineExceeded");
  }
  test.remove();
  CHECK(test.wait_gone());
}

TEST_CASE("a container gets environment, volumes, names and limits") {
  if (skip_without_root()) return;
  TestKubelet test;
  test.cluster.create<api::ConfigMap>(
      R"({"metadata":{"name":"conf","namespace":"default"},"data":{"color":"blue","size":"big"}})");
  test.cluster.create<api::Secret>(
      R"({"metadata":{"name":"key","namespace":"default"},"data":{"password":"c2VjcmV0"}})");
  test.create(
      "echo $FROM $COLOR $PASSWORD $GREETING $NAME $CPU; cat /conf/color /keys/password /down/labels; echo; "
      "grep p$ /etc/hosts | tr '\\t' ' '; grep -c cluster.local /etc/resolv.conf; echo rw > /scratch/x; cat "
      "/scratch/x; "
      "echo rw > /memory/x; ls /memory; cat /one; "
      "cd /var/run/secrets/kubernetes.io/serviceaccount; cat token namespace ca.crt",
      R"x(,"env":[{"name":"COLOR","valueFrom":{"configMapKeyRef":{"name":"conf","key":"color"}}},
                 {"name":"GREETING","value":"hi-$(COLOR)-$(NONE)"},
                 {"name":"NAME","valueFrom":{"fieldRef":{"fieldPath":"metadata.name"}}},
                 {"name":"CPU","valueFrom":{"resourceFieldRef":{"resource":"limits.cpu","divisor":"1m"}}}],
         "envFrom":[{"prefix":"","secretRef":{"name":"env"}},{"configMapRef":{"name":"missing","optional":true}}],
         "resources":{"limits":{"cpu":"500m","memory":"64Mi"}},
         "volumeMounts":[{"name":"conf","mountPath":"/conf"},{"name":"keys","mountPath":"/keys","readOnly":true},
                         {"name":"down","mountPath":"/down"},{"name":"scratch","mountPath":"/scratch"},
                         {"name":"memory","mountPath":"/memory"},{"name":"conf","mountPath":"/one","subPath":"size"}])x",
      R"(,"restartPolicy":"Never","volumes":[{"name":"conf","configMap":{"name":"conf"}},
         {"name":"keys","secret":{"secretName":"key"}},
         {"name":"down","downwardAPI":{"items":[{"path":"labels","fieldRef":{"fieldPath":"metadata.labels"}}]}},
         {"name":"scratch","emptyDir":{}},{"name":"memory","emptyDir":{"medium":"Memory","sizeLimit":"1Mi"}}])");
  // The Secret for envFrom is missing: the container waits, and starts once it is there.
  REQUIRE(test.wait_waiting("CreateContainerConfigError"));
  CHECK(test.pod()->status.containerStatuses[0].state.waiting->message == "secret \"env\" not found");
  CHECK(test.wait_event("Failed", "Error: secret \"env\" not found"));
  test.cluster.create<api::Secret>(
      R"({"metadata":{"name":"env","namespace":"default"},"data":{"PASSWORD":"c2VjcmV0"}})");
  REQUIRE(test.wait_phase("Succeeded"));
  std::string ip = test.pod()->status.podIP;
  CHECK(test.logs() == "image blue secret hi-blue-$(NONE) p 500\nbluesecretapp=\"web\"\n" + ip +
                           " p\n1\nrw\nx\nbigtoken-of-defaultdefaultPEM");
}

TEST_CASE("a volume without its ConfigMap holds the pod back") {
  if (skip_without_root()) return;
  TestKubelet test;
  test.create("cat /conf/color; sleep 1000", R"(,"volumeMounts":[{"name":"conf","mountPath":"/conf"}])",
              R"(,"volumes":[{"name":"conf","configMap":{"name":"conf"}}])");
  CHECK(test.wait_event("FailedMount",
                        "MountVolume.SetUp failed for volume \"conf\" : configmap \"conf\" not found"));
  CHECK(test.wait_waiting("ContainerCreating"));
  test.cluster.create<api::ConfigMap>(
      R"({"metadata":{"name":"conf","namespace":"default"},"data":{"color":"blue"}})");
  REQUIRE(test.wait_ready());
  // And a change reaches the running container.
  std::string uid = test.pod()->metadata.uid;
  api::ConfigMap changed = *test.cluster.get<api::ConfigMap>("conf");
  changed.data["color"] = "green";
  REQUIRE(test.cluster.client.update(changed).ok());
  SystemClock clock;
  TimePoint deadline = clock.now() + 10s;
  while (test.run({"cat", "/conf/color"}).first != "green" && clock.now() < deadline)
    std::this_thread::yield();
  CHECK(test.run({"cat", "/conf/color"}).first == "green");
}

TEST_CASE("a crashing container is restarted, then left alone for a while") {
  if (skip_without_root()) return;
  TestKubelet test;
  test.create("echo try; exit 1");
  REQUIRE(test.wait_waiting("CrashLoopBackOff"));
  const api::ContainerStatus container = test.pod()->status.containerStatuses[0];
  CHECK(container.restartCount == 1);
  CHECK(container.lastState.terminated->exitCode == 1);
  CHECK(container.lastState.terminated->reason == "Error");
  CHECK(container.state.waiting->message ==
        "back-off 10s restarting failed container=c pod=p_default(" + test.pod()->metadata.uid + ")");
  CHECK(test.pod()->status.phase == "Running");
  CHECK(test.wait_event("BackOff", "Back-off restarting failed container c in pod p_default("));
  CHECK(test.logs() == "try\n");
  client::LogOptions previous;
  previous.previous = true;
  CHECK(test.logs(previous) == "try\n");
}

TEST_CASE("a container that cannot be started says why") {
  if (skip_without_root()) return;
  TestKubelet test;
  SECTION("no image, never pulled") {
    test.create_pod(R"("containers":[{"name":"c","image":"absent:1","imagePullPolicy":"Never"}])");
    REQUIRE(test.wait_waiting("ErrImageNeverPull"));
    CHECK(test.wait_event("ErrImageNeverPull",
                          "Container image \"absent:1\" is not present with pull policy of Never"));
  }
  SECTION("no image to pull") {
    test.create_pod(R"("containers":[{"name":"c","image":"absent:1"}])");
    REQUIRE(test.wait_waiting("ErrImagePull"));
    REQUIRE(test.wait_waiting("ImagePullBackOff"));
    CHECK(test.wait_event("BackOff", "Back-off pulling image \"absent:1\""));
  }
  SECTION("no image name") {
    test.create_pod(R"("containers":[{"name":"c","image":"UPPER"}])");
    CHECK(test.wait_waiting("InvalidImageName"));
  }
  SECTION("no program") {
    test.create_pod(R"("containers":[{"name":"c","image":"busybox:1","command":["nope"]}])");
    REQUIRE(test.wait_for([](const api::Pod& now) {
      return !now.status.containerStatuses.empty() && now.status.containerStatuses[0].lastState.terminated;
    }));
    const api::ContainerStatus container = test.pod()->status.containerStatuses[0];
    CHECK(container.lastState.terminated->reason == "StartError");
    CHECK(container.lastState.terminated->exitCode == 128);
    CHECK(container.lastState.terminated->message.ends_with(
        "exec: \"nope\": executable file not found in $PATH"));
  }
  SECTION("root where none may be") {
    test.create("true", R"(,"securityContext":{"runAsNonRoot":true})");
    REQUIRE(test.wait_waiting("CreateContainerConfigError"));
    CHECK(test.pod()->status.containerStatuses[0].state.waiting->message.starts_with(
        "container has runAsNonRoot and image will run as root (pod: \"p_default("));
  }
}

TEST_CASE("init containers run in order, sidecars beside the others") {
  if (skip_without_root()) return;
  TestKubelet test;
  std::string mounts = R"(,"volumeMounts":[{"name":"v","mountPath":"/v"}])";
  test.create_pod(fmt::format(
      R"("restartPolicy":"Never","volumes":[{{"name":"v","emptyDir":{{}}}}],"initContainers":[{},{},{}],"containers":[{}])",
      TestKubelet::container("first", "echo 1 >> /v/order", mounts),
      TestKubelet::container("side", "echo 2 >> /v/order; sleep 1000",
                             mounts + R"(,"restartPolicy":"Always")"),
      TestKubelet::container("third", "echo 3 >> /v/order", mounts),
      TestKubelet::container("c", "cat /v/order | sort", mounts)));
  REQUIRE(test.wait_phase("Succeeded"));
  client::LogOptions options;
  options.container = "c";
  CHECK(test.logs(options) == "1\n2\n3\n");
  CHECK(test.pod()->status.initContainerStatuses[0].state.terminated->reason == "Completed");
  CHECK(test.pod()->status.initContainerStatuses[1].state.terminated);  // the sidecar was stopped at the end
  CHECK(api::find_condition(test.pod()->status, "Initialized")->status == "True");
}

TEST_CASE("a rule restarts a container, or the pod as a whole, whatever its policy") {
  if (skip_without_root()) return;
  TestKubelet test;
  std::string rule = R"(,"restartPolicy":"Never","restartPolicyRules":[{{"action":"{}","exitCodes":{{"operator":"In","values":[42]}}}}])";
  std::string volumes = R"(,"volumeMounts":[{"name":"v","mountPath":"/v"}])";
  std::string pod = R"("restartPolicy":"Never","volumes":[{{"name":"v","emptyDir":{{}}}}],"initContainers":[{}],"containers":[{},{}])";
  std::string first = "test -e /v/again && sleep 1000; touch /v/again; exit 42";
  bool all = GENERATE(false, true);
  CAPTURE(all);
  std::string own = fmt::format(fmt::runtime(rule), all ? "RestartAllContainers" : "Restart") + volumes;
  test.create_pod(fmt::format(fmt::runtime(pod), TestKubelet::container("i", "true"), TestKubelet::container("c", first, own),
                              TestKubelet::container("d", "sleep 1000")));
  REQUIRE(test.wait_for([](const api::Pod& now) {
    return now.status.containerStatuses.size() == 2 && now.status.containerStatuses[0].restartCount == 1 &&
           now.status.containerStatuses[0].state.running && now.status.containerStatuses[1].state.running;
  }));
  const api::PodStatus status = test.pod()->status;
  CHECK(status.phase == "Running");
  CHECK(status.containerStatuses[0].lastState.terminated->exitCode == 42);
  CHECK(status.containerStatuses[1].restartCount == (all ? 1 : 0));
  CHECK(status.initContainerStatuses[0].restartCount == (all ? 1 : 0));
  CHECK(status.initContainerStatuses[0].state.terminated);
}

TEST_CASE("a failed init container ends a pod that is never restarted") {
  if (skip_without_root()) return;
  TestKubelet test;
  test.create_pod(fmt::format(R"("restartPolicy":"Never","initContainers":[{}],"containers":[{}])",
                              TestKubelet::container("first", "exit 2"),
                              TestKubelet::container("c", "true")));
  REQUIRE(test.wait_phase("Failed"));
  CHECK(test.pod()->status.containerStatuses[0].state.waiting->reason == "PodInitializing");
}

TEST_CASE("probes decide over readiness and restarts") {
  if (skip_without_root()) return;
  TestKubelet test;
  SECTION("readiness by command, both ways") {
    test.create(
        "sleep 1000",
        R"(,"readinessProbe":{"exec":{"command":["test","-e","/tmp/ready"]},"periodSeconds":1,"failureThreshold":1})");
    CHECK(test.wait_event("Unhealthy", "Readiness probe failed: "));
    CHECK(test.pod()->status.phase == "Running");
    CHECK_FALSE(api::is_ready(*test.pod()));
    CHECK(api::find_condition(test.pod()->status, "Ready")->message == "containers with unready status: [c]");
    CHECK(test.run({"touch", "/tmp/ready"}).second == 0);
    REQUIRE(test.wait_ready());
    CHECK(test.run({"rm", "/tmp/ready"}).second == 0);
    CHECK(test.wait_for([](const api::Pod& now) { return !api::is_ready(now); }));
  }
  SECTION("liveness by HTTP") {
    test.create("mkdir /tmp/w; echo yes > /tmp/w/ok; httpd -f -p 8080 -h /tmp/w",
                R"(,"ports":[{"name":"web","containerPort":8080}],
                    "startupProbe":{"tcpSocket":{"port":8080},"periodSeconds":1,"failureThreshold":10},
                    "livenessProbe":{"httpGet":{"path":"/ok","port":"web"},"periodSeconds":1,"failureThreshold":1})");
    REQUIRE(test.wait_ready());
    CHECK(test.run({"rm", "/tmp/w/ok"}).second == 0);
    CHECK(test.wait_event("Unhealthy", "Liveness probe failed: HTTP probe failed with statuscode: 404"));
    CHECK(test.wait_event("Killing", "Container c failed liveness probe, will be restarted"));
    CHECK(
        test.wait_for([](const api::Pod& now) { return now.status.containerStatuses[0].restartCount == 1; }));
  }
}

TEST_CASE("hooks run after the start and before the end") {
  if (skip_without_root()) return;
  TestKubelet test;
  std::string shared = test.images.directory / "shared";
  REQUIRE(sys::make_directories(shared).ok());
  test.create(
      "trap 'echo term >> /s/log; exit 0' TERM; while true; do sleep 0.1; done",
      R"(,"volumeMounts":[{"name":"s","mountPath":"/s"}],"lifecycle":{
                  "postStart":{"exec":{"command":["sh","-c","echo started >> /s/log"]}},
                  "preStop":{"exec":{"command":["sh","-c","echo stopping >> /s/log"]}}})",
      fmt::format(R"(,"volumes":[{{"name":"s","hostPath":{{"path":"{}","type":"Directory"}}}}])", shared));
  REQUIRE(test.wait_ready());
  test.remove(20);
  REQUIRE(test.wait_gone());
  CHECK(sys::read_file(shared + "/log").value() == "started\nstopping\nterm\n");
}

TEST_CASE("after a restart of skiff the pod is found again, not started again") {
  if (skip_without_root()) return;
  TestKubelet test;
  test.create("echo once; sleep 1000");
  REQUIRE(test.wait_ready());
  const api::PodStatus before = test.pod()->status;
  SECTION("still running") {
    test.reconnect();
    CHECK(test.run({"hostname"}).first == "p\n");
    CHECK(test.pod()->status == before);
    CHECK(test.node->list().value().containers.size() == 1);
    CHECK(test.logs() == "once\n");
  }
  SECTION("deleted meanwhile by force: it is cleared away") {
    test.stop();
    test.remove(0);
    REQUIRE(test.wait_gone());
    test.reconnect();
    SystemClock clock;
    TimePoint deadline = clock.now() + 10s;
    while (!test.node->list().value().sandboxes.empty() && clock.now() < deadline) std::this_thread::yield();
    CHECK(test.node->list().value().sandboxes.empty());
    CHECK(test.node->list().value().containers.empty());
  }
  SECTION("the node itself was off: its containers start anew") {
    test.stop();
    REQUIRE(test.node->power_off().ok());
    test.node =
        checked(runtime::Node::start(test.node_spec, {*test.cgroups, test.cluster.clock},
                                     [&](const runtime::ContainerStatus& c) { test.exits.notify(c); }));
    test.reconnect();
    REQUIRE(
        test.wait_for([](const api::Pod& now) { return now.status.containerStatuses[0].restartCount == 1; }));
    CHECK(test.wait_event("SandboxChanged", "Pod sandbox changed, it will be killed and re-created."));
    CHECK(test.pod()->status.containerStatuses[0].lastState.terminated->reason == "ContainerStatusUnknown");
  }
}

TEST_CASE("the node registers itself and holds its lease") {
  if (skip_without_root()) return;
  TestKubelet test;
  client::Ref<api::Node> node = test.cluster.get<api::Node>("node-1");
  REQUIRE(node);
  CHECK(node->metadata.labels.at("kubernetes.io/hostname") == "node-1");
  CHECK(node->metadata.labels.at("kubernetes.io/os") == "linux");
  CHECK(node->status.nodeInfo.kubeletVersion == "v1.36.0");
  CHECK(node->status.capacity.contains("memory"));
  CHECK(node->status.addresses.size() == 2);
  CHECK(node->status.images.size() == 1);
  auto ready = std::ranges::find(node->status.conditions, "Ready", &api::NodeCondition::type);
  REQUIRE(ready != node->status.conditions.end());
  CHECK(ready->status == "True");
  CHECK(ready->reason == "KubeletReady");
  CHECK(test.cluster.client.get<api::Lease>({"kube-node-lease", "node-1"}).ok());
}

TEST_CASE("a connection into the pod") {
  if (skip_without_root()) return;
  TestKubelet test;
  test.create("httpd -f -p 8080 -h /etc",
              R"(,"readinessProbe":{"tcpSocket":{"port":8080},"periodSeconds":1})");
  REQUIRE(test.wait_ready());
  UniqueFd connection = checked(test.kubelet->access()->dial_pod({"default", "p"}, 8080));
  CHECK(connection);
  CHECK_FALSE(test.kubelet->access()->dial_pod({"default", "p"}, 8081).ok());
  CHECK(checked(test.kubelet->access()->dial(test.pod()->status.podIP, 8080)));
}

}  // namespace skiff::kubelet
