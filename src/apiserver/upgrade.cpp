#include "apiserver/upgrade.hpp"

#include <algorithm>

#include "apiserver/http.hpp"
#include "apiserver/websocket.hpp"
#include "base/encoding.hpp"

namespace skiff::apiserver {

namespace {

// The client's list, from all headers of that name, in its order.
std::vector<std::string> listed(const Request& request, std::string_view header) {
  std::vector<std::string> all;
  auto [begin, end] = request.headers.equal_range(header);
  for (auto entry = begin; entry != end; ++entry) {
    for (std::string item : split(entry->second, ',')) {
      item.erase(0, item.find_first_not_of(' '));
      item.erase(item.find_last_not_of(' ') + 1);
      if (!item.empty()) all.push_back(std::move(item));
    }
  }
  return all;
}

std::optional<std::string> first_common(const std::vector<std::string>& theirs,
                                        std::span<const std::string_view> ours) {
  for (const std::string& item : theirs)
    if (std::ranges::find(ours, item) != ours.end()) return item;
  return std::nullopt;
}

Error nothing_common(const std::vector<std::string>& theirs, std::span<const std::string_view> ours) {
  std::vector<std::string> names(ours.begin(), ours.end());
  return error(Code::Forbidden,
               "unable to upgrade: unable to negotiate protocol: client supports [{}], server "
               "accepts [{}]",
               join(theirs, " "), join(names, " "));
}

Result<UpgradeChoice> choose_websocket(const Request& request, std::span<const std::string_view> ours) {
  std::string_view key = request.header("Sec-WebSocket-Key");
  if (request.method != "GET" || key.empty() || request.header("Sec-WebSocket-Version") != "13")
    return error(Code::BadRequest, "unable to upgrade: malformed WebSocket handshake");
  UpgradeChoice choice{.websocket = true, .protocol = "", .headers = {}};
  std::vector<std::string> theirs = listed(request, "Sec-WebSocket-Protocol");
  if (!theirs.empty()) {
    std::optional<std::string> common = first_common(theirs, ours);
    if (!common) return nothing_common(theirs, ours);
    choice.protocol = *common;
    choice.headers.emplace("Sec-WebSocket-Protocol", *common);
  }
  choice.headers.emplace("Connection", "Upgrade");
  choice.headers.emplace("Upgrade", "websocket");
  choice.headers.emplace("Sec-WebSocket-Accept", websocket_accept(key));
  return choice;
}

Result<UpgradeChoice> choose_spdy(const Request& request, std::span<const std::string_view> ours) {
  std::vector<std::string> theirs = listed(request, "X-Stream-Protocol-Version");
  if (theirs.empty())
    return error(Code::BadRequest, "unable to upgrade: X-Stream-Protocol-Version is required");
  std::optional<std::string> common = first_common(theirs, ours);
  if (!common) return nothing_common(theirs, ours);
  UpgradeChoice choice{.websocket = false, .protocol = *common, .headers = {}};
  choice.headers.emplace("Connection", "Upgrade");
  choice.headers.emplace("Upgrade", "SPDY/3.1");
  choice.headers.emplace("X-Stream-Protocol-Version", *common);
  return choice;
}

}  // namespace

bool wants_upgrade(const Request& request) {
  return has_token(request.header("Connection"), "upgrade") && !request.header("Upgrade").empty();
}

Result<UpgradeChoice> choose_upgrade(const Request& request, std::span<const std::string_view> websocket,
                                     std::span<const std::string_view> spdy) {
  if (!wants_upgrade(request)) return error(Code::BadRequest, "Upgrade request required");
  if (has_token(request.header("Upgrade"), "websocket")) return choose_websocket(request, websocket);
  if (has_token(request.header("Upgrade"), "SPDY/3.1")) return choose_spdy(request, spdy);
  return error(Code::BadRequest, "unable to upgrade: {} is not supported", request.header("Upgrade"));
}

Reply upgrade_refusal(const Error& error) {
  Reply reply;
  reply.status = error.code() == Code::Forbidden ? 403 : 400;
  reply.content_type = "text/plain; charset=utf-8";
  reply.body = std::make_shared<std::string>(error.message() + "\n");
  return reply;
}

}  // namespace skiff::apiserver
