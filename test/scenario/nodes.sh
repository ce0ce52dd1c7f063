#!/usr/bin/env bash
# Three nodes of one machine: sizes and zones, a power cut, a hang, a node that comes and one that goes.
source "$(dirname "$0")/../support/scenario.sh"
start_cluster --nodes 3 --zones 3 --node-cpus 1500m --node-memory 1Gi --node-labels tier=test --node-grace 4

node_is() { [ "$(k get node "$1" --no-headers | awk '{print $2}')" = "$2" ]; }
on_node() { k get pods -l "app=$1" --field-selector "spec.nodeName=$2" -o name | wc -l; }
ready_elsewhere() { [ "$(k get pods -l "app=$1" -o json | jq "[.items[] | select(.spec.nodeName != \"$2\" and (.metadata.deletionTimestamp | not)) | select(.status.conditions[]? | .type == \"Ready\" and .status == \"True\")] | length")" = "$3" ]; }

# ---- what nodes are
check "three nodes" "$(k get nodes --no-headers | awk '{print $1 $2 $3}' | tr '\n' ' ')" \
  "skiffReadycontrol-plane skiff-2Ready<none> skiff-3Ready<none> "
check "size" "$(k get node skiff-2 -o 'jsonpath={.status.capacity.cpu} {.status.allocatable.memory}')" "1500m 1Gi"
check "zones" "$(k get nodes -o 'jsonpath={.items[*].metadata.labels.topology\.kubernetes\.io/zone}')" "zone-1 zone-2 zone-3"
check "labels" "$(k get nodes -l tier=test -o name | wc -l)" 3
contains "node list" "$("$SKIFF" node list)" "running"
limit=$(cat /sys/fs/cgroup/memory/"$SKIFF_CGROUP_ROOT"/*/skiff-2/memory.limit_in_bytes /sys/fs/cgroup/"$SKIFF_CGROUP_ROOT"/*/skiff-2/memory.max 2>/dev/null)
check "memory is enforced by the node's group" "$limit" 1073741824

# ---- who is on them
tolerations='tolerations: [{key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute, tolerationSeconds: 1}, {key: node.kubernetes.io/not-ready, operator: Exists, effect: NoExecute, tolerationSeconds: 1}]'
workload() { # workload KIND NAME EXTRA
  printf -- '---\n{apiVersion: apps/v1, kind: %s, metadata: {name: %s}, spec: {%sselector: {matchLabels: {app: %s}}, template: {metadata: {labels: {app: %s}}, spec: {terminationGracePeriodSeconds: 1, %s, topologySpreadConstraints: [{maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: ScheduleAnyway, labelSelector: {matchLabels: {app: %s}}}], containers: [{name: c, image: "hitcounter:1.0", ports: [{containerPort: 8080}]}]}}}}\n' \
    "$1" "$2" "$3" "$2" "$2" "$tolerations" "$2"
}
{ workload Deployment web 'replicas: 3, '; workload DaemonSet agent ''; workload StatefulSet db 'replicas: 3, serviceName: db, '; } \
  | k apply -f - >/dev/null || fail apply
k expose deployment web --port 80 --target-port 8080 >/dev/null
for kind in deployment/web daemonset/agent statefulset/db; do k rollout status "$kind" --timeout=30s >/dev/null || fail "$kind"; done
check "spread over the nodes" "$(on_node web skiff-3)" 1
victim=$(k get pods -l app=db --field-selector spec.nodeName=skiff-3 -o 'jsonpath={.items[0].metadata.name}')

# ---- a power cut
contains "node stop" "$("$SKIFF" node stop skiff-3)" "node/skiff-3 stopped"
eventually 12 "the node is NotReady" node_is skiff-3 NotReady
check "reason" "$(k get node skiff-3 -o 'jsonpath={.status.conditions[?(@.type=="Ready")].reason}')" NodeStatusUnknown
eventually 5 "it is tainted" sh -c "$KUBECTL get node skiff-3 -o 'jsonpath={.spec.taints[*].key}' | grep -q unreachable"
eventually 15 "its pods are replaced elsewhere" ready_elsewhere web skiff-3 3
endpoints_elsewhere() { [ "$(k get endpointslices -l kubernetes.io/service-name=web -o json | jq '[.items[].endpoints[] | select(.conditions.ready and .nodeName != "skiff-3")] | length')" = 3 ]; }
eventually 5 "the service follows" endpoints_elsewhere
check "its daemon pod stays" "$(on_node agent skiff-3)" 1
contains "no twin of the stateful pod" "$(k get pod "$victim" --no-headers)" Terminating
check "nor a fourth" "$(k get pods -l app=db -o name | wc -l)" 3

# ---- it comes back
contains "node start" "$("$SKIFF" node start skiff-3)" "node/skiff-3 started"
eventually 10 "the node is Ready again" node_is skiff-3 Ready
eventually 5 "the taints are gone" sh -c "[ -z \"\$($KUBECTL get node skiff-3 -o 'jsonpath={.spec.taints}')\" ]"
k rollout status statefulset/db --timeout=30s >/dev/null || fail "the set is whole again"
k rollout status daemonset/agent --timeout=30s >/dev/null || fail "the daemons are whole again"

# ---- a hang
"$SKIFF" node pause skiff-2 >/dev/null || fail "node pause"
eventually 12 "a frozen node is NotReady" node_is skiff-2 NotReady
"$SKIFF" node resume skiff-2 >/dev/null || fail "node resume"
eventually 10 "and Ready once it runs on" node_is skiff-2 Ready

# ---- nodes that come and go, and drains
contains "node add" "$("$SKIFF" node add --cpus 500m --taints special=yes:NoSchedule --zone far)" "node/skiff-4 added"
check "taint of the new node" "$(k get node skiff-4 -o 'jsonpath={.spec.taints[0].key}:{.spec.taints[0].effect}')" special:NoSchedule
check "no pod there" "$(on_node web skiff-4)" 0
contains "wrong size" "$("$SKIFF" node add --cpus lots 2>&1)" "CPUs 'lots'"
k taint node skiff-4 special- >/dev/null
eventually 10 "daemons come once the taint is gone" sh -c "[ \$($KUBECTL get pods -l app=agent --field-selector spec.nodeName=skiff-4,status.phase=Running -o name | wc -l) = 1 ]"
k drain skiff-2 --ignore-daemonsets --delete-emptydir-data --force --timeout=40s >/dev/null 2>&1 || fail drain
check "a drained node is empty but for daemons" "$(on_node web skiff-2)" 0
contains "cordoned" "$(k get node skiff-2 --no-headers)" SchedulingDisabled
k uncordon skiff-2 >/dev/null
contains "node delete" "$("$SKIFF" node delete skiff-4)" "node/skiff-4 deleted"
check "it is no more" "$(k get nodes -o name | wc -l)" 3
contains "an unknown node" "$("$SKIFF" node stop nowhere 2>&1)" "there is no node 'nowhere'"
k rollout status deployment/web --timeout=30s >/dev/null || fail "all replicas at the end"
finish
