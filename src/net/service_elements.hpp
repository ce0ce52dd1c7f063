#pragma once
// What one frontend of a service is in the nft table: elements of maps and the chains they lead to. Pure.
//
// Chains are shared: "pick one of five" is the same for every service, because the backends stand in a map
// whose key is the number that was drawn, carried by the packet's mark, and the frontend.

#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "net/service_rules.hpp"

namespace skiff::net {

/// A map or set, and the element as nft spells it: "key" or "key : value".
using Element = std::pair<std::string, std::string>;

struct Elements {
  std::set<Element> elements;
  std::vector<std::pair<std::string, std::string>> chains;  // name and rules; those referred to come first
};

/// "10.96.0.1 . tcp . 443", or "tcp . 30080": what the packets of a frontend are found by.
std::string frontend_key(Protocol protocol, const Frontend& frontend);

Elements frontend_elements(const ServiceRule& rule, const Frontend& frontend, const ServiceRulesSpec& spec);

/// The table with everything that does not depend on services; replaces one that is there.
std::string service_table(const ServiceRulesSpec& spec);

/// "ip skiff", "ip6 skiff".
std::string table_name(Family family);

}  // namespace skiff::net
