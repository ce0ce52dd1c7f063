#!/usr/bin/env bash
# The Gateway API: its kinds as custom resources, a Gateway with its address, routes with weights and filters.
source "$(dirname "$0")/../support/scenario.sh"
start_cluster
definition() { # PLURAL KIND SCOPE
  cat <<Y
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: $1.gateway.networking.k8s.io, annotations: {api-approved.kubernetes.io: "https://example.com"}}
spec:
  group: gateway.networking.k8s.io
  scope: $3
  names: {plural: $1, kind: $2, singular: $(echo "$2" | tr '[:upper:]' '[:lower:]')}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}}
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
---
Y
}
{ definition gatewayclasses GatewayClass Cluster; definition gateways Gateway Namespaced; definition httproutes HTTPRoute Namespaced; } | k apply -f - >/dev/null || fail definitions
k wait --for=condition=Established crd --all --timeout=10s >/dev/null || fail established
for version in 1.0 2.0; do
  k create deployment "v${version%.0}" --image="hitcounter:$version" --port=8080 >/dev/null
  k expose deployment "v${version%.0}" --port=80 --target-port=8080 >/dev/null
done
gateway() {
  cat <<'Y'
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: skiff}
spec: {controllerName: skiff.io/gateway-controller}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: front}
spec:
  gatewayClassName: skiff
  listeners: [{name: http, port: 80, protocol: HTTP}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: app}
spec:
  parentRefs: [{name: front}]
  hostnames: [app.example.com]
  rules:
  - matches: [{path: {type: PathPrefix, value: /two}}]
    filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /}}}]
    backendRefs: [{name: v2, port: 80}]
  - matches: [{path: {type: PathPrefix, value: /gone}}]
    filters: [{type: RequestRedirect, requestRedirect: {hostname: example.org, statusCode: 301}}]
  - backendRefs: [{name: v1, port: 80, weight: 1}, {name: v2, port: 80, weight: 1}]
Y
}
applied() { gateway | k apply -f - >/dev/null 2>&1; }
eventually 5 "the kinds are served" applied
for name in v1 v2; do k rollout status deployment/$name --timeout=20s >/dev/null || fail "rollout $name"; done
field() { k get "$1" "$2" -o "jsonpath={$3}"; }
programmed() { [ "$(field gateway front '.status.conditions[?(@.type=="Programmed")].status}{.status.listeners[0].attachedRoutes')" = True1 ]; }
eventually 5 "the Gateway is programmed with its route" programmed
check "the class is accepted" "$(field gatewayclass skiff '.status.conditions[0].status')" True
check "the route is accepted" "$(field httproute app '.status.parents[0].conditions[0].reason')" Accepted
address=$(field gateway front '.status.addresses[0].value')
get() { fetch -H 'Host: app.example.com' "http://$1"; }
for at in "$address" 127.0.0.1; do
  two() { [ "$(get "$at/two/version")" = 2.0 ]; }
  eventually 5 "a rewritten prefix at $at" two
  check "a redirect at $at" "$(curl -s -o /dev/null -w '%{http_code} %{redirect_url}' -H 'Host: app.example.com' "http://$at/gone/x")" "301 http://example.org/gone/x"
done
check "both versions have their share" "$(for _ in $(seq 20); do get "$address/version"; done | sort -u | tr '\n' ' ')" "1.0 2.0 "
check "other hosts" "$(curl -s -o /dev/null -w '%{http_code}' "http://$address/")" 404
pod=$(k get pods -l app=v1 -o 'jsonpath={.items[0].metadata.name}')
contains "from a pod" "$(k exec "$pod" -- hitcounter get "http://$address/" 2>&1)" 404
k patch httproute app --type=json -p '[{"op":"replace","path":"/spec/rules/0/backendRefs/0/name","value":"missing"}]' >/dev/null
broken() { [ "$(field httproute app '.status.parents[0].conditions[1].reason')" = BackendNotFound ] && [ "$(curl -s -o /dev/null -w '%{http_code}' -H 'Host: app.example.com' "http://$address/two/")" = 500 ]; }
eventually 5 "a backend that is not there" broken
k delete gateway front >/dev/null
closed() { ! curl -s --max-time 1 "http://$address/" >/dev/null; }
eventually 5 "the port closes with the Gateway" closed
"$SKIFF" delete >/dev/null 2>&1 || fail delete
finish
