// Large numbers against a running cluster, over HTTPS as its users would.
//
//   bench_many KUBECONFIG watchers WATCHERS UPDATES   how late each update reaches each of many watches
//   bench_many KUBECONFIG rollouts N                  how soon a Deployment's change is a pod that its node knows, and runs
//   bench_many KUBECONFIG fill OBJECTS                puts that many 1-KiB ConfigMaps into namespace "many"

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <mutex>
#include <sstream>
#include <thread>
#include <vector>

#include "client/http_client.hpp"
#include "client/kubeconfig.hpp"

using namespace skiff;
using SteadyClock = std::chrono::steady_clock;

namespace {

constexpr auto kBetweenUpdates = std::chrono::milliseconds(40);
constexpr int kFillers = 16;
constexpr int kConnecting = 16;

std::int64_t now_ns() { return SteadyClock::now().time_since_epoch().count(); }

std::unique_ptr<client::HttpClient> connect(const client::KubeconfigEntry& entry) {
  return client::HttpClient::create(entry, 120s).value();
}

/// A watch that notes how old every update is when it arrives: the update says when it was sent.
class Watcher {
 public:
  Watcher(const client::KubeconfigEntry& entry, int updates, std::atomic<int>& ready) : wanted_(updates) {
    thread_ = std::jthread([this, entry, &ready] { follow(entry, ready); });
  }
  void join() { thread_.join(); }
  const std::vector<double>& delays() const { return delays_; }

 private:
  void follow(const client::KubeconfigEntry& entry, std::atomic<int>& ready) {
    // Until it sees the object as it is, which is the first event, a watch may be tried again.
    while (seen_ == 0) {
      auto http = connect(entry);
      std::string pending;
      Status ended = http->stream("/api/v1/namespaces/many/configmaps?watch=1&fieldSelector=metadata.name=clock",
                                  [&](std::string_view part) {
                                    pending += part;
                                    take(pending, ready);
                                    return seen_ <= wanted_;
                                  });
      if (seen_ <= wanted_) std::fprintf(stderr, "watch: %s\n", ended.ok() ? "ended" : ended.error().message().c_str());
    }
  }
  void take(std::string& pending, std::atomic<int>& ready) {
    for (size_t end; (end = pending.find('\n')) != std::string::npos; pending.erase(0, end + 1))
      if (++seen_ == 1) ++ready;
      else note(std::string_view(pending).substr(0, end));
  }
  void note(std::string_view event) {
    size_t at = event.find("\"sent\":\"");
    if (at == event.npos) return;
    delays_.push_back(static_cast<double>(now_ns() - std::strtoll(event.data() + at + 8, nullptr, 10)) / 1e6);
  }

  const int wanted_;
  int seen_ = 0;
  std::vector<double> delays_;
  std::jthread thread_;
};

std::string clock_object(std::int64_t sent) {
  return "{\"metadata\":{\"name\":\"clock\"},\"data\":{\"sent\":\"" + std::to_string(sent) + "\",\"padding\":\"" +
         std::string(512, 'x') + "\"}}";
}

int watchers(const client::KubeconfigEntry& entry, int count, int updates) {
  auto http = connect(entry);
  http->post("/api/v1/namespaces/many/configmaps", clock_object(now_ns())).value();
  std::atomic<int> ready{0};
  std::vector<std::unique_ptr<Watcher>> all;
  for (int i = 0; i < count; ++i) {
    all.push_back(std::make_unique<Watcher>(entry, updates, ready));
    // A thousand TLS handshakes at once are another question.
    while (ready < i - kConnecting) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  while (ready < count) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  auto begin = SteadyClock::now();
  for (int i = 0; i < updates; ++i) {
    std::this_thread::sleep_until(begin + i * kBetweenUpdates);
    client::HttpAnswer answer = http->put("/api/v1/namespaces/many/configmaps/clock", clock_object(now_ns())).value();
    if (answer.status != 200) return std::printf("update: HTTP %d %s\n", answer.status, answer.body.c_str()), 1;
  }
  std::vector<double> delays;
  for (auto& one : all) {
    one->join();
    delays.insert(delays.end(), one->delays().begin(), one->delays().end());
  }
  std::sort(delays.begin(), delays.end());
  auto at = [&](double share) { return delays[std::min(delays.size() - 1, static_cast<size_t>(share * static_cast<double>(delays.size())))]; };
  std::printf("%d watchers, %d updates, one every %lld ms: %zu deliveries, p50 %.1f ms, p99 %.1f ms, max %.1f ms\n", count,
              updates, static_cast<long long>(kBetweenUpdates.count()), delays.size(), at(0.5), at(0.99), delays.back());
  return 0;
}

int fill(const client::KubeconfigEntry& entry, int objects) {
  std::atomic<int> next{0}, failures{0};
  auto begin = SteadyClock::now();
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < kFillers; ++i)
      threads.emplace_back([&] {
        auto http = connect(entry);
        for (int number; (number = next++) < objects;) {
          std::string body = "{\"metadata\":{\"name\":\"m" + std::to_string(number) + "\"},\"data\":{\"key\":\"" +
                             std::string(1024, 'x') + "\"}}";
          if (http->post("/api/v1/namespaces/many/configmaps", body).value().status != 201) ++failures;
        }
      });
  }
  double seconds = std::chrono::duration<double>(SteadyClock::now() - begin).count();
  std::printf("%d objects of 1 KiB: %.1f s, %d failures\n", objects, seconds, failures.load());
  return failures > 0;
}

// ---- rollouts

std::string deployment(int version) {
  return R"({"metadata":{"name":"r"},"spec":{"replicas":1,"selector":{"matchLabels":{"app":"r"}},"template":{"metadata":{"labels":
    {"app":"r","version":"v)" + std::to_string(version) + R"("}},"spec":{"terminationGracePeriodSeconds":0,"containers":[{"name":"c",
    "image":"hitcounter:1.0"}]}}}})";
}

/// When the pod of each version was first seen with a node, and running. The kubelet hears of the node as the watch does.
class Rollouts {
 public:
  explicit Rollouts(const client::KubeconfigEntry& entry) {
    thread_ = std::jthread([this, entry](const std::stop_token& stop) {
      auto http = connect(entry);
      std::string pending;
      static_cast<void>(http->stream("/api/v1/namespaces/many/pods?watch=1&labelSelector=app%3Dr", [&](std::string_view part) {
        pending += part;
        for (size_t end; (end = pending.find('\n')) != std::string::npos; pending.erase(0, end + 1))
          note(std::string_view(pending).substr(0, end));
        return !stop.stop_requested();
      }).ok());
    });
  }
  /// 0: not yet.
  std::pair<std::int64_t, std::int64_t> of(int version) {
    std::lock_guard lock(mutex_);
    return seen_[version];
  }

 private:
  void note(std::string_view event) {
    size_t at = event.find("\"version\":\"v");
    if (at == event.npos) return;
    std::lock_guard lock(mutex_);
    auto& [bound, running] = seen_[std::atoi(event.data() + at + 12)];
    if (bound == 0 && event.find("\"nodeName\":") != event.npos) bound = now_ns();
    if (running == 0 && event.find("\"phase\":\"Running\"") != event.npos) running = now_ns();
  }
  std::mutex mutex_;
  std::map<int, std::pair<std::int64_t, std::int64_t>> seen_;
  std::jthread thread_;
};

void print_delays(const char* what, std::vector<double> delays) {
  std::sort(delays.begin(), delays.end());
  auto at = [&](double share) { return delays[std::min(delays.size() - 1, static_cast<size_t>(share * static_cast<double>(delays.size())))]; };
  std::printf("%s: p50 %.1f ms, p99 %.1f ms, max %.1f ms\n", what, at(0.5), at(0.99), delays.back());
}

int rollouts(const client::KubeconfigEntry& entry, int count) {
  auto http = connect(entry);
  Rollouts rollouts(entry);
  http->post("/apis/apps/v1/namespaces/many/deployments", deployment(0)).value();
  while (rollouts.of(0).second == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  std::vector<double> bound, running;
  for (int i = 1; i <= count; ++i) {
    client::HttpAnswer answer = http->put("/apis/apps/v1/namespaces/many/deployments/r", deployment(i)).value();
    const std::int64_t acknowledged = now_ns();
    if (answer.status != 200) return std::printf("update: HTTP %d %s\n", answer.status, answer.body.c_str()), 1;
    while (rollouts.of(i).second == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    bound.push_back(static_cast<double>(rollouts.of(i).first - acknowledged) / 1e6);
    running.push_back(static_cast<double>(rollouts.of(i).second - acknowledged) / 1e6);
  }
  std::printf("%d changes of a Deployment, from the acknowledged write\n", count);
  print_delays("  to the new pod on its node", bound);
  print_delays("  to the new pod running", running);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) return std::fprintf(stderr, "usage: bench_many KUBECONFIG watchers|rollouts|fill N [UPDATES]\n"), 2;
  std::signal(SIGPIPE, SIG_IGN);
  std::ifstream file(argv[1]);
  std::stringstream text;
  text << file.rdbuf();
  client::KubeconfigEntry entry = client::read_kubeconfig(text.str()).value();
  connect(entry)->post("/api/v1/namespaces", R"({"metadata":{"name":"many"}})").value();
  int number = std::atoi(argv[3]);
  if (std::strcmp(argv[2], "watchers") == 0) return watchers(entry, number, argc > 4 ? std::atoi(argv[4]) : 1000);
  if (std::strcmp(argv[2], "rollouts") == 0) return rollouts(entry, number);
  return fill(entry, number);
}
