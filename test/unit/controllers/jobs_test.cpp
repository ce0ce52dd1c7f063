// Jobs against a registry in memory; the test plays the kubelet.

#include "api/gen/batch.hpp"
#include "controllers/job_plan.hpp"
#include "support.hpp"

using namespace skiff;
using test::ControlledCluster;

namespace {

std::string job(const std::string& spec) {
  return R"({"metadata":{"name":"j"},"spec":{)" + spec +
         R"("template":{"metadata":{"labels":{"kubelet":"none"}},
      "spec":{"restartPolicy":"Never","containers":[{"name":"c","image":"a"}]}}}})";
}

std::vector<client::Ref<api::Pod>> running(ControlledCluster<>& cluster) {
  auto pods = cluster.list<api::Pod>("job-name=j");
  std::erase_if(pods, [](const auto& pod) { return !api::is_active(*pod); });
  return pods;
}

void end(ControlledCluster<>& cluster, const std::string& pod, const std::string& phase) {
  REQUIRE(cluster.client
              .update_with_retry<api::Pod>(
                  {"default", pod},
                  [&](api::Pod& next) {
                    next.status.phase = phase;
                    return true;
                  },
                  true)
              .ok());
}

std::string condition(ControlledCluster<>& cluster, const std::string& type) {
  auto now = cluster.get<api::Job>("j");
  const api::JobCondition* found = now ? controllers::find_condition(now->status, type) : nullptr;
  return found ? found->status + " " + found->reason + " " + found->message : "";
}

}  // namespace

TEST_CASE("a job runs its pods to the wanted number of completions") {
  ControlledCluster<> cluster;
  cluster.create<api::Job>(job(R"("parallelism":2,"completions":3,)"));
  REQUIRE(cluster.wait_for([&] { return running(cluster).size() == 2; }));
  for (int i = 0; i < 3; ++i) {
    REQUIRE(
        cluster.wait_for([&] { return running(cluster).size() == static_cast<size_t>(std::min(2, 3 - i)); }));
    end(cluster, running(cluster)[0]->metadata.name, "Succeeded");
    REQUIRE(cluster.wait_for([&] { return cluster.get<api::Job>("j")->status.succeeded == i + 1; }));
  }
  REQUIRE(cluster.wait_for([&] {
    return condition(cluster, "Complete") ==
           "True CompletionsReached Reached expected number of succeeded pods";
  }));
  auto done = cluster.get<api::Job>("j");
  CHECK(done->status.completionTime);
  CHECK(done->status.active == 0);
  CHECK(cluster.wait_for([&] { return cluster.has_event("Completed", "Job completed"); }));
  for (const auto& pod : cluster.list<api::Pod>()) CHECK(pod->metadata.finalizers.empty());
}

TEST_CASE("a job fails at its backoff limit") {
  ControlledCluster<> cluster;
  cluster.create<api::Job>(job(R"("backoffLimit":0,)"));
  REQUIRE(cluster.wait_for([&] { return running(cluster).size() == 1; }));
  end(cluster, running(cluster)[0]->metadata.name, "Failed");
  CHECK(cluster.wait_for([&] {
    return condition(cluster, "Failed") ==
           "True BackoffLimitExceeded Job has reached the specified backoff limit";
  }));
  CHECK(cluster.get<api::Job>("j")->status.failed == 1);
}

TEST_CASE("an indexed job gives each index once") {
  ControlledCluster<> cluster;
  cluster.create<api::Job>(job(R"("parallelism":3,"completions":3,"completionMode":"Indexed",)"));
  REQUIRE(cluster.wait_for([&] { return running(cluster).size() == 3; }));
  std::set<std::string> hostnames;
  for (const auto& pod : running(cluster)) hostnames.insert(pod->spec.hostname);
  CHECK(hostnames == std::set<std::string>{"j-0", "j-1", "j-2"});
  for (const auto& pod : running(cluster)) end(cluster, pod->metadata.name, "Succeeded");
  REQUIRE(cluster.wait_for([&] { return !condition(cluster, "Complete").empty(); }));
  CHECK(cluster.get<api::Job>("j")->status.completedIndexes == "0-2");
}

TEST_CASE("a suspended job stops its pods without counting them") {
  ControlledCluster<> cluster;
  cluster.create<api::Job>(job(""));
  REQUIRE(cluster.wait_for([&] { return running(cluster).size() == 1; }));
  auto suspend = [&](bool value) {
    REQUIRE(cluster.client
                .update_with_retry<api::Job>({"default", "j"},
                                             [&](api::Job& next) {
                                               next.spec.suspend = value;
                                               return true;
                                             })
                .ok());
  };
  suspend(true);
  REQUIRE(cluster.wait_for([&] { return cluster.list<api::Pod>().empty(); }));
  CHECK(condition(cluster, "Suspended") == "True JobSuspended Job suspended");
  suspend(false);
  CHECK(cluster.wait_for([&] { return running(cluster).size() == 1; }));
  CHECK(cluster.get<api::Job>("j")->status.failed == 0);
}

TEST_CASE("a finished job goes after its time to live") {
  ControlledCluster<> cluster;
  cluster.create<api::Job>(job(R"("ttlSecondsAfterFinished":0,)"));
  REQUIRE(cluster.wait_for([&] { return running(cluster).size() == 1; }));
  end(cluster, running(cluster)[0]->metadata.name, "Succeeded");
  CHECK(cluster.wait_for([&] { return !cluster.get<api::Job>("j") && cluster.list<api::Pod>().empty(); }));
}

TEST_CASE("indexes are written as ranges") {
  using namespace controllers;
  for (const char* text : {"", "0", "0,1", "1-3", "0,2-4,7"}) CHECK(index_text(parse_indexes(text)) == text);
}

namespace {

// The pod of an index ends; `code` and `disrupted` as the kubelet would write them.
void end_index(ControlledCluster<>& cluster, int index, const std::string& phase, int code = 1, bool disrupted = false) {
  client::Ref<api::Pod> pod;
  REQUIRE(cluster.wait_for([&] {
    for (const auto& one : running(cluster))
      if (controllers::index_of(*one) == index) pod = one;
    return pod != nullptr;
  }));
  REQUIRE(cluster.client.update_with_retry<api::Pod>(client::key_of(*pod), [&](api::Pod& next) {
    next.status.phase = phase;
    api::ContainerStatus& status = next.status.containerStatuses.emplace_back();
    status.name = "c";
    status.state.terminated.ensure().exitCode = phase == "Failed" ? code : 0;
    if (disrupted) {
      api::PodCondition target;
      target.type = "DisruptionTarget";
      target.status = "True";
      next.status.conditions.push_back(target);
    }
    return true;
  }, true).ok());
}

const char* const kIndexed = R"("parallelism":3,"completions":3,"completionMode":"Indexed",)";

}  // namespace

TEST_CASE("indexes fail alone, and the others go on") {
  ControlledCluster<> cluster;
  cluster.create<api::Job>(job(std::string(kIndexed) + R"("backoffLimitPerIndex":0,)"));
  REQUIRE(cluster.wait_for([&] { return running(cluster).size() == 3; }));
  CHECK(running(cluster)[0]->metadata.annotations.at(controllers::kIndexFailureCount) == "0");
  end_index(cluster, 1, "Failed");
  REQUIRE(cluster.wait_for([&] { return cluster.get<api::Job>("j")->status.failedIndexes == "1"; }));
  CHECK(running(cluster).size() == 2);
  end_index(cluster, 0, "Succeeded");
  end_index(cluster, 2, "Succeeded");
  CHECK(cluster.wait_for([&] { return condition(cluster, "Failed") == "True FailedIndexes Job has failed indexes"; }));
  CHECK(cluster.get<api::Job>("j")->status.completedIndexes == "0,2");
}

TEST_CASE("too many failed indexes end a job") {
  ControlledCluster<> cluster;
  cluster.create<api::Job>(job(std::string(kIndexed) + R"("backoffLimitPerIndex":0,"maxFailedIndexes":0,)"));
  end_index(cluster, 2, "Failed");
  CHECK(cluster.wait_for([&] {
    return condition(cluster, "FailureTarget") ==
           "True MaxFailedIndexesExceeded Job has exceeded the specified maximal number of failed indexes";
  }));
}

TEST_CASE("the failure policy fails the job or the index, or looks away") {
  ControlledCluster<> cluster;
  auto policy = [](const std::string& rule) { return R"("podFailurePolicy":{"rules":[)" + rule + "]},"; };
  SECTION("FailJob by exit code") {
    cluster.create<api::Job>(job(kIndexed + policy(R"({"action":"FailJob","onExitCodes":{"operator":"In","values":[42]}})")));
    end_index(cluster, 0, "Failed", 42);
    CHECK(cluster.wait_for([&] { return condition(cluster, "FailureTarget").starts_with("True PodFailurePolicy Container c for pod default/j-0-"); }));
    CHECK(condition(cluster, "FailureTarget").ends_with("failed with exit code 42 matching FailJob rule at index 0"));
  }
  SECTION("Ignore by condition: a new pod, and nothing is counted") {
    cluster.create<api::Job>(job(std::string(kIndexed) + R"("backoffLimit":0,)" +
                                 policy(R"({"action":"Ignore","onPodConditions":[{"type":"DisruptionTarget","status":"True"}]})")));
    REQUIRE(cluster.wait_for([&] { return running(cluster).size() == 3; }));
    end_index(cluster, 0, "Failed", 1, true);
    REQUIRE(cluster.wait_for([&] { return cluster.list<api::Pod>().size() == 4 && running(cluster).size() == 3; }));
    CHECK(cluster.get<api::Job>("j")->status.failed == 0);
    for (int i = 0; i < 3; ++i) end_index(cluster, i, "Succeeded");
    CHECK(cluster.wait_for([&] { return !condition(cluster, "Complete").empty(); }));
  }
  SECTION("FailIndex") {
    cluster.create<api::Job>(job(std::string(kIndexed) + R"("backoffLimitPerIndex":5,)" +
                                 policy(R"({"action":"FailIndex","onExitCodes":{"operator":"NotIn","values":[7]}})")));
    end_index(cluster, 0, "Failed", 9);
    CHECK(cluster.wait_for([&] { return cluster.get<api::Job>("j")->status.failedIndexes == "0"; }));
  }
}

TEST_CASE("a job succeeds early by its policy") {
  ControlledCluster<> cluster;
  SECTION("by count") {
    cluster.create<api::Job>(job(std::string(kIndexed) + R"("successPolicy":{"rules":[{"succeededCount":1}]},)"));
    end_index(cluster, 1, "Succeeded");
  }
  SECTION("by index") {
    cluster.create<api::Job>(job(std::string(kIndexed) + R"("successPolicy":{"rules":[{"succeededIndexes":"1"}]},)"));
    end_index(cluster, 1, "Succeeded");
  }
  CHECK(cluster.wait_for([&] { return condition(cluster, "SuccessCriteriaMet") == "True SuccessPolicy Matched rules at index 0"; }));
  CHECK(cluster.wait_for([&] { return running(cluster).empty(); }));  // the others are stopped
}

TEST_CASE("a job of another controller is left alone") {
  ControlledCluster<> cluster;
  cluster.create<api::Job>(job(R"("managedBy":"example.com/jobs",)"));
  cluster.create<api::Job>(R"({"metadata":{"name":"k"},"spec":{"template":{"spec":{"restartPolicy":"Never",
    "containers":[{"name":"c","image":"a"}]}}}})");
  REQUIRE(cluster.wait_for([&] { return !cluster.list<api::Pod>("job-name=k").empty(); }));
  CHECK(cluster.list<api::Pod>("job-name=j").empty());
  CHECK(cluster.get<api::Job>("j")->status == api::JobStatus());
}

TEST_CASE("a failed index remembers its failures although somebody deletes its pod") {
  ControlledCluster<test::FakeClock> cluster;
  cluster.create<api::Job>(job(R"("parallelism":1,"completions":1,"completionMode":"Indexed","backoffLimitPerIndex":3,)"));
  auto pods = [&] { return cluster.list<api::Pod>("job-name=j"); };
  REQUIRE(cluster.wait_for([&] { return pods().size() == 1; }));
  const std::string first = pods()[0]->metadata.name;
  REQUIRE(cluster.client.update_with_retry<api::Pod>({"default", first}, [](api::Pod& next) {
    next.status.phase = "Failed";
    return true;
  }, true).ok());
  REQUIRE(cluster.client.remove<api::Pod>({"default", first}, {.grace_seconds = 0}).ok());
  // Until the next one knows what it knew, it stays.
  CHECK_FALSE(cluster.wait_for([&] { return pods().empty(); }, 100ms));
  CHECK(cluster.get<api::Job>("j")->status.failed == 0);
  bool replaced = false;
  for (int i = 0; i < 50 && !replaced; ++i) {
    replaced = cluster.wait_for([&] { return pods().size() == 1 && pods()[0]->metadata.name != first; }, 50ms);
    if (!replaced) cluster.clock.advance(1s);
  }
  REQUIRE(replaced);
  CHECK(pods()[0]->metadata.annotations.at(controllers::kIndexFailureCount) == "1");
  CHECK(cluster.wait_for([&] { return cluster.get<api::Job>("j")->status.failed == 1; }));
}

TEST_CASE("a failure that the policy ignores is noted for the index, and costs it nothing") {
  ControlledCluster<> cluster;
  cluster.create<api::Job>(job(std::string(kIndexed) + R"("backoffLimitPerIndex":0,"podFailurePolicy":{"rules":[
    {"action":"Ignore","onPodConditions":[{"type":"DisruptionTarget","status":"True"}]}]},)"));
  REQUIRE(cluster.wait_for([&] { return running(cluster).size() == 3; }));
  const std::string first = running(cluster)[0]->metadata.name;
  end_index(cluster, 0, "Failed", 1, true);
  REQUIRE(cluster.wait_for([&] { return cluster.list<api::Pod>().size() == 4; }));
  client::Ref<api::Pod> second;
  for (const auto& pod : running(cluster))
    if (controllers::index_of(*pod) == 0) second = pod;
  REQUIRE(second);
  CHECK(second->metadata.annotations.at(controllers::kIndexFailureCount) == "0");
  CHECK(second->metadata.annotations.at(controllers::kIndexIgnoredCount) == "1");
  CHECK(cluster.get<api::Job>("j")->status.failed == 0);
  CHECK(cluster.get<api::Job>("j")->status.failedIndexes.empty());
  CHECK(cluster.wait_for([&] { return cluster.get<api::Pod>(first)->metadata.finalizers.empty(); }));
}

TEST_CASE("a job takes its orphan back and lets go of a pod with other labels") {
  ControlledCluster<> cluster;
  cluster.create<api::Job>(job(""));
  REQUIRE(cluster.wait_for([&] { return running(cluster).size() == 1; }));
  const std::string name = running(cluster)[0]->metadata.name, uid = cluster.get<api::Job>("j")->metadata.uid;
  auto owner = [&] {
    const api::OwnerReference* found = client::controller_of(cluster.get<api::Pod>(name)->metadata);
    return found ? found->uid : "";
  };
  auto change = [&](const std::function<void(api::Pod&)>& how) {
    REQUIRE(cluster.client.update_with_retry<api::Pod>({"default", name}, [&](api::Pod& next) {
      how(next);
      return true;
    }).ok());
  };
  change([](api::Pod& next) { next.metadata.ownerReferences.clear(); });
  REQUIRE(cluster.wait_for([&] { return owner() == uid; }));
  change([](api::Pod& next) { next.metadata.labels.clear(); });
  CHECK(cluster.wait_for([&] { return owner().empty(); }));
  // Nobody counts it any more, so nothing holds it.
  CHECK(cluster.wait_for([&] { return cluster.get<api::Pod>(name)->metadata.finalizers.empty(); }));
}

TEST_CASE("the pods of a job that is gone are not held by its finalizer") {
  ControlledCluster<> cluster;
  cluster.create<api::Job>(job(R"("parallelism":2,)"));
  REQUIRE(cluster.wait_for([&] { return running(cluster).size() == 2; }));
  SECTION("deleted with their job") {
    REQUIRE(cluster.client.remove<api::Job>({"default", "j"}, {.propagation = "Background"}).ok());
    CHECK(cluster.wait_for([&] { return cluster.list<api::Pod>().empty(); }));
  }
  SECTION("although another job has its name by now") {
    for (const auto& pod : running(cluster))
      REQUIRE(cluster.client.update_with_retry<api::Pod>(client::key_of(*pod), [](api::Pod& next) {
        next.metadata.ownerReferences[0].uid = "of-an-earlier-one";
        return true;
      }).ok());
    CHECK(cluster.wait_for([&] {
      auto pods = running(cluster);  // the collector removes the two; there are two new ones
      return pods.size() == 2 && pods[0]->metadata.ownerReferences[0].uid != "of-an-earlier-one" &&
             cluster.list<api::Pod>().size() == 2;
    }));
  }
  SECTION("left behind by it") {
    REQUIRE(cluster.client.remove<api::Job>({"default", "j"}, {.propagation = "Orphan"}).ok());
    CHECK(cluster.wait_for([&] {
      auto pods = cluster.list<api::Pod>();
      return pods.size() == 2 && pods[0]->metadata.finalizers.empty() && pods[1]->metadata.finalizers.empty();
    }));
  }
}
