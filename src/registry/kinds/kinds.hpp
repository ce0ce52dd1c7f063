#pragma once
// One function a kind (or a family of kinds) with rules of its own; all.cpp makes the list.

#include <memory>

#include "registry/resource.hpp"

namespace skiff::registry {

class ServiceRanges;
struct UsageSource;

Resource pods();
Resource namespaces();
Resource nodes();
Resource config_maps();
Resource secrets();
Resource events();
Resource custom_resource_definitions();
Resource services(std::shared_ptr<ServiceRanges> ranges);
std::vector<Resource> workloads();   // apps, replication controllers
std::vector<Resource> jobs();
std::vector<Resource> storage();
std::vector<Resource> networking();
std::vector<Resource> endpoints();
std::vector<Resource> scaling();
std::vector<Resource> classes();
Resource certificate_signing_requests();
Resource api_services();
std::vector<Resource> rbac();
std::vector<Resource> webhook_configurations();
std::vector<Resource> admission_policies();
std::vector<Resource> flow_control();
std::vector<Resource> limits();              // LimitRanges, ResourceQuotas
std::vector<Resource> addresses();           // ServiceCIDRs, IPAddresses
std::vector<Resource> dynamic_resources();
std::vector<Resource> reviews();     // kinds that are answered, not stored
std::vector<Resource> unstored_kinds();
std::vector<Resource> usage_kinds(std::shared_ptr<const UsageSource> source);

}  // namespace skiff::registry
