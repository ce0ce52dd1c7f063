#!/usr/bin/env bash
# skiff is killed (SIGKILL) at every point of a pod's life; what returns finds its pods, starts nothing twice and leaves
# nothing behind.
source "$(dirname "$0")/../support/scenario.sh"
start_cluster >/dev/null
(cd "$TMPDIR" && "$PROJECT/scripts/make-test-images" -o images busybox:test >/dev/null) || fail "make-test-images"
for archive in "$TMPDIR"/images/*.tar; do "$SKIFF" image load "$archive" >/dev/null || fail "image load $archive"; done
mkdir -p "$TMPDIR/starts"

apply_pod() {
  k apply -f - >/dev/null <<Y || fail "apply $1"
apiVersion: v1
kind: Pod
metadata: {name: $1}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 3
  containers:
  - name: c
    image: busybox:test
    imagePullPolicy: Never
    command: [sh, -c, "trap 'exit 0' TERM; echo start >> /starts/$1; while true; do sleep 0.05; done"]
    volumeMounts: [{name: s, mountPath: /starts}, {name: m, mountPath: /m}]
  volumes: [{name: s, hostPath: {path: $TMPDIR/starts}}, {name: m, emptyDir: {medium: Memory}}]
Y
}
# What is there besides the pods that should be: groups, links, mounts and directories of pods.
left_behind() {
  find /sys/fs/cgroup -path "*$SKIFF_CGROUP_ROOT*" -name 'pod*' -type d 2>/dev/null
  ls -d "$SKIFF_HOME"/clusters/*/nodes/*/pods/* 2>/dev/null
  for init in $(pgrep -x skiff-init); do
    nsenter -t "$init" -n ip -o link 2>/dev/null | grep -v -e ' lo:' -e 'sk-' | grep veth
    grep /pods/ "/proc/$init/mounts" 2>/dev/null
  done
}
running() { [ "$(k get pod "$1" -o 'jsonpath={.status.phase}')" = Running ]; }
answers() { k get --raw /healthz; }
dead() { ! answers; }
clean() { [ -z "$(left_behind)" ]; }

restart_with() { SKIFF_TEST_KILL_AT=$1 timeout 60 "$SKIFF" start >/dev/null 2>&1; }
kill_daemon() {
  kill -9 "$("$SKIFF" status | awk '/^process:/{print $2}')"
  eventually 10 "the daemon is dead" dead
}

for point in begin cgroup volumes sandbox network files container-prepared container-started status; do
  kill_daemon
  restart_with "$point"
  apply_pod "up-$point" 2>/dev/null
  eventually 10 "killed at $point" dead
  timeout 60 "$SKIFF" start >/dev/null 2>&1 || fail "start after $point"
  eventually 15 "the pod runs after a kill at $point" running "up-$point"
  check "started once ($point)" "$(wc -l <"$TMPDIR/starts/up-$point" | tr -d ' ') $(k get pod "up-$point" -o 'jsonpath={.status.containerStatuses[0].restartCount}')" "1 0"
  k delete pod "up-$point" --wait=true --timeout=20s >/dev/null || fail "delete up-$point"
  eventually 10 "nothing is left after $point" clean || left_behind
done
for point in stopping ended containers-removed network-removed sandbox-removed volumes-removed cgroup-removed logs-removed deleted; do
  apply_pod "down-$point"
  eventually 10 "down-$point runs" running "down-$point"
  kill_daemon
  restart_with "$point"
  k delete pod "down-$point" --wait=false >/dev/null 2>&1
  eventually 15 "killed at $point" dead
  timeout 60 "$SKIFF" start >/dev/null 2>&1 || fail "start after $point"
  gone() { ! k get pod "down-$point" >/dev/null 2>&1; }
  eventually 15 "the pod goes after a kill at $point" gone
  eventually 10 "nothing is left after $point" clean || left_behind
  check "never started again ($point)" "$(wc -l <"$TMPDIR/starts/down-$point" | tr -d ' ')" 1
done
finish
