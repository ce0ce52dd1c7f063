#pragma once
// The verbs of the API over the store, for every kind alike: decode, default, admit, validate, write by
// compare-and-swap. Nothing here knows HTTP; the API server and the in-process client both call it.

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "api/selector.hpp"
#include "base/clock.hpp"
#include "base/mutex.hpp"
#include "base/random.hpp"
#include "client/client.hpp"
#include "registry/catalogue.hpp"
#include "registry/object.hpp"
#include "registry/kinds/other_versions.hpp"
#include "registry/kinds/service_ranges.hpp"
#include "registry/resource.hpp"
#include "store/store.hpp"

namespace skiff::registry {

/// A mutable object on its way into the store: a default-constructed or decoded struct of `resource`'s type.
struct Draft {
  const api::KindInfo* kind = nullptr;
  std::shared_ptr<void> value;
  bool tracked = false;  // its managedFields are as they are to be
  api::ObjectMeta& metadata() const { return *static_cast<api::ObjectMeta*>(value.get()); }
  AnyRef any() const { return AnyRef(*kind, value); }
};

class Admission;
class RunningWatches;
struct Attributes;

struct ListQuery {
  std::string namespace_;                     // empty: all
  api::Selector labels;
  api::FieldSelector fields;
  std::int64_t limit = 0;                     // 0: no paging
  std::string continue_token;
  std::string resource_version;               // as in the query
  std::string resource_version_match;         // "", Exact, NotOlderThan
};

struct ListPage {
  std::vector<Object> items;
  store::Revision revision = 0;
  std::string continue_token;                 // empty on the last page
  std::optional<std::int64_t> remaining;
};

struct ObjectEvent {
  enum class Type { Added, Modified, Deleted };
  Type type;
  Object object;
  store::Revision revision;
};

/// Receives a watch's events on the store's writer thread (the past: on the caller's of Registry::watch). Must not
/// block and must not call the registry.
class EventSink {
 public:
  virtual ~EventSink() = default;
  virtual void on_event(const ObjectEvent& event) = 0;
  virtual void on_closed(const Error& why) = 0;
  /// What is watched is served no more, or in another shape: who wants to go on must watch anew. On any thread.
  virtual void on_retired() {}
};

/// A running watch; destroying it ends it.
class ObjectWatch {
 public:
  virtual ~ObjectWatch() = default;
  /// Everything up to this revision has been handed to the sink: what a bookmark may say.
  virtual store::Revision progress() const = 0;
};

struct UpdateResult {
  Object object;
  bool created = false;
};

struct Removal {
  Object object;      // as it was last, or as it is now while something still holds it
  bool gone = false;
};

/// A change of one object made by `change` inside the read-modify-write loop; it may run more than once.
using Mutation = std::function<Status(Draft& draft, const AnyRef& current)>;

/// Any thread. One per cluster.
class Registry {
 public:
  Registry(store::Store& store, Clock& clock, Random& random, const ServiceRangeOptions& ranges = {});
  ~Registry();

  /// Everything served now; a snapshot.
  std::shared_ptr<const Catalogue> catalogue() const {
    MutexLock lock(catalogue_mutex_);
    return catalogue_;
  }
  /// Null when there is no such resource. What is returned lives as long as the registry.
  const ServedKind* find(std::string_view group, std::string_view version, std::string_view plural) const {
    return catalogue()->find(group, version, plural);
  }
  /// The resource that stores `kind`, which must be served or have been published.
  const Resource& of(const api::KindInfo& kind) const;
  /// The resources that are built in.
  const std::vector<Resource>& resources() const { return resources_; }

  /// Serves a further resource from now on, in place of the one that was published under `name` before. Requests and
  /// watches under way go on with what they found.
  void publish(const std::string& name, Publication publication);
  void retire(const std::string& name);
  /// Ends clients' watches of what was published as `kind`. Events of changes before the caller's own last write, and of
  /// what the caller has been told of, have reached them.
  void end_watches(const api::KindInfo& kind);

  /// Decodes a request body of `kind`, checks apiVersion and kind, applies defaults. Unknown and duplicate fields are
  /// an error or a warning as the context says. BadRequest in kube-apiserver's words.
  Result<Draft> decode(const api::KindInfo& kind, std::string_view body, RequestContext& context) const;
  /// The same for an object of a served version; the draft is of the stored one.
  Result<Draft> decode(const ServedKind& served, std::string_view body, RequestContext& context) const;

  Result<Object> get(const Resource& resource, const ObjectKey& key) const;
  Result<ListPage> list(const Resource& resource, const ListQuery& query) const;
  /// Events after `after`; pages and events agree on revisions. Expired: `after` is older than the history.
  Result<std::unique_ptr<ObjectWatch>> watch(const Resource& resource, const ListQuery& query, store::Revision after,
                                             EventSink& sink) const;
  /// As Client::watch_metadata.
  Result<std::unique_ptr<client::MetadataWatch>> watch_metadata(
      const std::vector<const api::KindInfo*>& kinds, const std::function<void(const client::MetadataEvent&)>& present);
  /// The kind of what the store keeps under `key`, also when it is no longer served; null when it never was.
  const api::KindInfo* kind_at(std::string_view key) const;
  store::Revision revision() const { return store_.revision(); }
  /// Whether a namespace has any; cheap.
  bool any_in(const Resource& resource, const std::string& namespace_) const;
  /// How many objects there are.
  size_t count(const Resource& resource) const { return store_.count(resource.prefix()); }
  const ServiceRanges& service_ranges() const { return *ranges_; }

  Result<Object> create(const Resource& resource, const std::string& namespace_, Draft draft,
                        RequestContext& context);
  /// subresource: "" or "status" (others have functions of their own in subresources.hpp).
  Result<UpdateResult> update(const Resource& resource, const ObjectKey& key, Draft draft,
                              const std::string& subresource, RequestContext& context);
  /// The patch applies to the object as clients of `served` see it.
  Result<Object> patch(const ServedKind& served, const ObjectKey& key, client::PatchType type, std::string_view body,
                       const std::string& subresource, RequestContext& context);
  /// Server-side apply of YAML or JSON by context.field_manager, which may create the object. Conflict: another manager
  /// owns a field and context.force is not set.
  Result<UpdateResult> apply(const ServedKind& served, const ObjectKey& key, std::string_view body,
                             const std::string& subresource, RequestContext& context);
  Result<Removal> remove(const Resource& resource, const ObjectKey& key, const client::DeleteOptions& options,
                         RequestContext& context);
  Result<std::vector<Object>> remove_collection(const Resource& resource, const ListQuery& query,
                                                const client::DeleteOptions& options, RequestContext& context);

  /// Reads, lets `change` edit a copy, runs the strategy of `subresource` and writes, again when another writer was
  /// faster. The general form of update and patch, for subresources.
  Result<Object> mutate(const Resource& resource, const ObjectKey& key, const std::string& subresource,
                        RequestContext& context, const Mutation& change);

  /// autoscaling/v1 Scale of a resource that has the subresource.
  Result<AnyRef> get_scale(const Resource& resource, const ObjectKey& key) const;
  Result<AnyRef> update_scale(const Resource& resource, const ObjectKey& key, const Draft& scale,
                              RequestContext& context);
  Result<AnyRef> patch_scale(const Resource& resource, const ObjectKey& key, client::PatchType type,
                             std::string_view body, RequestContext& context);
  Result<AnyRef> apply_scale(const Resource& resource, const ObjectKey& key, std::string_view body,
                             RequestContext& context);
  /// POST to pods/binding, pods/eviction, serviceaccounts/token and the like; the answer to send.
  Result<AnyRef> create_subresource(const Resource& resource, const ObjectKey& key, const std::string& subresource,
                                    Draft draft, RequestContext& context);

  /// Signs service-account tokens; connected by `cluster` before the first request. Fills the request's status.
  using TokenSigner = std::function<Status(const ObjectKey& service_account, const std::string& uid, Draft& token_request)>;
  void set_token_signer(TokenSigner signer) { token_signer_ = std::move(signer); }

  /// Answers for metrics.k8s.io; connected by `cluster` before the first request. Until then there is nothing.
  void set_usage_source(UsageSource source);

  /// Connected by `cluster` before the first request and outliving the last; until then everything is allowed.
  void set_authorizer(const Authorizer& authorizer) { authorizer_ = &authorizer; }
  const Authorizer& authorizer() const { return *authorizer_; }
  /// Answers TokenReviews; connected like the above.
  void set_token_authenticator(const TokenAuthenticator& tokens) { token_authenticator_ = &tokens; }
  /// Reads certificate requests; connected like the above.
  void set_certificate_authority(const client::CertificateAuthority& authority) { certificates_ = &authority; }

  /// Admission of a connection (exec, attach, port-forward, proxy) to the object: `kind` and `options` (JSON) say how.
  Status admit_connect(const Resource& resource, const ObjectKey& key, const std::string& subresource,
                       std::pair<std::string, std::string> kind_and_options, RequestContext& context);
  Admission& admission() { return *admission_; }

  /// The Client that components in this process use: no serialising, admin rights.
  client::Client& local_client() { return *local_client_; }
  /// The same for a component that owns the fields it writes under `manager`.
  std::unique_ptr<client::Client> client_for(std::string manager);

 private:
  store::Store& store_;
  Clock& clock_;
  Random& random_;
  std::shared_ptr<ServiceRanges> ranges_;
  std::shared_ptr<UsageSource> usage_;
  void serve_all() REQUIRES(publishing_);
  StrategyContext strategy_context(RequestContext& context);
  Result<Object> create_admitted(const Attributes& admitted);

  std::vector<Resource> resources_;
  OtherVersions other_versions_;
  mutable Mutex publishing_;
  std::map<std::string, const Publication*> published_ GUARDED_BY(publishing_);
  std::vector<std::unique_ptr<const Publication>> kept_ GUARDED_BY(publishing_);  // also what was retired
  std::vector<ServedKind> built_in_;
  mutable Mutex catalogue_mutex_;
  std::shared_ptr<const Catalogue> catalogue_ GUARDED_BY(catalogue_mutex_);
  TokenSigner token_signer_;
  const Authorizer* authorizer_ = &always_allow();
  const TokenAuthenticator* token_authenticator_ = nullptr;
  const client::CertificateAuthority* certificates_ = nullptr;
  std::unique_ptr<RunningWatches> watches_;
  std::unique_ptr<client::Client> local_client_;
  std::unique_ptr<Admission> admission_;
};

}  // namespace skiff::registry
