#!/usr/bin/env bash
# What a pod may ask for: images from tars, volumes, environment, probes, hooks, restarts, logs, exec, port-forward.
source "$(dirname "$0")/../support/scenario.sh"
start_cluster

(cd "$TMPDIR" && "$PROJECT/scripts/make-test-images" -o images busybox:test >/dev/null) || fail "make-test-images"
contains "an unknown archive" "$("$SKIFF" image load "$PROJECT/README.md" 2>&1)" "README.md"
for archive in "$TMPDIR"/images/*.tar; do "$SKIFF" image load "$archive" >/dev/null || fail "image load $archive"; done
contains "image ls" "$("$SKIFF" image ls)" "busybox"
contains "image rm of nothing" "$("$SKIFF" image rm no-such:image 2>&1)" "no-such"

k create configmap settings --from-literal=color=blue --from-literal=size=10 >/dev/null
k create secret generic access --from-literal=password=s3cret >/dev/null
k apply -f - >/dev/null <<'Y' || fail "apply"
apiVersion: v1
kind: Pod
metadata:
  name: all
  labels: {app: all}
spec:
  terminationGracePeriodSeconds: 2
  initContainers:
  - {name: first, image: "busybox:test", imagePullPolicy: Never, command: [sh, -c, "echo prepared > /work/file"], volumeMounts: [{name: work, mountPath: /work}]}
  containers:
  - name: main
    image: busybox:test
    imagePullPolicy: Never
    command: [sh, -c, "cat /work/file; echo to-stderr >&2; trap 'echo bye; exit 0' TERM; while true; do sleep 0.1; done"]
    env:
    - {name: PLAIN, value: "a"}
    - {name: EXPANDED, value: "$(PLAIN)-b"}
    - {name: COLOR, valueFrom: {configMapKeyRef: {name: settings, key: color}}}
    - {name: PASSWORD, valueFrom: {secretKeyRef: {name: access, key: password}}}
    - {name: MY_IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
    envFrom: [{configMapRef: {name: settings}, prefix: "CM_"}]
    resources: {limits: {memory: 64Mi, cpu: 500m}}
    readinessProbe: {exec: {command: [test, -f, /work/file]}, periodSeconds: 1}
    volumeMounts:
    - {name: work, mountPath: /work}
    - {name: settings, mountPath: /settings}
    - {name: access, mountPath: /access, readOnly: true}
    - {name: host, mountPath: /host}
  - name: sidecar
    image: busybox:test
    imagePullPolicy: Never
    command: [sh, -c, "echo side; httpd -f -p 8081 -h /work"]
    volumeMounts: [{name: work, mountPath: /work}]
  volumes:
  - {name: work, emptyDir: {}}
  - {name: settings, configMap: {name: settings}}
  - {name: access, secret: {secretName: access, defaultMode: 256}}
  - {name: host, hostPath: {path: /etc, type: Directory}}
Y
k wait --for=condition=Ready pod/all --timeout=20s >/dev/null || fail "pod all is not Ready"
inside() { k exec all -c main -- sh -c "$1"; }
check "env" "$(inside 'echo $EXPANDED $COLOR $PASSWORD $CM_size')" "a-b blue s3cret 10"
check "podIP" "$(inside 'echo $MY_IP')" "$(k get pod all -o 'jsonpath={.status.podIP}')"
check "configMap volume" "$(inside 'cat /settings/color')" blue
check "secret mode" "$(inside 'stat -L -c %a /access/password')" 400
check "hostPath" "$(inside 'test -f /host/passwd && echo yes')" yes
check "shared emptyDir and localhost" "$(inside 'wget -qO- http://127.0.0.1:8081/file')" prepared
check "service account" "$(inside 'cat /var/run/secrets/kubernetes.io/serviceaccount/namespace')" default
check "pid 1" "$(inside 'cat /proc/1/comm')" sh
check "stdin" "$(echo through | k exec -i all -c main -- cat)" through
check "hostname" "$(inside hostname)" all
contains "resolv.conf" "$(inside 'cat /etc/resolv.conf')" "search default.svc.cluster.local svc.cluster.local cluster.local"
contains "DNS" "$(inside 'nslookup kubernetes.default.svc.cluster.local')" "10.96.0.1"
check "QoS" "$(k get pod all -o 'jsonpath={.status.qosClass}')" Burstable
inside 'cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null || cat /sys/fs/cgroup/memory.max' | grep -q 67108864 || fail "memory limit"

contains "logs" "$(k logs all -c main)" "prepared"
check "logs --tail" "$(k logs all -c main --tail=1)" "to-stderr"
check "init logs" "$(k logs all -c first)" ""
k patch configmap settings -p '{"data":{"color":"green"}}' >/dev/null
eventually 20 "a changed ConfigMap shows in the file" sh -c "[ \"\$($KUBECTL exec all -c main -- cat /settings/color)\" = green ]"

# The API is reachable from the pod, and knows the mounted token.
inside 'echo | nc -w 3 kubernetes.default.svc 443 >/dev/null' || fail "the API's address does not answer in the pod"
inside 'cat /var/run/secrets/kubernetes.io/serviceaccount/token' >"$TMPDIR/token"
inside 'cat /var/run/secrets/kubernetes.io/serviceaccount/ca.crt' >"$TMPDIR/ca.crt"
check "the token's user" "$(k --token="$(cat "$TMPDIR/token")" --kubeconfig=/dev/null --server=https://127.0.0.1:6443 \
  --certificate-authority="$TMPDIR/ca.crt" create -f - -o 'jsonpath={.status.userInfo.username}' --validate=false \
  <<<'{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"}')" system:serviceaccount:default:default

k port-forward pod/all 18081:8081 >"$TMPDIR/forward" 2>&1 &
forward=$!
eventually 10 "port-forward" sh -c 'curl -sS --max-time 2 http://127.0.0.1:18081/file | grep -q prepared'
kill $forward

began=$(date +%s)
k delete pod all >/dev/null || fail "delete"
[ $(($(date +%s) - began)) -le 8 ] || fail "graceful deletion took too long"

# Restarts, their back-off, and the words for what is wrong.
k run crash --image=busybox:test --image-pull-policy=Never --restart=Always -- sh -c 'echo going down; exit 3' >/dev/null
restarted() { [ "$(k get pod crash -o 'jsonpath={.status.containerStatuses[0].restartCount}')" -ge 1 ]; }
eventually 20 "a crashing container is restarted" restarted
reason() { k get pod "$1" -o 'jsonpath={.status.containerStatuses[0].state.waiting.reason}'; }
crash_looping() { [ "$(reason crash)" = CrashLoopBackOff ]; }
eventually 30 "CrashLoopBackOff" crash_looping
check "exit code" "$(k get pod crash -o 'jsonpath={.status.containerStatuses[0].lastState.terminated.exitCode}')" 3
check "logs --previous" "$(k logs crash --previous)" "going down"
k run job --image=busybox:test --image-pull-policy=Never --restart=Never -- sh -c 'exit 0' >/dev/null
phase() { [ "$(k get pod "$1" -o 'jsonpath={.status.phase}')" = "$2" ]; }
eventually 10 "Succeeded" phase job Succeeded
k run missing --image=no-such-image:1 --image-pull-policy=Never >/dev/null
image_missing() { [ "$(reason missing)" = ErrImageNeverPull ]; }
eventually 10 "ErrImageNeverPull" image_missing
k run unknown --image=busybox:test --image-pull-policy=Never --command -- /no/such/program >/dev/null
start_error() { k get pod unknown -o json | grep -q 'no such file or directory'; }
eventually 10 "an unknown program is named" start_error

# Liveness: a failing check restarts the container.
k apply -f - >/dev/null <<'Y'
apiVersion: v1
kind: Pod
metadata: {name: sick}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: c
    image: hitcounter:1.0
    livenessProbe: {httpGet: {path: /healthz, port: 8080}, periodSeconds: 1, failureThreshold: 1}
Y
k wait --for=condition=Ready pod/sick --timeout=20s >/dev/null || fail "sick is not Ready"
k exec sick -- hitcounter get http://127.0.0.1:8080/break >/dev/null 2>&1
sick_restarted() { [ "$(k get pod sick -o 'jsonpath={.status.containerStatuses[0].restartCount}')" -ge 1 ]; }
eventually 20 "liveness restarts" sick_restarted
contains "its event" "$(k describe pod sick)" "Liveness probe failed"

# A pod that does not fit says why.
k run big --image=hitcounter:1.0 --overrides='{"spec":{"containers":[{"name":"big","image":"hitcounter:1.0","resources":{"requests":{"cpu":"1000"}}}]}}' >/dev/null
unschedulable() { k describe pod big | grep -q '0/1 nodes are available: 1 Insufficient cpu'; }
eventually 10 "FailedScheduling" unschedulable
finish
