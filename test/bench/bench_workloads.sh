#!/usr/bin/env bash
# What large clusters cost on this machine: 10,000 pods on 1,000 simulated nodes, 500 Deployments after a kill, a further
# node's memory. By hand: scripts/sandbox test/bench/bench_workloads.sh
source "$(dirname "$0")/../support/scenario.sh"
seconds() { awk -v a="$1" -v b="$(date +%s%N)" 'BEGIN { printf "%.1f s", (b - a) / 1e9 }'; }
# What the processes of the cluster have to themselves and their share of the rest, in KiB.
skiff_memory() {
  local sum=0 pid
  for pid in $(pgrep -f '^skiff(-init)? '); do sum=$((sum + $(awk '/^Pss:/ { print $2 }' "/proc/$pid/smaps_rollup" 2>/dev/null || echo 0))); done
  echo "$sum"
}
say "load $(cut -d' ' -f1-3 /proc/loadavg)"

say "-- a further node"
start_cluster >/dev/null
one=$(skiff_memory)
"$SKIFF" node add --count 10 >/dev/null
all() { [ "$(k get nodes --no-headers | grep -c ' Ready ')" = 11 ]; }
eventually 30 "eleven nodes" all
eleven=$(skiff_memory)
say "1 node: $((one / 1024)) MiB, 11 nodes: $((eleven / 1024)) MiB: $(((eleven - one) / 10)) KiB each"
"$SKIFF" delete >/dev/null

say "-- 10,000 pods on 1,000 simulated nodes"
start_cluster --fake-nodes 1000 >/dev/null
k create deployment many --image=hitcounter:1.0 --replicas=0 >/dev/null
k patch deployment many -p '{"spec":{"template":{"spec":{"nodeSelector":{"skiff.dev/simulated":"true"}}}}}' >/dev/null 2>&1
began=$(date +%s%N)
k scale deployment many --replicas=10000 >/dev/null
ready() { [ "$(k get deployment many -o 'jsonpath={.status.readyReplicas}')" = 10000 ]; }
eventually 120 "10,000 ready" ready
say "ready after $(seconds "$began"), $(($(skiff_memory) / 1024)) MiB"
"$SKIFF" delete >/dev/null

say "-- 500 Deployments of two after kill -9"
start_cluster --fake-nodes 100 >/dev/null
for i in $(seq 500); do
  printf '{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"d%s"},"spec":{"replicas":2,"selector":{"matchLabels":{"app":"d%s"}},"template":{"metadata":{"labels":{"app":"d%s"}},"spec":{"containers":[{"name":"c","image":"hitcounter:1.0"}]}}}}\n' "$i" "$i" "$i"
done | k apply -f - >/dev/null || fail "500 deployments"
settled() { [ "$(k get deployments -o json | jq '[.items[] | select(.status.readyReplicas == 2 and .status.observedGeneration == .metadata.generation)] | length')" = 500 ]; }
eventually 120 "they are ready" settled
revision() { k get --raw /api/v1/namespaces/kube-public/configmaps | jq -r .metadata.resourceVersion; }
quiet() { local before; before=$(revision); read -r -t 2 _ <> <(:); [ "$before" = "$(revision)" ]; }
eventually 60 "and nothing is written any more" quiet
before=$(revision)
kill -9 "$(cat "$SKIFF_HOME/clusters/skiff/lock")"
eventually 10 "the process is gone" flock -n "$SKIFF_HOME/clusters/skiff/lock" true
began=$(date +%s%N)
start_cluster --fake-nodes 100 >/dev/null
say "ready again after $(seconds "$began")"
quiet || say "something is still being written"
# The revision itself leaps at a restart, past what was only in memory.
for kind in deployments replicasets pods endpointslices events; do
  say "$kind written since: $(k get "$kind" -A -o json | jq --argjson before "$before" '[.items[] | select((.metadata.resourceVersion | tonumber) > $before)] | length')"
done
finish
