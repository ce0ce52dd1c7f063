#pragma once
// Specs as wire fields and wire fields as states. Internal to the room.

#include <string>

#include "runtime/connection.hpp"
#include "runtime/node.hpp"

namespace skiff::runtime {

std::string encode(const SandboxSpec& spec);
std::string encode(const NodeMount& mount);
/// `cgroups` says which directories to join and what to mount.
std::string encode(const ContainerSpec& spec, const sys::CgroupTree& cgroups);

ContainerStatus decode_container(wire::FieldReader reader);
NodeContents decode_list(const Reply& reply);

/// One text or number as a whole request, which most are.
std::string text_field(wire::Tag tag, const std::string& text);
std::string with_number(std::string fields, wire::Tag tag, std::uint64_t number);
std::uint64_t number_in(const Reply& reply, wire::Tag tag);
WallTime wall_time(std::uint64_t nanoseconds);
/// "uid gid group..."
std::optional<ProcessIdentity> parse_identity(std::string_view text);

}  // namespace skiff::runtime
