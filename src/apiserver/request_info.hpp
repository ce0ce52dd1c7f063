#pragma once
// What a request asks for, read from its method, path and query alone (kube-apiserver's RequestInfo).

#include <string>
#include <vector>

#include "apiserver/message.hpp"

namespace skiff::apiserver {

struct RequestInfo {
  bool is_resource = false;  // below /api/<version>/ or /apis/<group>/<version>/
  std::string
      verb;  // get list watch create update patch delete deletecollection; else the method, lower case
  std::string path;
  std::string group;
  std::string version;
  std::string namespace_;
  std::string resource;
  std::string subresource;
  std::string name;
  std::string rest;  // what follows a subresource that takes a path (proxy), with its leading '/'

  std::string group_version() const { return group.empty() ? version : group + "/" + version; }
};

/// Never fails: what is not a resource request is a request for `path`.
RequestInfo parse_request_info(const Request& request);

/// The path as the client wrote it, still percent-encoded.
std::string_view written_path(const Request& request);

/// "true", "1" and the like, as Go's strconv.ParseBool; a parameter without a value counts as true.
bool is_true(const Request& request, std::string_view parameter);

}  // namespace skiff::apiserver
