#pragma once
// /metrics: what Prometheus scrapes of kube-apiserver, under the names that dashboards know.

#include <array>
#include <atomic>
#include <map>
#include <string>

#include "apiserver/request_info.hpp"
#include "base/clock.hpp"
#include "base/mutex.hpp"
#include "registry/registry.hpp"

namespace skiff::apiserver {

/// Counts requests. Any thread.
class Metrics {
 public:
  /// One request under way; ends with its scope. Long-running ones (watches, streams) are counted apart and by whoever
  /// runs them.
  class InFlight {
   public:
    InFlight(std::atomic<int>* count, bool admitted) : count_(count), admitted_(admitted) {}
    ~InFlight() {
      if (count_ != nullptr) --*count_;
    }
    InFlight(const InFlight&) = delete;
    InFlight& operator=(const InFlight&) = delete;
    /// False when too many of its kind are under way already: answer 429.
    bool admitted() const { return admitted_; }

   private:
    std::atomic<int>* count_;
    bool admitted_;
  };

  /// kube-apiserver's --max-requests-inflight and --max-mutating-requests-inflight.
  struct Limits {
    int read_only = 400;
    int mutating = 200;
  };
  explicit Metrics(Limits limits) : limits_(limits) {}

  InFlight begin(const RequestInfo& info);
  void record(const RequestInfo& info, int code, bool dry_run, Duration took);

  /// The text exposition format, version 0.0.4.
  std::string text(const registry::Registry& registry, const std::string& git_version) const;

 private:
  static constexpr size_t kBuckets = 23;
  struct Latency {
    std::array<std::uint64_t, kBuckets> buckets{};
    std::uint64_t count = 0;
    double sum = 0;
  };

  void write_requests(std::string& out) const;
  void write_latencies(std::string& out) const;

  const Limits limits_;
  std::atomic<int> read_only_{0};
  std::atomic<int> mutating_{0};
  mutable Mutex mutex_;
  std::map<std::string, std::uint64_t, std::less<>> requests_ GUARDED_BY(mutex_);   // by its labels
  std::map<std::string, Latency, std::less<>> latencies_ GUARDED_BY(mutex_);
};

/// Watches and streams, which last as long as their clients want.
bool is_long_running(const RequestInfo& info);

}  // namespace skiff::apiserver
