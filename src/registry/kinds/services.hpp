#pragma once
// What the parts of the Service strategy know of each other.

#include <set>

#include "api/gen/service.hpp"
#include "registry/kinds/field_checks.hpp"
#include "registry/kinds/service_ranges.hpp"

namespace skiff::registry {

bool wants_cluster_ip(const api::Service& service);
bool has_cluster_ip(const api::Service& service);
bool wants_node_ports(const api::Service& service);
/// Whether balancers ask its nodes for health (and it takes a node port for that).
bool needs_health_check(const api::Service& service);
std::set<int> node_ports(const api::Service& service);

/// ValidateServiceClusterIPsRelatedFields: clusterIP, clusterIPs, ipFamilies and ipFamilyPolicy by themselves.
void check_address_families(const api::ServiceSpec& spec, FieldErrors& errors);

/// Settles the families (initIPFamilyFields) and takes addresses and node ports that `service` has or wants and `old`
/// (null on create) has not; on failure gives back what this call took.
Status allocate(api::Service& service, const api::Service* old, ServiceRanges& ranges, Random& random);
/// Gives back what `gone` holds and `kept` (may be null) does not.
void release(const api::Service& gone, const api::Service* kept, ServiceRanges& ranges);
/// Marks as taken what a stored service holds.
void adopt(const api::Service& service, ServiceRanges& ranges);

}  // namespace skiff::registry
