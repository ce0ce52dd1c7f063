#include "apiserver/backend_proxy.hpp"

#include "apiserver/about.hpp"
#include "apiserver/passing.hpp"

namespace skiff::apiserver {

using registry::User;

namespace {

bool begins(std::string_view name, std::string_view prefix) {
  return name.size() >= prefix.size() && ::strncasecmp(name.data(), prefix.data(), prefix.size()) == 0;
}

// Says who somebody is: ours to say.
bool is_identity_header(std::string_view name) {
  return begins(name, "Impersonate-") || begins(name, "X-Remote-Extra-") ||
         (begins(name, "X-Remote-") && (begins(name, "X-Remote-User") || begins(name, "X-Remote-Group") ||
                                        begins(name, "X-Remote-Uid")));
}

// A key of extra as a header's name can hold it.
std::string escaped(std::string_view key) {
  constexpr std::string_view kPlain = "!#$&'*+-.^_`|~";
  std::string out;
  for (char c : key) {
    bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (letter || kPlain.find(c) != kPlain.npos) out.push_back(c);
    else out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return out;
}

Reply unreachable(const Error& error) {
  return text_reply(503, fmt::format("error trying to reach service: {}\n", error.message()));
}

}  // namespace

std::string backend_request(const Request& request, const User& user, const Backend& backend) {
  std::string who;
  add_header(who, "X-Remote-User", user.name);
  if (!user.uid.empty()) add_header(who, "X-Remote-Uid", user.uid);
  for (const std::string& group : user.groups) add_header(who, "X-Remote-Group", group);
  for (const auto& [key, values] : user.extra)
    for (const std::string& value : values) add_header(who, "X-Remote-Extra-" + escaped(key), value);
  return onward_request(request, request.target, fmt::format("{}:{}", backend.host(), backend.port),
                        is_identity_header, who);
}

Response pass_to_backend(const Request& request, const User& user, std::shared_ptr<const Backend> backend,
                         std::shared_ptr<const BackendCaller> caller) {
  if (!backend->available) return text_reply(503, "service unavailable\n");
  std::string text = backend_request(request, user, *backend);
  auto connect = [backend, caller](Outbound::Deadline deadline) { return caller->connect(*backend, deadline); };
  return pass_on(request, {std::move(text), connect, unreachable});
}

}  // namespace skiff::apiserver
