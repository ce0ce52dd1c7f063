#pragma once
// A client whose watches tell things late, twice, or not at all before a new list, and whose writes meet other writers.

#include <memory>
#include <string>

#include "base/random.hpp"
#include "client/client.hpp"

namespace skiff::test {

/// Randomness that many threads share.
class SharedDice {
 public:
  explicit SharedDice(std::uint64_t seed) : random_(seed) {}
  bool one_in(std::uint64_t n) {
    MutexLock lock(mutex_);
    return random_.below(n) == 0;
  }
  std::uint64_t below(std::uint64_t n) {
    MutexLock lock(mutex_);
    return random_.below(n);
  }

 private:
  Mutex mutex_;
  SeededRandom random_ GUARDED_BY(mutex_);
};

class FlakyWatch final : public client::Watch {
 public:
  FlakyWatch(std::unique_ptr<client::Watch> real, SharedDice& dice) : real_(std::move(real)), dice_(dice) {}

  Result<client::WatchEvent> next(std::stop_token stop) override {
    if (last_ && dice_.one_in(6)) return *last_;
    TRY_ASSIGN(client::WatchEvent event, real_->next(stop));
    if (dice_.one_in(25)) return Error(Code::Expired, "too old resource version");  // the event is lost
    if (dice_.one_in(6)) static_cast<void>(clock_.wait_for(stop, std::chrono::milliseconds(dice_.below(10))));
    last_ = event;
    return event;
  }

 private:
  std::unique_ptr<client::Watch> real_;
  SharedDice& dice_;
  SystemClock clock_;
  std::optional<client::WatchEvent> last_;
};

class FlakyClient final : public client::Client {
 public:
  FlakyClient(client::Client& real, std::uint64_t seed) : real_(real), dice_(seed) {}

  using client::Client::create, client::Client::get, client::Client::list, client::Client::remove, client::Client::update,
      client::Client::update_status;
  Result<client::AnyRef> get(const api::KindInfo& kind, const client::ObjectKey& key) override { return real_.get(kind, key); }
  Result<client::AnyList> list(const api::KindInfo& kind, const client::ListOptions& options) override {
    return real_.list(kind, options);
  }
  Result<std::unique_ptr<client::Watch>> watch(const api::KindInfo& kind, const client::ListOptions& options,
                                               const std::string& resource_version) override {
    TRY_ASSIGN(std::unique_ptr<client::Watch> real, real_.watch(kind, options, resource_version));
    return std::unique_ptr<client::Watch>(std::make_unique<FlakyWatch>(std::move(real), dice_));
  }
  Result<std::unique_ptr<client::MetadataWatch>> watch_metadata(
      const std::vector<const api::KindInfo*>& kinds,
      const std::function<void(const client::MetadataEvent&)>& present) override {
    return real_.watch_metadata(kinds, present);
  }
  Result<client::AnyRef> create(const client::AnyRef& object) override { return real_.create(object); }
  Result<client::AnyRef> update(const client::AnyRef& object) override {
    meddle(object);
    return real_.update(object);
  }
  Result<client::AnyRef> update_status(const client::AnyRef& object) override {
    meddle(object);
    return real_.update_status(object);
  }
  Result<client::AnyRef> patch(const api::KindInfo& kind, const client::ObjectKey& key, client::PatchType type,
                               const std::string& body, const std::string& subresource) override {
    return real_.patch(kind, key, type, body, subresource);
  }
  Result<client::AnyRef> remove(const api::KindInfo& kind, const client::ObjectKey& key,
                                const client::DeleteOptions& options) override {
    return real_.remove(kind, key, options);
  }
  Result<client::AnyRef> create_subresource(const api::KindInfo& kind, const client::ObjectKey& key,
                                            const std::string& subresource, const client::AnyRef& object) override {
    return real_.create_subresource(kind, key, subresource, object);
  }
  std::vector<const api::KindInfo*> custom_kinds() override { return real_.custom_kinds(); }
  const api::KindInfo* find_kind(const std::string& api_version, const std::string& kind) override {
    return real_.find_kind(api_version, kind);
  }

 private:
  // Another writer was faster.
  void meddle(const client::AnyRef& object) {
    if (!dice_.one_in(8)) return;
    const std::string body = R"({"metadata":{"annotations":{"meddled":")" + std::to_string(dice_.below(1'000'000)) + R"("}}})";
    static_cast<void>(real_.patch(object.kind(), client::key_of(object.metadata()), client::PatchType::Merge, body).ok());
  }

  client::Client& real_;
  SharedDice dice_;
};

}  // namespace skiff::test
