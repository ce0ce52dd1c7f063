#pragma once
// The addresses behind Services of type ExternalName, for those who cannot leave the asking to their clients.

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/clock.hpp"
#include "base/mutex.hpp"
#include "net/address.hpp"
#include "proxy/change_counter.hpp"

namespace skiff::proxy {

/// Asks again as long as somebody wants to know: what is known is never older than kFresh, while the resolver answers.
class ExternalNames {
 public:
  /// Asks for a name's addresses, on this object's thread; none: it has none, or nobody answers.
  using Lookup = std::function<std::vector<net::Address>(const std::string& name)>;
  static constexpr Duration kFresh = std::chrono::seconds(30), kAgain = std::chrono::seconds(2);

  ExternalNames(Clock& clock, Lookup lookup) : clock_(clock), lookup_(std::move(lookup)), changes_(clock) {}
  ~ExternalNames() { stop(); }

  /// `changed` is called on this object's thread when the addresses of a wanted name change. Before start().
  void on_change(std::function<void()> changed) { on_change_ = std::move(changed); }
  /// What is known; none the first time, and from then on the name is wanted. Any thread.
  std::vector<net::Address> addresses(const std::string& name);
  /// Those that are wanted no more.
  void keep_only(const std::set<std::string>& names);

  void start();
  void stop() { worker_.stop(); }

 private:
  struct Known {
    std::vector<net::Address> addresses;
    TimePoint due{};  // to be asked again
  };
  void run(std::stop_token stop);
  bool ask(const std::string& name);
  std::vector<std::string> due_names(TimePoint& next);

  Clock& clock_;
  const Lookup lookup_;
  std::function<void()> on_change_;
  ChangeCounter changes_;
  Mutex mutex_;
  std::map<std::string, Known> names_ GUARDED_BY(mutex_);
  Worker worker_;
};

}  // namespace skiff::proxy
