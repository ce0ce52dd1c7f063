#include "cluster/fleet.hpp"

#include <signal.h>

#include <algorithm>

#include "api/gen/coordination.hpp"
#include "base/log.hpp"
#include "cluster/bootstrap.hpp"
#include "sys/files.hpp"

namespace skiff::cluster {
namespace {

template <class T>
Status remove_object(client::Client& client, const client::ObjectKey& key) {
  Result<client::AnyRef> removed = client.remove<T>(key);
  return removed.ok() || removed.error().code() == Code::NotFound ? ok() : Status(removed.error());
}

}  // namespace

// ---- a member's life

Status Fleet::open_member(Member& member) {
  TRY_ASSIGN(member.parts, NodeParts::create(uses_.around, member.record));
  member.died = false;
  TRY_ASSIGN(UniqueFd process, sys::duplicate(member.parts->process()));
  if (deaths_) deaths_->watch(member.record.name, std::move(process));
  TRY_ASSIGN(member.api_socket, uses_.plane.serve_in(member.parts->network(), member.parts->addresses().front().str()));
  return uses_.network.add_node(
      {member.record.name, member.record.index, member.parts->network(), member.parts->addresses()});
}

Status Fleet::start_member(Member& member) {
  TRY(signal_all(member, SIGCONT));  // frozen by an earlier life of skiff
  return member.parts->start();
}

// Everything that holds its network namespace lets go, or the dead node's addresses would live on.
void Fleet::close_member(Member& member) {
  if (deaths_) deaths_->forget(member.record.name);
  uses_.network.remove_node(member.record.name);
  uses_.plane.leave(member.api_socket);
  member.parts.reset();
}

// What it left behind goes as at a power cut.
void Fleet::node_died(const std::string& name) {
  MutexLock lock(mutex_);
  auto found = std::ranges::find_if(members_, [&](const auto& one) { return one.second.record.name == name; });
  if (found == members_.end() || !found->second.parts) return;
  Member& member = found->second;
  log::warning("node", "node {} has died: its skiff-init ended; `skiff node start {}` starts it again", name, name);
  if (Status left = uses_.network.leave_node(name); !left.ok()) log::warning("node", "leave node {}: {}", name, left.error().message());
  if (Status off = member.parts->power_off(); !off.ok()) log::warning("node", "clear node {} away: {}", name, off.error().message());
  close_member(member);
  member.died = true;
  if (Status told = publish_endpoints(); !told.ok()) log::warning("node", "{}", told.error().message());
}

Status Fleet::open() {
  TRY_ASSIGN(deaths_, DeathWatch::start([this](const std::string& name) { node_died(name); }));
  TRY_ASSIGN(std::vector<NodeRecord> records, load_records(uses_.around.settings));
  MutexLock lock(mutex_);
  for (NodeRecord& record : records) {
    if (record.power == NodePower::Paused) record.power = NodePower::Running;
    Member& member = members_[record.index];
    member.record = std::move(record);
    if (member.record.power == NodePower::Running) TRY(open_member(member));
  }
  TRY(save());
  return publish_endpoints();
}

Status Fleet::start() {
  MutexLock lock(mutex_);
  for (auto& [index, member] : members_)
    if (member.parts) TRY(start_member(member));
  return ok();
}

void Fleet::stop() {
  MutexLock lock(mutex_);
  for (auto& [index, member] : members_)
    if (member.parts) member.parts->stop();
}

Status Fleet::power_off() {
  MutexLock lock(mutex_);
  Status result = ok();
  for (auto& [index, member] : members_) {
    if (!member.parts) continue;
    if (Status off = member.parts->power_off(); !off.ok()) result = std::move(off);
    member.parts.reset();
  }
  return result;
}

size_t Fleet::size() const {
  MutexLock lock(mutex_);
  return static_cast<size_t>(std::count_if(members_.begin(), members_.end(), [](const auto& one) { return bool(one.second.parts); }));
}

Status Fleet::wait_dns() {
  MutexLock lock(mutex_);
  for (auto& [index, member] : members_)
    if (member.parts) TRY(uses_.network.wait_dns(member.parts->network(), 10s));
  return ok();
}

// ---- what the others see

Status Fleet::save() {
  std::vector<NodeRecord> records;
  for (const auto& [index, member] : members_) records.push_back(member.record);
  return save_records(uses_.around.settings, records);
}

// Pods reach the API and DNS through whichever nodes run.
Status Fleet::publish_endpoints() {
  std::vector<std::string> addresses;
  for (const auto& [index, member] : members_)
    if (member.parts) addresses.push_back(member.parts->addresses().front().str());
  if (addresses.empty()) return ok();
  TRY(publish_api_endpoints(uses_.plane.client(), addresses, kNodeApiPort));
  return publish_dns_endpoints(uses_.plane.client(), addresses);
}

Status Fleet::set_power(Member& member, NodePower power) {
  member.record.power = power;
  TRY(save());
  return publish_endpoints();
}

Status Fleet::signal_all(const Member& member, int signal) {
  return uses_.around.cgroups.signal_all(uses_.around.settings.cgroup() + "/" + member.record.name, signal);
}

int Fleet::free_index() const {
  int index = 0;
  while (members_.contains(index)) ++index;
  return index;
}

std::vector<NodeRecord> Fleet::records() const {
  MutexLock lock(mutex_);
  std::vector<NodeRecord> records;
  for (const auto& [index, member] : members_) {
    records.push_back(member.record);
    records.back().power = member.power();
  }
  return records;
}

Result<Fleet::Member*> Fleet::find(const std::string& name, NodePower power) {
  auto found = std::find_if(members_.begin(), members_.end(), [&](const auto& one) { return one.second.record.name == name; });
  if (found == members_.end()) return error(Code::NotFound, "there is no node '{}'", name);
  if (found->second.power() != power)
    return error(Code::Invalid, "node '{}' is {}", name, to_string(found->second.power()));
  return &found->second;
}

// ---- commands

Result<std::string> Fleet::add(NodeRecord record) {
  MutexLock lock(mutex_);
  record.index = free_index();
  if (record.index >= kMostNodes) return error(Code::Invalid, "a cluster has at most {} nodes", kMostNodes);
  record.name = uses_.around.settings.node_name(record.index);
  Member& member = members_[record.index];
  member.record = record;
  Status added = open_member(member);
  if (added.ok()) added = start_member(member);
  if (added.ok()) added = uses_.network.wait_dns(member.parts->network(), 10s);
  if (!added.ok()) {
    if (member.parts) static_cast<void>(member.parts->power_off());
    close_member(member);
    members_.erase(record.index);
    return std::move(added).error();
  }
  TRY(set_power(member, NodePower::Running));
  return record.name;
}

Status Fleet::remove(const std::string& name) {
  MutexLock lock(mutex_);
  auto found = std::find_if(members_.begin(), members_.end(), [&](const auto& one) { return one.second.record.name == name; });
  if (found == members_.end()) return error(Code::NotFound, "there is no node '{}'", name);
  if (members_.size() == 1) return error(Code::Invalid, "'{}' is the cluster's last node", name);
  Member& member = found->second;
  if (member.parts) {
    TRY(uses_.network.leave_node(name));
    TRY(member.parts->power_off());
    close_member(member);
  }
  members_.erase(found);
  TRY(save());
  TRY(publish_endpoints());
  TRY(remove_object<api::Node>(uses_.plane.client(), {"", name}));
  TRY(remove_object<api::Lease>(uses_.plane.client(), {"kube-node-lease", name}));
  return sys::remove_tree(Paths(uses_.around.settings.config).node(name));
}

Status Fleet::cut_power(const std::string& name) {
  MutexLock lock(mutex_);
  TRY_ASSIGN(Member* member, find(name, NodePower::Running));
  if (size_t running = static_cast<size_t>(std::count_if(members_.begin(), members_.end(), [](const auto& one) { return bool(one.second.parts); }));
      running == 1)
    return error(Code::Invalid, "'{}' is the last node that runs", name);
  TRY(uses_.network.leave_node(name));
  TRY(member->parts->power_off());
  close_member(*member);
  return set_power(*member, NodePower::Stopped);
}

Status Fleet::restore_power(const std::string& name) {
  MutexLock lock(mutex_);
  TRY_ASSIGN(Member* member, find(name, NodePower::Stopped));
  TRY(open_member(*member));
  TRY(start_member(*member));
  return set_power(*member, NodePower::Running);
}

// The agent is silent first, or it would report what happens to the frozen pods.
Status Fleet::pause(const std::string& name) {
  MutexLock lock(mutex_);
  TRY_ASSIGN(Member* member, find(name, NodePower::Running));
  member->parts->stop();
  TRY(signal_all(*member, SIGSTOP));
  member->record.power = NodePower::Paused;
  return save();
}

Status Fleet::resume(const std::string& name) {
  MutexLock lock(mutex_);
  TRY_ASSIGN(Member* member, find(name, NodePower::Paused));
  TRY(start_member(*member));
  member->record.power = NodePower::Running;
  return save();
}

// ---- the command line's words

namespace {

std::string state_line(const NodeRecord& record) {
  std::string cpus = record.milli_cpus == 0 ? "all" : api::Quantity::of_milli(record.milli_cpus).text();
  std::string memory = record.memory == 0 ? "all" : api::Quantity::of_bytes(record.memory).text();
  return fmt::format("{}\t{}\t{}\t{}", record.name, to_string(record.power), cpus, memory);
}

Result<std::vector<std::string>> add_nodes(Fleet& fleet, const std::vector<std::string>& words) {
  auto word = [&](size_t i) { return i < words.size() ? words[i] : std::string(); };
  TRY_ASSIGN(NodeRecord record, make_record({.cpus = word(2), .memory = word(3), .labels = word(4), .taints = word(5), .zone = word(6)}));
  TRY_ASSIGN(std::string name, fleet.add(std::move(record)));
  return std::vector<std::string>{name};
}

}  // namespace

Result<std::vector<std::string>> answer_node_command(Fleet& fleet, const std::vector<std::string>& words) {
  if (words.size() >= 2 && words[0] == "node") {
    const std::string& verb = words[1];
    if (verb == "list") {
      std::vector<std::string> lines;
      for (const NodeRecord& record : fleet.records()) lines.push_back(state_line(record));
      return lines;
    }
    if (verb == "add") return add_nodes(fleet, words);
    using Command = Status (Fleet::*)(const std::string&);
    const std::pair<const char*, Command> commands[] = {{"delete", &Fleet::remove},
                                                        {"stop", &Fleet::cut_power},
                                                        {"start", &Fleet::restore_power},
                                                        {"pause", &Fleet::pause},
                                                        {"resume", &Fleet::resume}};
    for (const auto& [name, command] : commands)
      if (verb == name && words.size() == 3) {
        TRY((fleet.*command)(words[2]));
        return std::vector<std::string>{words[2]};
      }
  }
  return error(Code::Invalid, "this cluster's process does not know what is asked");
}

}  // namespace skiff::cluster
