#pragma once
// The rules of containers: init, regular and ephemeral ones alike.

#include "registry/kinds/volumes.hpp"

namespace skiff::registry {

/// What the rules of a container look at besides the container.
struct ContainerSurroundings {
  const api::PodSpec& spec;
  const std::vector<const api::Volume*>& volumes;  // those that may be mounted
  PodKind kind;
};

/// The three lists of a pod spec.
void check_containers(const ContainerSurroundings& around, const Path& spec, FieldErrors& errors);

void check_resources(const api::ResourceRequirements& resources, const Path& path, FieldErrors& errors);
/// Name of a resource a container may ask for, and an amount of it.
void check_resource_amount(const std::string& resource, const api::Quantity& amount, const Path& path,
                           FieldErrors& errors);
/// The name alone.
void check_container_resource_name(const std::string& resource, const Path& path, FieldErrors& errors);
/// Whether requests may be below limits.
bool may_overcommit(std::string_view resource);
/// Whether it is a resource that somebody else than Kubernetes defined, in its form for containers.
bool is_extended_resource(std::string_view resource);
/// Liveness and startup probes need one success only; readiness probes kill nothing.
enum class ProbeKind : std::uint8_t { Liveness, Readiness, Startup };
void check_probe(const api::Probe& probe, ProbeKind kind, const Path& path, FieldErrors& errors);
void check_lifecycle(const api::Lifecycle& lifecycle, const api::PodSpec& spec, const Path& path, FieldErrors& errors);
void check_security_context(const api::SecurityContext& context, bool host_users, const Path& path,
                            FieldErrors& errors);
void check_pod_security_context(const api::PodSecurityContext& context, const api::PodSpec& spec, const Path& path,
                                FieldErrors& errors);

/// The part of an ephemeral container that it shares with others.
api::Container as_container(const api::EphemeralContainer& ephemeral);

}  // namespace skiff::registry
