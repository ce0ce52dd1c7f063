#!/usr/bin/env bash
# A node whose skiff-init dies is a machine whose power failed, and nothing more; after a reboot (the state directory without
# processes, mounts, links and groups) pods start again as their policy says, with the right counts.
source "$(dirname "$0")/../support/scenario.sh"
start_cluster --nodes 2 --node-grace 4 >/dev/null
node_is() { [ "$(k get node "$1" --no-headers | awk '{print $2}')" = "$2" ]; }
phase() { k get pod "$1" -o 'jsonpath={.status.phase}'; }
is() { [ "$(phase "$1")" = "$2" ]; }
status() { k get pod "$1" -o "jsonpath={.status.containerStatuses[0].$2}"; }
pod() { # NAME NODE POLICY
  k apply -f - >/dev/null <<POD || fail "apply $1"
apiVersion: v1
kind: Pod
metadata: {name: $1, labels: {app: $1}}
spec:
  nodeName: $2
  restartPolicy: $3
  terminationGracePeriodSeconds: 1
  containers: [{name: c, image: "hitcounter:1.0", volumeMounts: [{name: m, mountPath: /m}]}]
  volumes: [{name: m, emptyDir: {medium: Memory}}]
POD
}
pod stays skiff Always
pod always skiff-2 Always
pod onfailure skiff-2 OnFailure
pod never skiff-2 Never
for name in stays always onfailure never; do eventually 15 "$name runs" is "$name" Running; done
daemon=$("$SKIFF" status | awk '/^process:/{print $2}')
init_of() { for one in $(pgrep -x skiff-init); do case "$(tr '\0' ' ' <"/proc/$one/cmdline")" in *"hostname=$1 "*) echo "$one" ;; esac; done; }

# ---- skiff-init dies
kill -9 "$(init_of skiff-2)"
eventually 5 "the node is off" sh -c "'$SKIFF' node list | grep skiff-2 | grep -q stopped"
eventually 12 "nobody was told, so it is missed" node_is skiff-2 NotReady
check "reason" "$(k get node skiff-2 -o 'jsonpath={.status.conditions[?(@.type=="Ready")].reason}')" NodeStatusUnknown
kill -0 "$daemon" || fail "skiff died with the node"
check "the other node goes on" "$(node_is skiff Ready && status stays restartCount)" 0
find /sys/fs/cgroup -path "*$SKIFF_CGROUP_ROOT*skiff-2*" -name 'pod*' -type d 2>/dev/null | grep -q . && fail "groups of the dead node are left"
"$SKIFF" node start skiff-2 >/dev/null || fail "node start"
eventually 10 "it comes back" node_is skiff-2 Ready
eventually 10 "Always starts again" sh -c "[ \"\$($KUBECTL get pod always -o 'jsonpath={.status.containerStatuses[0].restartCount} {.status.containerStatuses[0].ready}')\" = '1 true' ]"
eventually 10 "OnFailure starts again" sh -c "[ \"\$($KUBECTL get pod onfailure -o 'jsonpath={.status.containerStatuses[0].restartCount} {.status.phase}')\" = '1 Running' ]"
eventually 10 "Never does not" is never Failed
check "what it died of" "$(status never 'state.terminated.exitCode}{" "}{.status.containerStatuses[0].state.terminated.reason')" "137 ContainerStatusUnknown"
check "the last state of the one that came back" "$(status always lastState.terminated.exitCode)" 137

# ---- a reboot
kill -9 "$daemon"
for one in $(pgrep -x skiff-init); do kill -9 "$one"; done
gone() { [ -z "$(pgrep -x skiff-init)" ]; }
eventually 5 "all nodes are gone" gone
ip -o link | awk -F'[ :@]+' '$2 ~ /^sk/ {print $2}' | xargs -r -n 1 ip link delete 2>/dev/null
nft flush ruleset 2>/dev/null
find /sys/fs/cgroup -depth -path "*$SKIFF_CGROUP_ROOT*" -type d -exec rmdir {} + 2>/dev/null
rm -f "$SKIFF_HOME"/clusters/*/nodes/*/init.sock
"$SKIFF" start >/dev/null || fail "start after the reboot"
eventually 10 "it runs again" sh -c "[ \"\$($KUBECTL get pod stays -o 'jsonpath={.status.containerStatuses[0].restartCount} {.status.containerStatuses[0].ready}')\" = '1 true' ]"
# Its second start so soon: a back-off of ten seconds.
eventually 30 "so does the other" sh -c "[ \"\$($KUBECTL get pod always -o 'jsonpath={.status.containerStatuses[0].restartCount} {.status.containerStatuses[0].ready}')\" = '2 true' ]"
check "Never stays as it was" "$(phase never) $(status never restartCount)" "Failed 0"
contains "told so" "$(k get events --field-selector involvedObject.name=stays -o 'jsonpath={.items[*].reason}')" SandboxChanged
finish
