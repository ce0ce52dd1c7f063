#!/usr/bin/env bash
# Server-side apply by a real kubectl: managers, conflicts, taking over from client-side apply, diff.
source "$(dirname "$0")/../support/scenario.sh"
start_cluster

deployment() {
  cat <<Y
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: $1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: c, image: demo, ports: [{containerPort: 80}]}]}
Y
}
managers() {
  k get deployment web --show-managed-fields -o 'jsonpath={range .metadata.managedFields[*]}{.manager}/{.operation}/{.subresource} {end}'
}

check "created" "$(deployment 0 | k apply --server-side -f - 2>&1)" "deployment.apps/web serverside-applied"
contains "who applied" "$(managers)" "kubectl/Apply/"
contains "ports are known by their protocol too" \
  "$(k get deployment web --show-managed-fields -o yaml)" 'k:{"containerPort":80,"protocol":"TCP"}'
k scale deployment web --replicas=1 >/dev/null
refused=$(deployment 0 | k apply --server-side -f - 2>&1)
contains "a conflict names the scaler" "$refused" 'conflict with "kubectl" with subresource "scale" using apps/v1: .spec.replicas'
check "forced" "$(deployment 0 | k apply --server-side --force-conflicts -f - 2>&1)" "deployment.apps/web serverside-applied"
check "replicas" "$(k get deployment web -o 'jsonpath={.spec.replicas}')" 0
k label deployment web extra=1 >/dev/null
deployment 0 | k diff --server-side -f - >/dev/null 2>&1 || fail "a diff of what is applied is not empty"
out=$(deployment 3 | k diff --server-side --force-conflicts -f - 2>&1)
contains "diff" "$out" "+  replicas: 3"
check "dry run" "$(deployment 5 | k apply --server-side --dry-run=server -f - 2>&1)" "deployment.apps/web serverside-applied (server dry run)"
check "nothing came of it" "$(k get deployment web -o 'jsonpath={.spec.replicas}')" 0
contains "other labels stay" "$(k get deployment web -o 'jsonpath={.metadata.labels}')" extra

# What client-side apply made is taken over without a conflict, and fields that are no longer sent go.
k create namespace old >/dev/null
printf 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: m, namespace: old}\ndata: {a: "1", b: "1"}\n' | k apply -f - >/dev/null
printf 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: m, namespace: old}\ndata: {a: "2"}\n' |
  k apply --server-side -f - >/dev/null 2>"$SKIFF_HOME/warning" || fail "taking over: $(cat "$SKIFF_HOME/warning")"
check "b went" "$(k -n old get configmap m -o 'jsonpath={.data}')" '{"a":"2"}'
contains "the annotation follows" "$(k -n old get configmap m -o yaml)" '"data":{"a":"2"}'
unknown=$(printf 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: m, namespace: old}\ndatta: {}\n' | k apply --server-side -f - 2>&1)
contains "an unknown field" "$unknown" \
  'failed to create typed patch object (old/m; /v1, Kind=ConfigMap): .datta: field not declared in schema'
finish
