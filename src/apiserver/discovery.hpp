#pragma once
// What the API offers: /api, /apis, /apis/<group>, /apis/<group>/<version>, and the aggregated form of the
// first two.

#include <optional>
#include <string>
#include <vector>

#include "api/descriptor.hpp"
#include "apiserver/backend.hpp"
#include "apiserver/message.hpp"

namespace skiff::apiserver {

/// The groups and versions of a set of kinds, in Kubernetes' order of preference, with their documents.
class Discovery {
 public:
  explicit Discovery(std::vector<const api::KindInfo*> kinds, const Backends& backends = {});

  /// The document at `path`, in the form that the request accepts. nullopt: no such path.
  std::optional<Reply> serve(const Request& request) const;

  /// "" for the core group.
  bool has_group(std::string_view group) const;
  bool has_version(std::string_view group, std::string_view version) const;

  struct Version {
    std::string version;
    std::vector<const api::KindInfo*> kinds;  // sorted by plural; none when it is remote
    std::shared_ptr<const Backend> remote = nullptr;
  };
  struct Group {
    std::string name;
    std::vector<Version> versions;  // the preferred one first
  };
  const std::vector<Group>& groups() const { return groups_; }

 private:
  void add_local(std::vector<const api::KindInfo*> kinds);
  void add_remote(const Backends& backends);
  std::string core_versions() const;
  std::string group_list() const;
  std::string group_document(const Group& group, bool with_kind) const;
  std::string resource_list(const Group& group, const Version& version) const;
  std::string aggregated(bool core, const std::string& api_version) const;
  std::vector<Group> groups_;
};

}  // namespace skiff::apiserver
