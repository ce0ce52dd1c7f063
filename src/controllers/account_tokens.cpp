// Secrets of type kubernetes.io/service-account-token: filled in when they are made, gone with their account
// (kube-controller-manager's tokens controller).

#include "api/gen/core.hpp"
#include "controllers/kinds.hpp"

namespace skiff::controllers {
namespace {

constexpr char kType[] = "kubernetes.io/service-account-token";
constexpr char kName[] = "kubernetes.io/service-account.name";
constexpr char kUid[] = "kubernetes.io/service-account.uid";

std::string annotation(const api::Secret& secret, const char* key) {
  auto found = secret.metadata.annotations.find(key);
  return found == secret.metadata.annotations.end() ? "" : found->second;
}

class AccountTokens final : public Controller {
 public:
  AccountTokens(const Context& context, std::string root_ca, AccountTokenSigner sign)
      : Controller(context, "serviceaccount-token-controller"),
        root_ca_(std::move(root_ca)),
        sign_(std::move(sign)),
        secrets_(context.informers.of<api::Secret>(std::string("type=") + kType)),
        accounts_(context.informers.of<api::ServiceAccount>()) {
    secrets_.on_change([this](const Ref<api::Secret>&, const Ref<api::Secret>& now) {
      if (now && now->type == kType) queue().add(key_of(*now));
    });
    accounts_.on_change([this](const Ref<api::ServiceAccount>& before, const Ref<api::ServiceAccount>& now) {
      const api::ServiceAccount& account = now ? *now : *before;
      for (const Ref<api::Secret>& secret : secrets_.list(account.metadata.namespace_))
        if (secret->type == kType && annotation(*secret, kName) == account.metadata.name)
          queue().add(key_of(*secret));
    });
  }

  Result<Requeue> reconcile(const ObjectKey& key) override {
    Ref<api::Secret> secret = secrets_.get(key);
    if (!secret || secret->type != kType || secret->metadata.deletionTimestamp) return Requeue::never();
    // Asked of the API, not of the cache: what is decided here may be a deletion.
    ObjectKey account_key{key.namespace_, annotation(*secret, kName)};
    Result<Ref<api::ServiceAccount>> account = client_.get<api::ServiceAccount>(account_key);
    if (!account.ok() && account.error().code() != Code::NotFound) return std::move(account).error();
    std::string uid = annotation(*secret, kUid);
    if (!account.ok() || (!uid.empty() && uid != account.value()->metadata.uid)) return remove(*secret);
    return fill(*secret, *account.value());
  }

 private:
  Result<Requeue> remove(const api::Secret& secret) {
    Result<AnyRef> removed =
        client_.remove<api::Secret>(key_of(secret), {.uid = secret.metadata.uid});
    if (removed.ok() || removed.error().code() == Code::NotFound) return Requeue::never();
    return std::move(removed).error();
  }

  Result<Requeue> fill(const api::Secret& secret, const api::ServiceAccount& account) {
    api::Secret next = secret;
    next.metadata.annotations[kUid] = account.metadata.uid;
    next.data["ca.crt"].data = root_ca_;
    next.data["namespace"].data = secret.metadata.namespace_;
    if (next.data["token"].data.empty()) {
      TRY_ASSIGN(next.data["token"].data, sign_(key_of(secret), account.metadata.name, account.metadata.uid));
    }
    if (next == secret) return Requeue::never();
    Result<Ref<api::Secret>> written = client_.update(std::move(next));
    if (written.ok() || written.error().code() == Code::NotFound) return Requeue::never();
    return std::move(written).error();
  }

  const std::string root_ca_;
  const AccountTokenSigner sign_;
  client::Informer<api::Secret> secrets_;
  client::Informer<api::ServiceAccount> accounts_;
};

}  // namespace

std::unique_ptr<Controller> account_tokens(const Context& context, std::string root_ca, AccountTokenSigner sign) {
  return std::make_unique<AccountTokens>(context, std::move(root_ca), std::move(sign));
}

}  // namespace skiff::controllers
