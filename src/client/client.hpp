#pragma once
// The one interface through which controllers, scheduler, kubelet and proxy see a cluster. In the process it is the
// registry itself (objects are handed over without serialising); from another machine it is HTTP.

#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/clock.hpp"
#include "base/error.hpp"
#include "client/object.hpp"

namespace skiff::client {

struct ListOptions {
  std::string namespace_;         // empty: all namespaces
  std::string label_selector;     // as in ?labelSelector=
  std::string field_selector;     // as in ?fieldSelector=
};

struct AnyList {
  std::vector<AnyRef> items;
  std::string resource_version;   // of the snapshot: a watch from here misses nothing
};

struct WatchEvent {
  enum class Type { Added, Modified, Deleted, Bookmark } type;
  AnyRef object;                  // null for a Bookmark
  std::string resource_version;
};

/// A running watch. next() is called by one thread.
class Watch {
 public:
  virtual ~Watch() = default;
  /// Blocks for the next event. Expired: too old or too slow, list again. Canceled: `stop` was requested.
  virtual Result<WatchEvent> next(std::stop_token stop) = 0;
};

/// What happened to an object of any kind: its metadata as it is now, or for Deleted as it was last.
struct MetadataEvent {
  WatchEvent::Type type;
  const api::KindInfo* kind;      // that it is stored as
  Ref<api::ObjectMeta> metadata;
};

/// next() is called by one thread.
class MetadataWatch {
 public:
  virtual ~MetadataWatch() = default;
  /// As Watch::next; without bookmarks.
  virtual Result<MetadataEvent> next(std::stop_token stop) = 0;
};

struct DeleteOptions {
  std::optional<std::int64_t> grace_seconds;
  std::string propagation;        // "", Orphan, Background or Foreground
  std::string uid;                // preconditions, empty: none
  std::string resource_version;
};

/// Apply is server-side apply under the client's own manager name; it takes over fields that others own.
enum class PatchType { Json, Merge, StrategicMerge, Apply };

/// Any thread. Errors carry the API's code and message (NotFound, AlreadyExists, Conflict, Invalid, ...).
class Client {
 public:
  virtual ~Client() = default;

  virtual Result<AnyRef> get(const api::KindInfo& kind, const ObjectKey& key) = 0;
  virtual Result<AnyList> list(const api::KindInfo& kind, const ListOptions& options) = 0;
  /// Events after `resource_version` (a list's, or an earlier event's).
  virtual Result<std::unique_ptr<Watch>> watch(const api::KindInfo& kind, const ListOptions& options,
                                               const std::string& resource_version) = 0;
  /// The metadata of all objects of `kinds` (none: of every kind, custom ones included), one Added each to `present`, and
  /// then what happens to any of them, in order. What happens during the call may be told twice.
  virtual Result<std::unique_ptr<MetadataWatch>> watch_metadata(
      const std::vector<const api::KindInfo*>& kinds, const std::function<void(const MetadataEvent&)>& present) = 0;
  /// Returns the object as stored. An empty namespace_ in `key` for a namespaced kind means "default"; an empty name
  /// asks for generateName or for the name in the object's metadata.
  virtual Result<AnyRef> create(const AnyRef& object) = 0;
  /// Replaces by the object's own namespace and name; its resourceVersion must match, or be empty.
  virtual Result<AnyRef> update(const AnyRef& object) = 0;
  virtual Result<AnyRef> update_status(const AnyRef& object) = 0;
  virtual Result<AnyRef> patch(const api::KindInfo& kind, const ObjectKey& key, PatchType type,
                               const std::string& body, const std::string& subresource = "") = 0;
  /// The object as it was last, or as it is now when it only began to go (grace period, finalizers).
  virtual Result<AnyRef> remove(const api::KindInfo& kind, const ObjectKey& key, const DeleteOptions& options) = 0;
  /// POST to a subresource such as pods/binding, pods/eviction or serviceaccounts/token. `object` is of the
  /// subresource's own kind; the answer too (Status answers give a null AnyRef).
  virtual Result<AnyRef> create_subresource(const api::KindInfo& kind, const ObjectKey& key,
                                            const std::string& subresource, const AnyRef& object) = 0;

  /// The custom resources that are served now, each as it is stored. Descriptors live as long as the client; a kind
  /// whose definition changes gets another.
  virtual std::vector<const api::KindInfo*> custom_kinds() { return {}; }
  /// The kind that objects of `api_version` and `kind` are stored as, whatever version that is; null: not served.
  virtual const api::KindInfo* find_kind(const std::string& api_version, const std::string& kind) {
    return api::find_kind(api_version, kind);
  }

  // The same with types.
  template <class T>
  Result<Ref<T>> get(const ObjectKey& key) {
    return typed<T>(get(api::kind_of<T>(), key));
  }
  template <class T>
  Result<std::vector<Ref<T>>> list(const ListOptions& options = {}) {
    TRY_ASSIGN(AnyList list, list(api::kind_of<T>(), options));
    std::vector<Ref<T>> items;
    items.reserve(list.items.size());
    for (const AnyRef& item : list.items) items.push_back(item.as<T>());
    return items;
  }
  template <class T>
  Result<Ref<T>> create(T object) {
    return typed<T>(create(AnyRef(Ref<T>(std::make_shared<T>(std::move(object))))));
  }
  template <class T>
  Result<Ref<T>> update(T object) {
    return typed<T>(update(AnyRef(Ref<T>(std::make_shared<T>(std::move(object))))));
  }
  template <class T>
  Result<Ref<T>> update_status(T object) {
    return typed<T>(update_status(AnyRef(Ref<T>(std::make_shared<T>(std::move(object))))));
  }
  template <class T>
  Result<AnyRef> remove(const ObjectKey& key, const DeleteOptions& options = {}) {
    return remove(api::kind_of<T>(), key, options);
  }

  /// Reads, changes a copy and writes it back, again while another writer is faster (client-go's RetryOnConflict).
  /// `change` returns whether there is anything to write.
  template <class T>
  Result<Ref<T>> update_with_retry(const ObjectKey& key, const std::function<bool(T&)>& change, bool status = false) {
    for (int attempt = 0;; ++attempt) {
      TRY_ASSIGN(Ref<T> current, get<T>(key));
      T next = *current;
      if (!change(next)) return current;
      Result<Ref<T>> written = status ? update_status(std::move(next)) : update(std::move(next));
      if (written.ok() || written.error().code() != Code::Conflict || attempt == 5) return written;
    }
  }

 private:
  template <class T>
  static Result<Ref<T>> typed(Result<AnyRef> result) {
    if (!result.ok()) return std::move(result).error();
    return result.value().template as<T>();
  }
};

}  // namespace skiff::client
