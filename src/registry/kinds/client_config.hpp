#pragma once
// Where webhooks of every sort listen: the rules that their kinds share (webhook.ValidateWebhookURL and
// ValidateWebhookService).

#include <string>

#include "api/names.hpp"
#include "api/status.hpp"

namespace skiff::registry {

/// `config` has a url or a service, and the one it has is usable.
template <class Config>
void validate_client_config(const Config& config, const std::string& at, api::FieldErrors& errors) {
  if (config.url.empty() == !config.service)
    return errors.required(at, "exactly one of url or service is required");
  if (!config.url.empty()) {
    constexpr const char* kForm = "; desired format: https://host[/path]";
    const std::string where = at + ".url";
    if (!config.url.starts_with("https://"))
      errors.invalid(where, api::quote(config.url.substr(0, config.url.find(':'))),
                     std::string("'https' is the only allowed URL scheme") + kForm);
    else if (config.url.size() == 8 || config.url[8] == '/')
      errors.invalid(where, "\"\"", std::string("host must be specified") + kForm);
    if (config.url.find('#') != std::string::npos)
      errors.invalid(where, api::quote(config.url.substr(config.url.find('#') + 1)), "fragments are not permitted in the URL");
    if (config.url.find('?') != std::string::npos)
      errors.invalid(where, api::quote(config.url.substr(config.url.find('?') + 1)),
                     "query parameters are not permitted in the URL");
    return;
  }
  const auto& service = *config.service;
  if (service.name.empty()) errors.required(at + ".service.name", "service name is required");
  if (service.namespace_.empty()) errors.required(at + ".service.namespace", "service namespace is required");
  for (const std::string& problem : api::port_number_problems(service.port.value_or(443)))
    errors.invalid(at + ".service.port", std::to_string(*service.port), "port is not valid: " + problem);
  if (!service.path.empty() && service.path.front() != '/')
    errors.invalid(at + ".service.path", api::quote(service.path), "must start with a '/'");
}

}  // namespace skiff::registry
