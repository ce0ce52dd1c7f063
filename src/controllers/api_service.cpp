// Puts Service "kubernetes" and its endpoints back when somebody deletes them, as kube-apiserver's own reconciler does
// (`kubectl delete service --all` is how many a tutorial tidies up).

#include <map>

#include "api/gen/core.hpp"
#include "api/gen/discovery.hpp"
#include "api/gen/service.hpp"
#include "base/mutex.hpp"
#include "controllers/kinds.hpp"

namespace skiff::controllers {
namespace {

constexpr char kNamespace[] = "default";
constexpr char kName[] = "kubernetes";

class ApiService final : public Controller {
 public:
  explicit ApiService(const Context& context) : Controller(context, "kubernetes-service-controller") {
    watch<api::Service>(context);
    watch<api::Endpoints>(context);
    watch<api::EndpointSlice>(context);
  }

  Result<Requeue> reconcile(const ObjectKey& kind) override {
    AnyRef object;
    {
      MutexLock lock(mutex_);
      object = gone_[kind.name];
    }
    if (!object) return Requeue::never();
    Result<AnyRef> created = client_.create(object);
    if (!created.ok() && created.error().code() != Code::AlreadyExists) return std::move(created).error();
    MutexLock lock(mutex_);
    gone_.erase(kind.name);
    return Requeue::never();
  }

 private:
  template <class T>
  void watch(const Context& context) {
    context.informers.of<T>().on_change([this](const Ref<T>& before, const Ref<T>& now) {
      if (now || before->metadata.name != kName || before->metadata.namespace_ != kNamespace) return;
      T again = *before;
      again.metadata = {};
      again.metadata.name = kName;
      again.metadata.namespace_ = kNamespace;
      again.metadata.labels = before->metadata.labels;
      const char* kind = api::kind_of<T>().kind;
      {
        MutexLock lock(mutex_);
        gone_[kind] = AnyRef(Ref<T>(std::make_shared<T>(std::move(again))));
      }
      queue().add({"", kind});
    });
  }

  Mutex mutex_;
  std::map<std::string, AnyRef> gone_ GUARDED_BY(mutex_);   // by kind: what is to be made again
};

}  // namespace

std::unique_ptr<Controller> api_service(const Context& context) { return std::make_unique<ApiService>(context); }

}  // namespace skiff::controllers
