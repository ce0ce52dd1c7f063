#include "proxy/external_names.hpp"

#include <algorithm>

namespace skiff::proxy {

std::vector<net::Address> ExternalNames::addresses(const std::string& name) {
  {
    MutexLock lock(mutex_);
    auto [known, first] = names_.try_emplace(name);
    if (!first) return known->second.addresses;
  }
  changes_.changed();
  return {};
}

void ExternalNames::keep_only(const std::set<std::string>& names) {
  MutexLock lock(mutex_);
  std::erase_if(names_, [&](const auto& one) { return !names.contains(one.first); });
}

void ExternalNames::start() {
  worker_.start("external-names", [this](std::stop_token stop) { run(std::move(stop)); });
}

void ExternalNames::run(std::stop_token stop) {
  TimePoint next = TimePoint::max();
  while (std::uint64_t change = changes_.wait_change(stop, next)) {
    bool changed = false;
    for (const std::string& name : due_names(next)) changed = ask(name) || changed;
    due_names(next);  // as it is after the asking
    if (changed && on_change_) on_change_();
    changes_.done(change);
  }
}

std::vector<std::string> ExternalNames::due_names(TimePoint& next) {
  std::vector<std::string> due;
  TimePoint now = clock_.now();
  next = TimePoint::max();
  MutexLock lock(mutex_);
  for (const auto& [name, known] : names_) {
    if (known.due <= now) due.push_back(name);
    next = std::min(next, known.due);
  }
  return due;
}

/// Whether the answer differs from the one before. While nobody answers, the one before holds.
bool ExternalNames::ask(const std::string& name) {
  std::vector<net::Address> found = lookup_(name);
  std::sort(found.begin(), found.end());
  MutexLock lock(mutex_);
  auto known = names_.find(name);
  if (known == names_.end()) return false;
  known->second.due = clock_.now() + (found.empty() ? kAgain : kFresh);
  if (found.empty() || found == known->second.addresses) return false;
  known->second.addresses = std::move(found);
  return true;
}

}  // namespace skiff::proxy
