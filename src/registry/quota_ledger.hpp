#pragma once
// Admission plugin ResourceQuota: charges what is about to be written to status.used of the namespace's quotas, by
// compare-and-swap, so that no quota is ever exceeded however many write at once.

#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "api/pods.hpp"
#include "base/mutex.hpp"
#include "client/client.hpp"

namespace skiff::registry {

class Registry;
struct Resource;
class QuotaLedger;
struct Attributes;

/// What was charged for one write that has not happened yet; given back when it is destroyed without keep().
class [[nodiscard]] QuotaCharge {
 public:
  QuotaCharge() = default;  // nothing
  QuotaCharge(QuotaLedger& ledger, std::string where, std::map<std::string, api::ResourceList> charged)
      : ledger_(&ledger), namespace_(std::move(where)), charged_(std::move(charged)) {}
  QuotaCharge(QuotaCharge&& other) noexcept
      : ledger_(std::exchange(other.ledger_, nullptr)), namespace_(std::move(other.namespace_)),
        charged_(std::move(other.charged_)) {}
  QuotaCharge& operator=(QuotaCharge&&) = delete;
  ~QuotaCharge();

  /// The object is written.
  void keep();

 private:
  QuotaLedger* ledger_ = nullptr;
  std::string namespace_;
  std::map<std::string, api::ResourceList> charged_;  // by quota
};

/// Any thread. Charges of one namespace that come at the same time share one write of each quota.
class QuotaLedger {
 public:
  explicit QuotaLedger(Registry& registry);

  /// Forbidden: a quota would be exceeded, or the object does not state what a quota limits. A dry run is only checked.
  Result<QuotaCharge> charge(const Attributes& attributes);

  /// Whether something in the namespace is charged but not known to be written: a recount would miss it.
  bool pending(const std::string& namespace_) const;

 private:
  friend class QuotaCharge;
  struct Request;
  struct Lane {
    std::vector<Request*> waiting;
    bool busy = false;   // somebody works on an earlier batch
    int pending = 0;     // charges that are neither kept nor given back
    int guests = 0;      // threads in submit()
  };

  void submit(const std::string& namespace_, Request& request);
  void settle(const std::string& namespace_);
  void drop_if_idle(const std::string& namespace_) REQUIRES(mutex_);
  void work(const std::string& namespace_, const std::vector<Request*>& batch);

  Registry& registry_;
  const Resource& quotas_;
  mutable Mutex mutex_;
  CondVar done_;
  std::map<std::string, Lane> lanes_ GUARDED_BY(mutex_);
};

}  // namespace skiff::registry
