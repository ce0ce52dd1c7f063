#pragma once
// Agreeing on what an upgraded connection will speak.

#include <span>
#include <string>
#include <string_view>

#include "apiserver/message.hpp"
#include "base/error.hpp"

namespace skiff::apiserver {

struct UpgradeChoice {
  bool websocket = false;  // otherwise SPDY/3.1
  std::string protocol;    // "" for a WebSocket client that names none
  Headers headers;         // of the 101 answer
};

inline constexpr std::string_view kRemoteWebSocketProtocols[] = {"v5.channel.k8s.io", "v4.channel.k8s.io",
                                                                 "v4.base64.channel.k8s.io", "channel.k8s.io",
                                                                 "base64.channel.k8s.io"};
inline constexpr std::string_view kRemoteSpdyProtocols[] = {"v4.channel.k8s.io", "v3.channel.k8s.io",
                                                            "v2.channel.k8s.io", "channel.k8s.io"};

/// True when the request asks to leave HTTP at all.
bool wants_upgrade(const Request& request);

/// The first protocol of the client's list that the server's list for its transport has. BadRequest: no
/// upgrade was asked for. Forbidden: nothing in common (as Kubernetes answers an unknown stream protocol).
Result<UpgradeChoice> choose_upgrade(const Request& request, std::span<const std::string_view> websocket,
                                     std::span<const std::string_view> spdy);

/// The plain answer to a request that cannot be upgraded.
Reply upgrade_refusal(const Error& error);

}  // namespace skiff::apiserver
