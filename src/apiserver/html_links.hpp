#pragma once
// Links of proxied pages, led back through the proxy (apimachinery/pkg/util/proxy.Transport).

#include <functional>
#include <string>
#include <string_view>

#include "apiserver/passing.hpp"

namespace skiff::apiserver {

/// What a proxied page is below, and whose links are its own.
struct ProxyPlace {
  std::string prefix;        // of paths: ".../proxy"
  std::string host;          // of the server behind the proxy, as it was dialled
  std::string request_host;  // the Host header of the request
};

/// `url` as a client reaches it through the proxy; relative ones and those of other hosts stay. Pure.
std::string through_proxy(std::string_view url, const ProxyPlace& place);

/// Rewrites the attributes of HTML elements that are URLs.
class HtmlLinks final : public BodyFilter {
 public:
  using Rewrite = std::function<std::string(std::string_view url)>;
  explicit HtmlLinks(Rewrite rewrite) : rewrite_(std::move(rewrite)) {}

  std::string feed(std::string_view piece) override;
  std::string finish() override;

 private:
  std::string take_text();
  std::string take_markup();
  std::string rewritten(std::string_view tag) const;

  Rewrite rewrite_;
  std::string held_;      // not yet handed on
  std::string raw_end_;   // within <script> and its like: the text is no markup until this
};

}  // namespace skiff::apiserver
