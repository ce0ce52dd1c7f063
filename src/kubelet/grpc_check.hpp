#pragma once
// One call of grpc.health.v1.Health/Check.

#include <string>

#include "kubelet/probe_stream.hpp"

namespace skiff::kubelet {

struct HealthAnswer {
  int grpc_status = -1;  // -1: none came
  std::string grpc_message;
  std::string health;    // "SERVING", "NOT_SERVING", ...; "" without a message
};

/// Asks about `service` ("" for the server as a whole).
Result<HealthAnswer> check_health(ProbeStream& stream, const std::string& authority, const std::string& service,
                                  TimePoint deadline);

/// The name of the status in an encoded HealthCheckResponse behind gRPC's five bytes; "" when that is not one.
std::string health_in(std::string_view message);

}  // namespace skiff::kubelet
