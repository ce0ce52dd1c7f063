#pragma once
// A local, always current copy of all objects of a kind, fed by one list and watch (client-go's shared informer).

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "base/mutex.hpp"
#include "client/client.hpp"

namespace skiff::client {

/// Handlers run one after another on the informer's thread, after the cache has changed: `before` is null for an
/// addition, `now` for a deletion. They must not block. After a lost watch the informer lists again and reports only
/// the differences; an object that was replaced under the same name may then show as a change (the UIDs differ).
/// Reads come from any thread. Objects are shared and immutable.
class AnyInformer {
 public:
  using Handler = std::function<void(const AnyRef& before, const AnyRef& now)>;
  using IndexFunction = std::function<std::vector<std::string>(const AnyRef&)>;

  AnyInformer(Client& client, Clock& clock, const api::KindInfo& kind, ListOptions options = {});
  ~AnyInformer();

  /// Before start().
  void on_change(Handler handler);
  void add_index(const std::string& name, IndexFunction values_of);

  void start();
  void stop();

  bool synced() const;
  /// False once `stop` is requested.
  bool wait_synced(std::stop_token stop);

  AnyRef get(const ObjectKey& key) const;  // null when there is none
  std::vector<AnyRef> list(const std::string& namespace_ = "") const;
  std::vector<AnyRef> by_index(const std::string& index, const std::string& value) const;
  size_t size() const;
  /// The revision up to which the cache has seen this kind's changes.
  std::int64_t revision() const;

 private:
  struct Index {
    IndexFunction values_of;
    std::map<std::string, std::set<ObjectKey>> keys;
  };
  struct Change {
    AnyRef before, now;
  };

  void run(std::stop_token stop);
  Status list_and_watch(std::stop_token stop);
  void replace(const AnyList& list);
  void apply(const WatchEvent& event);
  Change store_locked(const ObjectKey& key, const AnyRef& now) REQUIRES(mutex_);
  void notify(const Change& change);

  Client& client_;
  Clock& clock_;
  const api::KindInfo& kind_;
  const ListOptions options_;
  std::vector<Handler> handlers_;  // constant once started

  mutable Mutex mutex_;
  CondVar synced_changed_;
  std::map<ObjectKey, AnyRef> cache_ GUARDED_BY(mutex_);
  std::map<std::string, Index> indexes_ GUARDED_BY(mutex_);
  std::int64_t revision_ GUARDED_BY(mutex_) = 0;
  bool synced_ GUARDED_BY(mutex_) = false;
  std::jthread thread_;  // last: joined before the rest goes
};

/// An AnyInformer seen through one type. A cheap handle; the Informers own what it points to.
template <class T>
class Informer {
 public:
  explicit Informer(AnyInformer& any) : any_(&any) {}

  /// `handler(before, now)`, either may be null.
  void on_change(std::function<void(const Ref<T>&, const Ref<T>&)> handler) {
    any_->on_change([handler = std::move(handler)](const AnyRef& before, const AnyRef& now) {
      handler(cast(before), cast(now));
    });
  }
  void add_index(const std::string& name, std::function<std::vector<std::string>(const T&)> values_of) {
    any_->add_index(name, [values_of = std::move(values_of)](const AnyRef& object) {
      return values_of(*static_cast<const T*>(object.get()));
    });
  }
  Ref<T> get(const ObjectKey& key) const { return cast(any_->get(key)); }
  std::vector<Ref<T>> list(const std::string& namespace_ = "") const { return cast_all(any_->list(namespace_)); }
  std::vector<Ref<T>> by_index(const std::string& index, const std::string& value) const {
    return cast_all(any_->by_index(index, value));
  }
  /// Objects whose controlling owner has this UID (an index every informer has).
  std::vector<Ref<T>> owned_by(const std::string& uid) const { return by_index("controller", uid); }
  std::int64_t revision() const { return any_->revision(); }
  bool synced() const { return any_->synced(); }
  bool wait_synced(std::stop_token stop) const { return any_->wait_synced(std::move(stop)); }

 private:
  static Ref<T> cast(const AnyRef& any) { return std::static_pointer_cast<const T>(any.shared()); }
  static std::vector<Ref<T>> cast_all(const std::vector<AnyRef>& all) {
    std::vector<Ref<T>> typed;
    typed.reserve(all.size());
    for (const AnyRef& any : all) typed.push_back(cast(any));
    return typed;
  }
  AnyInformer* any_;
};

/// The informers of one client, one per kind (and selector), shared by all who ask. Components ask for theirs and register
/// handlers, then start() runs all; stop() (or the destructor) joins them.
class Informers {
 public:
  Informers(Client& client, Clock& clock) : client_(client), clock_(clock) {}
  ~Informers() { stop(); }

  /// With a field selector: of the objects that it selects alone.
  template <class T>
  Informer<T> of(const std::string& field_selector = "") {
    return Informer<T>(any(api::kind_of<T>(), field_selector));
  }
  AnyInformer& any(const api::KindInfo& kind, const std::string& field_selector = "");
  void start();
  bool wait_synced(std::stop_token stop);
  void stop();

 private:
  Client& client_;
  Clock& clock_;
  Mutex mutex_;
  std::map<std::pair<const api::KindInfo*, std::string>, std::unique_ptr<AnyInformer>> informers_ GUARDED_BY(mutex_);
};

/// Remembers each key's last own write, so that a reconcile can tell that a cache is still behind it (the place of
/// Kubernetes' expectations: revisions are one total order here). Any thread.
class Fence {
 public:
  void wrote(const ObjectKey& key, std::int64_t revision);
  bool passed(const ObjectKey& key, std::int64_t cache_revision) const;
  void forget(const ObjectKey& key);

 private:
  mutable Mutex mutex_;
  std::map<ObjectKey, std::int64_t> last_write_ GUARDED_BY(mutex_);
};

}  // namespace skiff::client
