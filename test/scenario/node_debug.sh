#!/usr/bin/env bash
# Looking at a node and into its pods: kubectl top, the kubelet's own answers, kubectl debug, run -i --rm; probes over TLS.
source "$(dirname "$0")/../support/scenario.sh"
start_cluster
(cd "$TMPDIR" && "$PROJECT/scripts/make-test-images" -o images busybox:test >/dev/null) || fail "make-test-images"
for archive in "$TMPDIR"/images/*.tar; do "$SKIFF" image load "$archive" >/dev/null || fail "image load $archive"; done
node=$(k get nodes -o 'jsonpath={.items[0].metadata.name}')

k run spin --image=busybox:test --image-pull-policy=Never --labels=app=spin -- sh -c 'while true; do :; done' >/dev/null
k run idle --image=busybox:test --image-pull-policy=Never --labels=app=idle -- sleep 1000 >/dev/null
k wait --for=condition=Ready pod/spin pod/idle --timeout=20s >/dev/null || fail "not Ready"
top_shows() { k top pod --containers --no-headers 2>/dev/null | grep -q "spin  *spin  *[1-9][0-9]*m"; }
eventually 10 "kubectl top pod shows a busy container" top_shows
contains "kubectl top node" "$(k top node --no-headers)" "$node"
check "by label" "$(k top pod -l app=idle --no-headers | wc -l)" 1
check "by name" "$(k get --raw "/apis/metrics.k8s.io/v1beta1/namespaces/default/pods/idle" | jq -r '.containers[0].name')" idle
contains "no such pod" "$(k get --raw /apis/metrics.k8s.io/v1beta1/namespaces/kube-system/pods/idle 2>&1)" "not found"
k create serviceaccount viewer >/dev/null
k create rolebinding viewer --clusterrole=view --serviceaccount=default:viewer >/dev/null
check "viewers may look" "$(k auth can-i list pods.metrics.k8s.io --as=system:serviceaccount:default:viewer)" yes

own() { k get --raw "/api/v1/nodes/$node/proxy$1"; }
check "healthz" "$(own /healthz)" ok
check "by port" "$(k get --raw "/api/v1/nodes/$node:10250/proxy/healthz")" ok
check "pods" "$(own /pods | jq -r '[.items[].metadata.name] | sort | join(" ")')" "idle spin"
check "stats/summary" "$(own /stats/summary | jq -r '.pods[] | select(.podRef.name=="spin") | .containers[0] | [.name, (.cpu.usageNanoCores > 1000000), (.memory.workingSetBytes > 0), (.rootfs.capacityBytes > 0)] | join(" ")')" "spin true true true"
contains "metrics/resource" "$(own /metrics/resource)" 'container_cpu_usage_seconds_total{container="spin",namespace="default",pod="spin"}'
contains "metrics/cadvisor" "$(own /metrics/cadvisor)" 'container_network_receive_bytes_total{interface="eth0",namespace="default",pod="spin"}'
contains "metrics" "$(own /metrics)" 'kubelet_running_pods 2'
check "configz" "$(own /configz | jq -r .kubeletconfig.kind)" KubeletConfiguration
contains "logs" "$(own /logs/)" "<pre>"
contains "nothing else" "$(own /no/such 2>&1)" "could not find the requested resource"

# An ephemeral container sees its target's processes.
k debug spin --image=busybox:test -c look --target=spin -- sh -c 'ps; echo looked' >/dev/null 2>&1 || fail "debug"
looked() { k logs spin -c look | grep -q looked; }
eventually 10 "the ephemeral container ran" looked
contains "the target's processes" "$(k logs spin -c look)" "while true"
check "its status" "$(k get pod spin -o 'jsonpath={.status.ephemeralContainerStatuses[0].state.terminated.reason}')" Completed
check "the pod goes on" "$(k get pod spin -o 'jsonpath={.status.phase} {.status.containerStatuses[0].restartCount}')" "Running 0"
contains "in a terminal" "$(echo 'echo in-$((1+1)); exit' | k debug -i spin --image=busybox:test --target=spin -- sh 2>/dev/null)" "in-2"

# A command that ends at once: its output comes, from the stream or from the log.
for i in 1 2 3 4; do
  contains "run -i --rm" "$(k run "short$i" -i --rm --restart=Never --image=busybox:test --image-pull-policy=Never -- echo "said$i" 2>/dev/null)" "said$i"
done
contains "input to its end" "$(echo through | k run "cat" -i --rm --restart=Never --image=busybox:test --image-pull-policy=Never -- cat 2>/dev/null)" through
finish
