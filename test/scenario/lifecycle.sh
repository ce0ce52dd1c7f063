#!/usr/bin/env bash
# start, status, stop, kill -9, a second start, a taken port, and a delete that leaves the host as it was.
source "$(dirname "$0")/../support/scenario.sh"

host_state() {
  ip -o link | sed 's/^[0-9]*: //; s/@.*//' | awk '{print $1}' | sort
  ip route show table all | sort
  nft list ruleset
  awk '{print $2}' /proc/self/mounts | grep -v "$SKIFF_HOME/images" | sort
  find /sys/fs/cgroup -path "*$SKIFF_CGROUP_ROOT*" -type d | sort
  ps -e -o comm= | grep -E 'skiff|hitcounter' | sort
  find "$SKIFF_HOME" -maxdepth 2 -path '*clusters/*'
}
host_state >"$TMPDIR/before"

"$SKIFF" status >/dev/null 2>&1
check "status without a cluster" $? 3
contains "delete without a cluster" "$("$SKIFF" delete 2>&1)" "there is no cluster 'skiff'"
contains "kubectl without a cluster" "$("$SKIFF" kubectl get pods 2>&1)" "there is no cluster"

start_cluster
check "the context" "$(k config current-context)" skiff
contains "status" "$("$SKIFF" status)" "api:        ready"
contains "node list" "$("$SKIFF" node list | tr -s " ")" "skiff Ready control-plane running 10.243.0.2"
contains "a second start" "$("$SKIFF" start 2>&1)" "is already running"
other=$SKIFF_HOME/other-kubeconfig
KUBECONFIG=$other "$SKIFF" start 2>/dev/null
contains "... serves whoever asks" "$(kubectl --kubeconfig="$other" get nodes -o name)" "node/skiff"
contains "the same directory served twice" "$("$SKIFF" serve 2>&1)" "is already run by process"
contains "version" "$("$SKIFF" version)" "Kubernetes v1.36"
contains "skiff kubectl" "$("$SKIFF" kubectl get namespaces -o name)" "namespace/kube-system"
check "kubeconfig is private" "$(stat -c %a "$SKIFF_HOME/clusters/skiff/kubeconfig")" 600

# A second cluster beside the first, on a port of its own.
start_cluster -p other
check "its context" "$(k config current-context)" skiff-other
contains "a taken port" "$("$SKIFF" start -p third --api-port 6443 2>&1)" "port 6443 on 127.0.0.1 is in use"
"$SKIFF" delete -p third >/dev/null 2>&1
"$SKIFF" delete -p other >/dev/null 2>&1 || fail "delete -p other"
k config use-context skiff >/dev/null

# kill -9: pods run on and are found again.
k apply -f "$PROJECT/examples/hitcounter.yaml" >/dev/null
k rollout status deployment/hitcounter --timeout=20s >/dev/null || fail "rollout"
pids() { pgrep -x hitcounter | sort | tr '\n' ' '; }
running=$(pids)
check "three containers" "$(wc -w <<<"$running")" 3
kill -9 "$("$SKIFF" status | awk '/^process:/{print $2}')"
check "pods outlive skiff" "$(pids)" "$running"
start_cluster
k rollout status deployment/hitcounter --timeout=20s >/dev/null || fail "rollout after kill -9"
check "the same containers after a restart" "$(pids)" "$running"
check "no container was restarted" "$(k get pods -o 'jsonpath={.items[*].status.containerStatuses[0].restartCount}')" "0 0 0"
answers() { fetch "http://127.0.0.1:$(node_port hitcounter-service)/" | grep -q Hello; }
eventually 10 "the NodePort answers after kill -9" answers

# stop and start: objects stay, pods run anew.
"$SKIFF" stop >/dev/null 2>&1 || fail stop
check "no pods after stop" "$(pids)" ""
"$SKIFF" status >/dev/null
check "status of a stopped cluster" $? 3
start_cluster
eventually 20 "pods run again" replicas_ready hitcounter 3
eventually 10 "the NodePort answers after stop and start" answers

# killed for good, then deleted: nothing may be left.
kill -9 "$("$SKIFF" status | awk '/^process:/{print $2}')"
"$SKIFF" delete >/dev/null 2>&1 || fail delete
host_state >"$TMPDIR/after"
diff "$TMPDIR/before" "$TMPDIR/after" || fail "the host is not as it was"
check "the context is gone" "$(k config get-contexts -o name)" ""
finish
