#!/usr/bin/env bash
# Attacks from inside pods that must not get out, each with the class of hole it stands for; and what a node refuses.
source "$(dirname "$0")/../support/scenario.sh"
before=$(sha256sum "$SKIFF")
start_cluster
(cd "$TMPDIR" && "$PROJECT/scripts/make-test-images" -o images busybox:test >/dev/null) || fail "make-test-images"
for archive in "$TMPDIR"/images/*.tar; do "$SKIFF" image load "$archive" >/dev/null || fail "image load $archive"; done
echo secret >"$TMPDIR/host-marker"

# pod NAME SCRIPT [CONTAINER-FIELDS] [POD-FIELDS]
pod() {
  jq -n --arg name "$1" --arg script "$2" --argjson more "${3:-{\}}" --argjson spec "${4:-{\}}" '{apiVersion: "v1", kind: "Pod",
    metadata: {name: $name}, spec: ({restartPolicy: "Never", terminationGracePeriodSeconds: 0,
      containers: [{name: "c", image: "busybox:test", imagePullPolicy: "Never", command: ["sh", "-c", $script]} + $more]} + $spec)}' |
    k apply -f - >/dev/null || fail "apply $1"
}
phase() { [ "$(k get pod "$1" -o 'jsonpath={.status.phase}')" = "$2" ]; }
status() { k get pod "$1" -o "jsonpath={$2}"; }

# CVE-2019-5736: the program that enters a container is rewritten through /proc/PID/exe.
pod exe 'while true; do for p in /proc/[0-9]*; do if [ "$p" != /proc/1 ] && (echo x > $p/exe) 2>/dev/null; then echo overwrote $p; fi; done; done'
# CVE-2024-21626: a working directory that is a leaked descriptor of the host's.
pod workdir "ls ../../../../..$TMPDIR" '{"workingDir": "/proc/self/fd/8"}'
# CVE-2017-1002101, CVE-2021-25741: a sub path that another container swaps for a link while it is mounted.
pod swap 'cat /data/host-marker; ls /data' '{"volumeMounts": [{"name": "d", "mountPath": "/data", "subPath": "x"}]}' \
  "$(jq -n --arg t "$TMPDIR" '{restartPolicy: "Never", volumes: [{name: "d", emptyDir: {}}], initContainers: [{name: "swapper", restartPolicy: "Always",
     image: "busybox:test", imagePullPolicy: "Never", command: ["sh", "-c", "mkdir /d/y; ln -s \($t) /d/z; while true; do mv -T /d/y /d/x; mv -T /d/x /d/y; mv -T /d/z /d/x; mv -T /d/x /d/z; done"],
     volumeMounts: [{name: "d", mountPath: "/d"}]}]}')"
# kill -1, a giant termination message, a flood of logs.
pod kill 'sleep 1000 & kill -9 -1; echo survived'
pod message 'head -c 20000000 /dev/zero | tr "\0" x > /dev/termination-log; echo end >> /dev/termination-log'
pod flood 'head -c 150000000 /dev/zero | tr "\0" x | fold -w 200; echo; echo done'
# Filling the disk beyond what the pod may.
pod fill 'head -c 30000000 /dev/zero > /big; sleep 1000' '{"resources": {"limits": {"ephemeral-storage": "10Mi"}}}'
# Raw sockets where the capability is dropped (ARP and IP spoofing).
pod raw 'ping -c 1 -W 1 127.0.0.1 2>&1' '{"securityContext": {"capabilities": {"drop": ["ALL"]}}}'
# Root of a pod with users of its own is nobody on the node: whatever it breaks out into, it may do nothing there.
pod mapped 'tr -s " " < /proc/self/uid_map; id -u; touch /data/x && echo wrote; ls -ln /data/x | tr -s " " | cut -d " " -f 3' \
  '{"volumeMounts": [{"name": "d", "mountPath": "/data"}]}' '{"hostUsers": false, "volumes": [{"name": "d", "emptyDir": {}}]}'
pod rooted 'id -u' '{"securityContext": {"runAsNonRoot": true}}'
pod sysctl 'true' '{}' '{"securityContext": {"sysctls": [{"name": "kernel.msgmax", "value": "65536"}]}}'
pod safe 'cat /proc/sys/net/ipv4/ip_unprivileged_port_start' '{}' '{"securityContext": {"sysctls": [{"name": "net.ipv4.ip_unprivileged_port_start", "value": "80"}]}}'
pod armor 'true' '{"securityContext": {"appArmorProfile": {"type": "RuntimeDefault"}}}'
pod groups 'id' '{}' '{"securityContext": {"runAsUser": 1000, "runAsGroup": 3000, "supplementalGroups": [4000], "fsGroup": 5000, "supplementalGroupsPolicy": "Strict"}}'

k wait --for=condition=Ready pod/exe --timeout=20s >/dev/null || fail "exe is not Ready"
for _ in 1 2 3 4 5 6; do check "exec beside the attacker" "$(k exec exe -- echo fine 2>&1)" fine; done
check "nothing was overwritten" "$(k logs exe)" ""
check "the binary is as it was" "$(sha256sum "$SKIFF")" "$before"
eventually 10 "workdir does not start" sh -c "$KUBECTL get pod workdir -o json | grep -q 'chdir to cwd'"
contains "no host files" "not: $(k logs workdir 2>&1)" "not: "
case "$(k logs workdir swap 2>&1; k logs swap -c c 2>&1)" in *secret*) fail "a pod saw the host's files" ;; esac
for name in kill message flood raw safe groups mapped; do
  done_with() { phase "$1" Succeeded || phase "$1" Failed; }
  eventually 30 "$name ends" done_with "$name"
done
check "kill -1 ends the pod's own processes" "$(k logs kill)" survived
message=$(status message '.status.containerStatuses[0].state.terminated.message')
check "the end of a giant message" "${#message} ${message: -3}" "4095 end"
check "a flood keeps its end" "$(k logs flood --tail=1)" "done"
size=$(du -sm "$SKIFF_HOME"/clusters/*/nodes/*/pods/"$(status flood .metadata.uid)"/logs | cut -f1)
[ "$size" -le 55 ] || fail "a flood of logs takes $size MiB"
eventually 30 "a pod that fills the disk is evicted" phase fill Failed
check "its reason" "$(status fill '.status.reason}: {.status.message')" 'Evicted: Pod ephemeral local storage usage exceeds the total limit of containers 10Mi. '
contains "no raw socket" "$(k logs raw)" "permission denied"
eventually 10 "root is refused" sh -c "$KUBECTL get pod rooted -o json | grep -q 'container has runAsNonRoot and image will run as root'"
eventually 10 "an unsafe sysctl" phase sysctl Failed
check "says which" "$(status sysctl '.status.reason}: {.status.message')" 'SysctlForbidden: Pod was rejected: forbidden sysctl: "kernel.msgmax" not allowlisted'
check "a safe one is set" "$(k logs safe)" 80
[ -e /sys/kernel/security/apparmor ] || { eventually 10 "AppArmor" phase armor Failed; check "why" "$(status armor .status.reason)" AppArmor; }
check "users of its own" "$(k logs mapped | sed 's/ 0 1[0-9]* 65536/mapped/' | tr '\n' ' ')" "mapped 0 wrote 0 "
check "strict groups" "$(k logs groups)" "uid=1000 gid=3000 groups=3000,4000,5000"
finish
