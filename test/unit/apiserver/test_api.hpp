#pragma once
// The API over a registry in memory, called without a network.

#include <memory>
#include <string>

#include "api/gen/core.hpp"
#include "api/gen/pod.hpp"
#include "apiserver/api.hpp"
#include "apiserver/authorize.hpp"
#include "apiserver/certificates.hpp"
#include "apiserver/default_policy.hpp"
#include "apiserver/http.hpp"
#include "registry/registry.hpp"
#include "support/fake_clock.hpp"

namespace skiff::test {

struct TestApi {
  FakeClock clock;
  SeededRandom random{1};
  std::unique_ptr<store::Store> store = store::Store::open({}).value();
  registry::Registry registry{*store, clock, random};
  std::unique_ptr<apiserver::TokenSigner> signer =
      apiserver::TokenSigner::create(apiserver::make_signing_key().value()).value();
  client::NodeAccessByName nodes = [](const std::string&) { return nullptr; };
  std::unique_ptr<apiserver::AccessControl> access =
      apiserver::AccessControl::create(registry, registry.local_client()).value();
  apiserver::Api api{options()};

  TestApi() {
    registry.set_authorizer(*access);
    create_namespace("default");
  }
  /// The namespaces and roles that every cluster has.
  void bootstrap() {
    create_namespace("kube-system");
    create_namespace("kube-public");
    const apiserver::DefaultPolicy policy = apiserver::default_policy();
    auto tasks = apiserver::reconcile_default_policy(registry.local_client(), policy);
    if (!client::run_together(tasks).ok()) std::abort();
  }
  void create_namespace(const std::string& name) {
    api::Namespace ns;
    ns.metadata.name = name;
    if (!registry.local_client().create(ns).ok()) std::abort();
    api::ServiceAccount account;
    account.metadata.name = "default";
    account.metadata.namespace_ = name;
    if (!registry.local_client().create(account).ok()) std::abort();
  }
  apiserver::ApiOptions options() {
    apiserver::Authenticator authenticator;
    authenticator.signer = signer.get();
    authenticator.cluster = &registry.local_client();
    authenticator.clock = &clock;
    authenticator.tokens["secret"] = {"admin", "", {"system:masters", "system:authenticated"}, {}};
    return {registry,       clock, authenticator, [this](const std::string& node) { return nodes(node); },
            "v1.36.0+test", {}};
  }

  /// A request with the admin's token. `target` is a path with its query.
  static apiserver::Request request(const std::string& method, const std::string& target,
                                    std::string body = "") {
    apiserver::Request out;
    out.method = method;
    out.target = target;
    out.path = target.substr(0, target.find('?'));
    out.query = apiserver::parse_query(target);
    out.headers.emplace("Authorization", "Bearer secret");
    if (!body.empty()) out.headers.emplace("Content-Type", "application/json");
    out.body = std::move(body);
    return out;
  }
  apiserver::Reply call(const apiserver::Request& request) {
    return std::get<apiserver::Reply>(api.handle(request));
  }
  apiserver::Reply call(const std::string& method, const std::string& target, std::string body = "") {
    return call(request(method, target, std::move(body)));
  }
  apiserver::Reply call_as(const std::string& accept, const std::string& target) {
    apiserver::Request out = request("GET", target);
    out.headers.emplace("Accept", accept);
    return call(out);
  }
};

/// A sink that keeps what it is given.
class CollectingSink final : public apiserver::StreamSink {
 public:
  using StreamSink::write;
  bool write(std::initializer_list<apiserver::Chunk> pieces) override {
    std::lock_guard lock(mutex_);
    if (closed_) return false;
    for (const apiserver::Chunk& piece : pieces) text_ += *piece;
    changed_.notify_all();
    return true;
  }
  void begin(const apiserver::StreamReply&) override {}
  void answer(const apiserver::Reply& reply) override { write(reply.body); }
  void close() override {
    std::function<void()> callback;
    {
      std::lock_guard lock(mutex_);
      closed_ = true;
      callback = std::exchange(callback_, nullptr);
    }
    changed_.notify_all();
    if (callback) callback();
  }
  void on_closed(std::function<void()> callback) override {
    std::unique_lock lock(mutex_);
    if (!closed_) {
      callback_ = std::move(callback);
      return;
    }
    lock.unlock();
    callback();
  }
  bool wait_below(size_t, std::stop_token) override { return !closed(); }

  /// What has come, once it contains `end` (or ten seconds have passed).
  std::string wait_for(const std::string& end) {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, std::chrono::seconds(10), [&] { return text_.find(end) != text_.npos; });
    return text_;
  }
  bool closed() {
    std::lock_guard lock(mutex_);
    return closed_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::string text_;
  bool closed_ = false;
  std::function<void()> callback_;
};

}  // namespace skiff::test
