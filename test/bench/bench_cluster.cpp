// bench_cluster KUBECONFIG [pods]: measures a running cluster over HTTPS as its users would, and prints one line a
// figure. It makes what it needs in namespace "bench" and removes it again.

#include <httplib.h>
#include <openssl/pem.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>

#include "client/http_client.hpp"
#include "client/kubeconfig.hpp"
#include "lean_client.hpp"

using namespace skiff;
using SteadyClock = std::chrono::steady_clock;

namespace {

constexpr int kClients = 16;
constexpr int kWrites = 8000;
constexpr int kListed = 5000;

double milliseconds_since(SteadyClock::time_point begin) {
  return std::chrono::duration<double, std::milli>(SteadyClock::now() - begin).count();
}

double percentile(std::vector<double> values, double share) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  return values[std::min(values.size() - 1, static_cast<size_t>(share * static_cast<double>(values.size())))];
}

std::unique_ptr<client::HttpClient> connect(const client::KubeconfigEntry& entry) {
  return client::HttpClient::create(entry, 30s).value();
}

void print_load() {
  double load[3] = {};
  if (::getloadavg(load, 3) == 3) std::printf("load average %.2f %.2f %.2f\n", load[0], load[1], load[2]);
}

std::string config_map(int number) {
  static const std::string kBefore = R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"m)";
  static const std::string kAfter = R"("},"data":{"key":")" + std::string(1024, 'x') + "\"}}";
  return kBefore + std::to_string(number) + kAfter;
}

// `total` requests from kClients keep-alive connections.
void hammer(const client::KubeconfigEntry& entry, const char* what, int total,
            const std::function<bool(bench::LeanClient&, int)>& request) {
  std::atomic<int> next{0}, failures{0};
  std::mutex mutex;
  std::vector<double> latencies;
  auto begin = SteadyClock::now();
  {
    std::vector<std::jthread> clients;
    for (int i = 0; i < kClients; ++i)
      clients.emplace_back([&] {
        bench::LeanClient client(entry);
        std::vector<double> mine;
        for (int number; (number = next++) < total;) {
          auto started = SteadyClock::now();
          if (!request(client, number)) ++failures;
          mine.push_back(milliseconds_since(started));
        }
        std::lock_guard lock(mutex);
        latencies.insert(latencies.end(), mine.begin(), mine.end());
      });
  }
  double seconds = milliseconds_since(begin) / 1000;
  std::printf("%-32s %8.0f /s   p50 %.2f ms  p99 %.2f ms  failures %d\n", what, total / seconds,
              percentile(latencies, 0.5), percentile(latencies, 0.99), failures.load());
}

void bench_list(const client::KubeconfigEntry& entry) {
  bench::LeanClient client(entry);
  std::vector<double> times;
  std::string path = "/api/v1/namespaces/bench/configmaps?limit=" + std::to_string(kListed);
  for (int i = 0; i < 11; ++i) {
    auto begin = SteadyClock::now();
    if (client.request("GET", path) != 200) std::printf("LIST failed\n");
    times.push_back(milliseconds_since(begin));
  }
  std::printf("%-32s %8.1f ms   (%zu bytes over HTTPS, median of %zu)\n", "LIST of 5000 1-KiB ConfigMaps",
              percentile(times, 0.5), client.received(), times.size());
}

nlohmann::json pod(const std::string& name) {
  return {{"apiVersion", "v1"},
          {"kind", "Pod"},
          {"metadata", {{"name", name}}},
          {"spec",
           {{"terminationGracePeriodSeconds", 0},
            {"containers", {{{"name", "c"}, {"image", "hitcounter:1.0"}, {"imagePullPolicy", "Never"}}}}}}};
}

// Follows a watch of the namespace's pods and notes when each first shows phase Running.
class RunningTimes {
 public:
  RunningTimes(const client::KubeconfigEntry& entry, int wanted) : wanted_(wanted), thread_([this, entry] { follow(entry); }) {}
  void wait() {
    std::unique_lock lock(mutex_);
    done_.wait_for(lock, std::chrono::seconds(120), [&] { return seen_.size() >= static_cast<size_t>(wanted_); });
  }
  std::map<std::string, SteadyClock::time_point> seen() {
    std::lock_guard lock(mutex_);
    return seen_;
  }

 private:
  void follow(const client::KubeconfigEntry& entry) {
    auto http = connect(entry);
    std::string pending;
    Status ended = http->stream("/api/v1/namespaces/bench/pods?watch=1", [&](std::string_view part) {
      pending += part;
      for (size_t end; (end = pending.find('\n')) != std::string::npos; pending.erase(0, end + 1))
        note(pending.substr(0, end));
      std::lock_guard lock(mutex_);
      return seen_.size() < static_cast<size_t>(wanted_);
    });
    if (!ended.ok() && ended.error().code() != Code::Canceled) std::fprintf(stderr, "watch: %s\n", ended.error().message().c_str());
  }
  void note(const std::string& line) {
    nlohmann::json event = nlohmann::json::parse(line, nullptr, false);
    if (!event.is_object()) return;
    const nlohmann::json& object = event["object"];
    if (object.value("/status/phase"_json_pointer, "") != "Running") return;
    std::lock_guard lock(mutex_);
    seen_.emplace(object.value("/metadata/name"_json_pointer, ""), SteadyClock::now());
    done_.notify_all();
  }

  const int wanted_;
  std::mutex mutex_;
  std::condition_variable done_;
  std::map<std::string, SteadyClock::time_point> seen_;
  std::jthread thread_;
};

void bench_pods(const client::KubeconfigEntry& entry, int count) {
  auto http = connect(entry);
  RunningTimes times(entry, count);
  std::map<std::string, SteadyClock::time_point> created;
  for (int i = 0; i < count; ++i) {
    std::string name = "p" + std::to_string(i);
    created[name] = SteadyClock::now();
    client::HttpAnswer answer = http->post("/api/v1/namespaces/bench/pods", pod(name).dump()).value();
    if (answer.status != 201) {
      std::printf("pod create: HTTP %d %s\n", answer.status, answer.body.c_str());
      return;
    }
    // One after another: the latency of a single pod is the question.
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  times.wait();
  std::vector<double> latencies;
  for (const auto& [name, at] : times.seen())
    latencies.push_back(std::chrono::duration<double, std::milli>(at - created[name]).count());
  std::printf("%-32s %8.1f ms p50  %.1f ms p99  (%zu of %d pods)\n", "pod create -> Running",
              percentile(latencies, 0.5), percentile(latencies, 0.99), latencies.size(), count);
}

bool created(client::HttpClient& http, const std::string& path, const std::string& body) {
  Result<client::HttpAnswer> answer = http.post(path, body);
  return answer.ok() && answer.value().status == 201;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: bench_cluster KUBECONFIG [pods]\n");
    return 2;
  }
  std::ifstream file(argv[1]);
  std::stringstream text;
  text << file.rdbuf();
  client::KubeconfigEntry entry = client::read_kubeconfig(text.str()).value();
  int pods = argc > 2 ? std::atoi(argv[2]) : 30;
  print_load();
  auto http = connect(entry);
  created(*http, "/api/v1/namespaces", R"({"metadata":{"name":"bench"}})");
  // Pods need the namespace's service account, which a controller makes.
  for (int i = 0; i < 100 && http->get("/api/v1/namespaces/bench/serviceaccounts/default").value().status != 200; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  if (pods > 0) bench_pods(entry, pods);
  hammer(entry, "durable creates, 16 clients", kWrites, [](bench::LeanClient& client, int number) {
    return client.request("POST", "/api/v1/namespaces/bench/configmaps", config_map(number)) == 201;
  });
  hammer(entry, "gets, 16 clients", 4 * kWrites, [](bench::LeanClient& client, int number) {
    return client.request("GET", "/api/v1/namespaces/bench/configmaps/m" + std::to_string(number % kWrites)) == 200;
  });
  bench_list(entry);
  print_load();
  return 0;
}
