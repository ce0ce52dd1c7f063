#include "proxy/gateway_routes.hpp"

#include <algorithm>
#include <charconv>

#include "api/selector.hpp"

namespace skiff::proxy {
namespace {

using client::ObjectKey;
using client::Ref;

constexpr Duration kForever = std::chrono::hours(24);
constexpr int kNoBackend = 500;  // what the specification asks for where a reference leads nowhere

std::string lower(std::string text) {
  for (char& c : text) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return text;
}

bool older(const api::ObjectMeta& a, const api::ObjectMeta& b) {
  return std::tuple(a.creationTimestamp, client::key_of(a)) <
         std::tuple(b.creationTimestamp, client::key_of(b));
}

net::HttpHeaderChanges changes_of(const api::GatewayHeaderFilter& filter) {
  net::HttpHeaderChanges changes;
  for (const api::GatewayHeaderValue& one : filter.set) changes.set.push_back({one.name, one.value});
  for (const api::GatewayHeaderValue& one : filter.add) changes.add.push_back({one.name, one.value});
  changes.remove = filter.remove;
  return changes;
}

/// Whether an object of one namespace may refer to one of another.
bool granted(const GatewayView& view, const api::GatewayGrantFrom& from, const api::GatewayGrantTo& to,
             const std::string& namespace_) {
  if (namespace_ == from.namespace_) return true;
  return std::any_of(view.grants.begin(), view.grants.end(), [&](const auto& grant) {
    const api::GatewayReferenceGrantSpec& spec = grant->spec;
    return grant->metadata.namespace_ == namespace_ &&
           std::find(spec.from.begin(), spec.from.end(), from) != spec.from.end() &&
           std::any_of(spec.to.begin(), spec.to.end(), [&](const api::GatewayGrantTo& one) {
             return one.group == to.group && one.kind == to.kind && (one.name.empty() || one.name == to.name);
           });
  });
}

/// One condition of a status.
struct Fact {
  const char *type, *reason;
  std::string message;
  bool holds = true;
};

class Conditions {
 public:
  Conditions(std::string now, std::int64_t generation) : now_(std::move(now)), generation_(generation) {}
  std::vector<api::Condition> of(const std::vector<Fact>& facts) const {
    std::vector<api::Condition> all;
    for (const Fact& fact : facts) {
      api::Condition& one = all.emplace_back();
      one.type = fact.type;
      one.status = fact.holds ? "True" : "False";
      one.reason = fact.reason;
      one.message = fact.message;
      one.observedGeneration = generation_;
      if (Result<api::Time> at = api::Time::parse(now_); at.ok()) one.lastTransitionTime = at.value();
    }
    return all;
  }

 private:
  const std::string now_;
  const std::int64_t generation_;
};

/// A listener while routes attach to it.
struct Open {
  const api::GatewayObject* gateway;
  const api::GatewayListener* listener;
  std::string table;  // its port's name
  Fact accepted{"Accepted", "Accepted", ""}, resolved{"ResolvedRefs", "ResolvedRefs", ""};
  std::int32_t attached = 0;
  bool usable() const { return accepted.holds && resolved.holds; }
};

class RouteCompiler {
 public:
  RouteCompiler(const GatewayView& view, const api::GatewayHttpRoute& route) : view_(view), route_(route) {}

  /// The rules of the route, the same at each listener. What cannot be resolved is in `resolved`.
  std::vector<HttpRule> rules(int& order) {
    std::vector<HttpRule> all;
    for (const api::GatewayHttpRule& rule : route_.spec.rules) {
      std::vector<api::GatewayHttpMatch> matches = rule.matches;
      if (matches.empty()) matches.emplace_back();
      for (const api::GatewayHttpMatch& match : matches) {
        HttpRule one;
        one.order = order++;
        one.broken_status = kNoBackend;
        if (!set_match(one, match)) continue;
        set_filters(one, rule.filters);
        if (rule.timeouts) set_timeouts(one, *rule.timeouts);
        if (!one.redirect) set_backends(one, rule.backendRefs);
        all.push_back(std::move(one));
      }
    }
    return all;
  }

  Fact resolved{"ResolvedRefs", "ResolvedRefs", ""};

 private:
  void unresolved(const char* reason, std::string message) {
    if (resolved.holds) resolved = {"ResolvedRefs", reason, std::move(message), false};
  }

  bool set_match(HttpRule& rule, const api::GatewayHttpMatch& match) {
    rule.method = match.method;
    if (match.path) {
      rule.path = match.path->value.empty() ? "/" : match.path->value;
      if (match.path->type == "Exact") rule.kind = HttpRule::Path::Exact;
      if (match.path->type == "RegularExpression" && !set_pattern(rule)) return false;
    }
    return set_values(rule.headers, match.headers) && set_values(rule.query, match.queryParams);
  }
  bool set_pattern(HttpRule& rule) {
    Result<Regex> regex = compile_regex(rule.path);
    if (!regex.ok()) return unresolved("UnsupportedValue", regex.error().message()), false;
    rule.kind = HttpRule::Path::Pattern;
    rule.regex = std::move(regex).value();
    return true;
  }
  bool set_values(std::vector<ValueMatch>& to, const std::vector<api::GatewayValueMatch>& from) {
    for (const api::GatewayValueMatch& one : from) {
      ValueMatch match{one.name, one.value, nullptr};
      if (one.type == "RegularExpression") {
        Result<Regex> regex = compile_regex(one.value);
        if (!regex.ok()) return unresolved("UnsupportedValue", regex.error().message()), false;
        match.regex = std::move(regex).value();
      }
      to.push_back(std::move(match));
    }
    return true;
  }

  void set_filters(HttpRule& rule, const std::vector<api::GatewayHttpFilter>& filters) {
    for (const api::GatewayHttpFilter& filter : filters) {
      if (filter.requestHeaderModifier)
        rule.forward.request = changes_of(*filter.requestHeaderModifier);
      else if (filter.responseHeaderModifier)
        rule.forward.response = changes_of(*filter.responseHeaderModifier);
      else if (filter.requestRedirect)
        set_redirect(rule, *filter.requestRedirect);
      else if (filter.urlRewrite)
        set_rewrite(rule, *filter.urlRewrite);
      else if (filter.requestMirror)
        rule.forward.mirrors.push_back(backends(filter.requestMirror->backendRef));
      else
        unresolved("UnsupportedValue", "filter " + filter.type + " is not supported");
    }
  }
  void set_timeouts(HttpRule& rule, const api::GatewayHttpTimeouts& timeouts) {
    Duration shortest = kForever;
    for (const std::string* text : {&timeouts.request, &timeouts.backendRequest}) {
      if (text->empty()) continue;
      std::optional<Duration> given = gateway_duration(*text);
      if (!given) return unresolved("UnsupportedValue", fmt::format("timeout '{}' is no duration", *text));
      if (*given > 0s) shortest = std::min(shortest, *given);
    }
    if (!timeouts.request.empty() || !timeouts.backendRequest.empty()) rule.forward.answer_timeout = shortest;
  }
  static void set_redirect(HttpRule& rule, const api::GatewayRedirect& to) {
    HttpRule::Redirect redirect{
        .status = to.statusCode == 0 ? 302 : to.statusCode, .scheme = to.scheme, .host = to.hostname};
    redirect.port = static_cast<std::uint16_t>(to.port);
    if (to.path) {
      redirect.path = to.path->replaceFullPath;
      redirect.path_prefix = to.path->replacePrefixMatch;
    }
    rule.redirect = std::move(redirect);
  }
  static void set_rewrite(HttpRule& rule, const api::GatewayRewrite& to) {
    rule.forward.host = to.hostname;
    if (!to.path) return;
    rule.rewrite = to.path->replaceFullPath;
    rule.rewrite_prefix = to.path->replacePrefixMatch;
  }

  void set_backends(HttpRule& rule, const std::vector<api::GatewayBackendRef>& refs) {
    for (const api::GatewayBackendRef& ref : refs) {
      HttpRule::Choice choice{.weight = static_cast<std::uint32_t>(std::max(0, ref.weight.value_or(1))),
                              .backends = backends(ref),
                              .request = {},
                              .response = {}};
      for (const api::GatewayHttpFilter& filter : ref.filters) {
        if (filter.requestHeaderModifier) choice.request = changes_of(*filter.requestHeaderModifier);
        if (filter.responseHeaderModifier) choice.response = changes_of(*filter.responseHeaderModifier);
      }
      rule.choices.push_back(std::move(choice));
    }
  }
  std::shared_ptr<const net::HttpBackends> backends(const api::GatewayBackendRef& ref) {
    bool service = ref.group.value_or("").empty() && ref.kind.value_or("Service") == "Service";
    if (!service) return unresolved("InvalidKind", "only Services can be backends"), nullptr;
    const std::string& space = ref.namespace_.empty() ? route_.metadata.namespace_ : ref.namespace_;
    api::GatewayGrantFrom from;
    from.group = kGatewayGroup;
    from.kind = "HTTPRoute";
    from.namespace_ = route_.metadata.namespace_;
    api::GatewayGrantTo to;
    to.kind = "Service";
    to.name = ref.name;
    if (!granted(view_, from, to, space))
      return unresolved("RefNotPermitted", fmt::format("no ReferenceGrant of namespace {} permits Service {}", space, ref.name)),
             nullptr;
    auto found = http_backends(view_.lookup, {space, ref.name}, {ref.port, ""});
    if (!found.ok()) return unresolved("BackendNotFound", found.error().message()), nullptr;
    return std::move(found).value();
  }

  const GatewayView& view_;
  const api::GatewayHttpRoute& route_;
};

class Compiler {
 public:
  explicit Compiler(const GatewayView& view) : view_(view) {}

  CompiledGateways run() {
    std::vector<Ref<api::GatewayObject>> gateways = view_.gateways;
    std::sort(gateways.begin(), gateways.end(),
              [](const auto& a, const auto& b) { return older(a->metadata, b->metadata); });
    for (const auto& gateway : gateways) open(*gateway);
    std::vector<Ref<api::GatewayHttpRoute>> routes = view_.routes;
    std::sort(routes.begin(), routes.end(),
              [](const auto& a, const auto& b) { return older(a->metadata, b->metadata); });
    for (const auto& route : routes) attach(*route);
    for (const auto& gateway : gateways) conclude(*gateway);
    for (auto& [name, listener] : tables_) listener.table->finish();
    out_.routes = std::make_shared<GatewayRoutes>(std::move(tables_));
    return std::move(out_);
  }

 private:
  void open(const api::GatewayObject& gateway) {
    ObjectKey key = client::key_of(gateway);
    auto address = view_.addresses.find(key);
    std::map<std::int32_t, std::string> protocols;  // of a port: one
    for (const api::GatewayListener& listener : gateway.spec.listeners) {
      Open one{&gateway, &listener, fmt::format("gateway/{}/{}", key.str(), listener.port)};
      bool tls = listener.protocol == "HTTPS";
      if (!tls && listener.protocol != "HTTP")
        one.accepted = {"Accepted", "UnsupportedProtocol",
                        "protocol " + listener.protocol + " is not supported", false};
      else if (auto [had, first] = protocols.try_emplace(listener.port, listener.protocol);
               had->second != listener.protocol)
        one.accepted = {"Accepted", "ProtocolConflict", "another listener has this port for " + had->second,
                        false};
      if (tls && one.accepted.holds) add_certificates(one);
      if (one.usable() && address != view_.addresses.end() && tables_.try_emplace(one.table).second)
        out_.ports.push_back(
            {key, {address->second, static_cast<std::uint16_t>(listener.port)}, tls, one.table});
      open_.push_back(std::move(one));
    }
  }

  void add_certificates(Open& one) {
    const api::GatewayListener& listener = *one.listener;
    if (!listener.tls || listener.tls->certificateRefs.empty()) {
      one.resolved = {"ResolvedRefs", "InvalidCertificateRef", "HTTPS needs a certificate", false};
      return;
    }
    for (const api::GatewayObjectRef& ref : listener.tls->certificateRefs) {
      const std::string& home = one.gateway->metadata.namespace_;
      const std::string& space = ref.namespace_.empty() ? home : ref.namespace_;
      api::GatewayGrantFrom from;
      from.group = kGatewayGroup;
      from.kind = "Gateway";
      from.namespace_ = home;
      api::GatewayGrantTo to;
      to.kind = "Secret";
      to.name = ref.name;
      if (!granted(view_, from, to, space)) {
        one.resolved = {"ResolvedRefs", "RefNotPermitted",
                        fmt::format("no ReferenceGrant of namespace {} permits Secret {}", space, ref.name), false};
        continue;
      }
      auto certificate = view_.certificate({space, ref.name});
      if (certificate.ok())
        tables_[one.table].certificates.add(lower(listener.hostname), std::move(certificate).value());
      else
        one.resolved = {"ResolvedRefs", "InvalidCertificateRef", certificate.error().message(), false};
    }
  }

  bool admits(const Open& one, const api::GatewayHttpRoute& route) const {
    const api::GatewayListener& listener = *one.listener;
    std::string from = "Same";
    if (listener.allowedRoutes && listener.allowedRoutes->namespaces &&
        !listener.allowedRoutes->namespaces->from.empty())
      from = listener.allowedRoutes->namespaces->from;
    if (from == "All") return true;
    if (from == "Same") return one.gateway->metadata.namespace_ == route.metadata.namespace_;
    const auto& selector = listener.allowedRoutes->namespaces->selector;
    auto labels = view_.namespaces.find(route.metadata.namespace_);
    if (!selector || labels == view_.namespaces.end()) return false;
    Result<api::Selector> parsed = api::Selector::from(*selector);
    return parsed.ok() && parsed.value().matches(labels->second);
  }

  void attach(const api::GatewayHttpRoute& route) {
    RouteCompiler compiler(view_, route);
    std::vector<HttpRule> rules = compiler.rules(order_);
    for (const api::GatewayParentRef& parent : route.spec.parentRefs) {
      std::string space = parent.namespace_.empty() ? route.metadata.namespace_ : parent.namespace_;
      bool gateway = parent.group.value_or(std::string(kGatewayGroup)) == kGatewayGroup &&
                     parent.kind.value_or("Gateway") == "Gateway";
      bool known = std::any_of(open_.begin(), open_.end(), [&](const Open& one) {
        return client::key_of(*one.gateway) == ObjectKey{space, parent.name};
      });
      if (!gateway || !known) continue;  // somebody else's
      api::GatewayRouteParentStatus& status = out_.parents[client::key_of(route)].emplace_back();
      status.parentRef = parent;
      status.controllerName = kGatewayController;
      Fact accepted = attach_to({space, parent.name}, parent, route, rules);
      status.conditions = Conditions(view_.now, route.metadata.generation).of({accepted, compiler.resolved});
    }
  }

  Fact attach_to(const ObjectKey& gateway, const api::GatewayParentRef& parent,
                 const api::GatewayHttpRoute& route, const std::vector<HttpRule>& rules) {
    Fact accepted{"Accepted", "NoMatchingParent", "no listener of that name and port", false};
    for (Open& one : open_) {
      bool meant = client::key_of(*one.gateway) == gateway &&
                   (parent.sectionName.empty() || parent.sectionName == one.listener->name) &&
                   (parent.port == 0 || parent.port == one.listener->port);
      if (!meant || !one.accepted.holds) continue;
      if (!admits(one, route)) {
        if (!accepted.holds)
          accepted = {"Accepted", "NotAllowedByListeners",
                      "the listener does not take routes of this namespace", false};
        continue;
      }
      std::vector<std::string> hosts = hosts_at(one, route);
      if (hosts.empty()) {
        if (!accepted.holds)
          accepted = {"Accepted", "NoMatchingListenerHostname", "the listener has none of these hosts",
                      false};
        continue;
      }
      accepted = {"Accepted", "Accepted", ""};
      ++one.attached;
      auto table = tables_.find(one.table);
      if (table == tables_.end()) continue;
      for (const std::string& host : hosts)
        for (const HttpRule& rule : rules) table->second.table->add(host, rule);
    }
    return accepted;
  }

  static std::vector<std::string> hosts_at(const Open& one, const api::GatewayHttpRoute& route) {
    std::string own = lower(one.listener->hostname);
    if (route.spec.hostnames.empty()) return {own};
    std::vector<std::string> hosts;
    for (const std::string& host : route.spec.hostnames)
      if (std::optional<std::string> common = common_host(own, lower(host))) hosts.push_back(*common);
    return hosts;
  }

  void conclude(const api::GatewayObject& gateway) {
    ObjectKey key = client::key_of(gateway);
    api::GatewayStatus& status = out_.gateways[key];
    auto address = view_.addresses.find(key);
    bool placed = address != view_.addresses.end();
    if (placed) {
      api::GatewayAddress& one = status.addresses.emplace_back();
      one.type = "IPAddress";
      one.value = address->second.str();
    }
    Conditions conditions(view_.now, gateway.metadata.generation);
    Fact programmed{"Programmed", placed ? "Programmed" : "AddressNotAssigned",
                    placed ? "" : "no address is free", placed};
    status.conditions = conditions.of({{"Accepted", "Accepted", ""}, programmed});
    for (const Open& one : open_) {
      if (one.gateway != &gateway) continue;
      api::GatewayListenerStatus& listener = status.listeners.emplace_back();
      listener.name = one.listener->name;
      listener.supportedKinds.emplace_back().kind = "HTTPRoute";
      listener.supportedKinds.back().group = kGatewayGroup;
      listener.attachedRoutes = one.attached;
      bool works = placed && one.usable();
      listener.conditions = conditions.of(
          {one.accepted, {"Programmed", works ? "Programmed" : "Invalid", "", works}, one.resolved});
    }
  }

  const GatewayView& view_;
  std::vector<Open> open_;
  std::map<std::string, GatewayRoutes::Listener> tables_;  // by port
  int order_ = 0;
  CompiledGateways out_;
};

}  // namespace

net::HttpDecision GatewayRoutes::decide(const net::HttpQuestion& question) const {
  auto listener = listeners_.find(question.listener);
  if (listener == listeners_.end()) return net::HttpAnswer{};
  return listener->second.table->decide(question);
}

CertificateTable::Certificate GatewayRoutes::certificate(const std::string& listener,
                                                         const std::string& name) const {
  auto found = listeners_.find(listener);
  return found == listeners_.end() ? nullptr : found->second.certificates.find(name);
}

std::optional<Duration> gateway_duration(std::string_view text) {
  constexpr std::pair<std::string_view, Duration> kUnits[] = {
      {"ms", std::chrono::milliseconds(1)}, {"h", std::chrono::hours(1)}, {"m", std::chrono::minutes(1)}, {"s", std::chrono::seconds(1)}};
  Duration total = 0s;
  if (text.empty()) return std::nullopt;
  while (!text.empty()) {
    std::uint32_t number = 0;
    auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), number);
    auto digits = static_cast<size_t>(end - text.data());
    if (failure != std::errc() || digits > 5) return std::nullopt;
    text.remove_prefix(digits);
    auto unit = std::find_if(std::begin(kUnits), std::end(kUnits), [&](const auto& one) { return text.starts_with(one.first); });
    if (unit == std::end(kUnits)) return std::nullopt;
    total += number * unit->second;
    text.remove_prefix(unit->first.size());
  }
  return total;
}

std::optional<std::string> common_host(const std::string& listener, const std::string& route) {
  if (listener.empty() || listener == route) return route;
  if (route.empty()) return listener;
  bool wide_listener = listener.starts_with("*."), wide_route = route.starts_with("*.");
  // "*.a" takes everything that ends in ".a", also "*.b.a"; the narrower of the two is what they share.
  if (wide_listener && route.ends_with(listener.substr(1))) return route;
  if (wide_route && listener.ends_with(route.substr(1))) return listener;
  return std::nullopt;
}

CompiledGateways compile_gateways(const GatewayView& view) { return Compiler(view).run(); }

}  // namespace skiff::proxy
