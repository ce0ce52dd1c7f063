#!/usr/bin/env bash
# Volumes as the node sees them: claims bound to directories and local volumes, raw devices, sub paths, fsGroup, images.
source "$(dirname "$0")/../support/scenario.sh"
start_cluster
(cd "$TMPDIR" && "$PROJECT/scripts/make-test-images" -o images busybox:test >/dev/null) || fail "make-test-images"
for archive in "$TMPDIR"/images/*.tar; do "$SKIFF" image load "$archive" >/dev/null || fail "image load $archive"; done
mkdir -p "$TMPDIR/data" "$TMPDIR/raw" "$TMPDIR/disk/old"
echo old >"$TMPDIR/disk/old/file"
chmod 700 "$TMPDIR/disk/old"
node=$(k get nodes -o 'jsonpath={.items[0].metadata.name}')

# bound NAME SOURCE [MODE]: a volume and its claim, made for each other.
bound() {
  k apply -f - >/dev/null <<Y || fail "apply claim $1"
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: $1}
spec: {accessModes: [ReadWriteOnce], volumeMode: ${3:-Filesystem}, storageClassName: none, volumeName: $1, resources: {requests: {storage: 2Mi}}}
Y
  k apply -f - >/dev/null <<Y || fail "apply volume $1"
apiVersion: v1
kind: PersistentVolume
metadata: {name: $1}
spec:
  capacity: {storage: 2Mi}
  accessModes: [ReadWriteOnce]
  volumeMode: ${3:-Filesystem}
  storageClassName: none
  claimRef: {namespace: default, name: $1, uid: $(k get pvc "$1" -o 'jsonpath={.metadata.uid}')}
  $2
Y
  is_bound() {
    [ "$(k get pvc "$1" -o 'jsonpath={.status.phase}')" = Bound ] && return
    # Whoever binds claims may be slower than we are.
    k get pvc "$1" -o json | jq '.status.phase="Bound"' |
      k replace --raw "/api/v1/namespaces/default/persistentvolumeclaims/$1/status" -f - >/dev/null 2>&1
    return 1
  }
  eventually 10 "claim $1 is bound" is_bound "$1"
}
affinity="nodeAffinity: {required: {nodeSelectorTerms: [{matchExpressions: [{key: kubernetes.io/hostname, operator: In, values: [$node]}]}]}}"
bound data "hostPath: {path: $TMPDIR/data}"
bound disk "local: {path: $TMPDIR/disk}
  $affinity"
bound raw "hostPath: {path: $TMPDIR/raw}" Block

k apply -f - >/dev/null <<'Y' || fail "apply"
apiVersion: v1
kind: Pod
metadata: {name: user}
spec:
  terminationGracePeriodSeconds: 0
  securityContext: {runAsUser: 1000, fsGroup: 2000, fsGroupChangePolicy: OnRootMismatch}
  containers:
  - name: c
    image: busybox:test
    imagePullPolicy: Never
    securityContext: {runAsUser: 0}
    command: [sh, -c, "echo kept > /data/file; sleep 1000"]
    env: [{name: WHO, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]
    volumeDevices: [{name: raw, devicePath: /dev/xvda}]
    volumeMounts:
    - {name: data, mountPath: /data}
    - {name: data, mountPath: /own, subPathExpr: "logs/$(WHO)"}
    - {name: disk, mountPath: /disk}
    - {name: tmp, mountPath: /memory}
    - {name: image, mountPath: /image}
    - {name: conf, mountPath: /conf}
  - name: reader
    image: busybox:test
    imagePullPolicy: Never
    command: [sleep, "1000"]
    volumeMounts: [{name: disk, mountPath: /disk, readOnly: true, recursiveReadOnly: IfPossible}, {name: token, mountPath: /token}]
  volumes:
  - {name: data, persistentVolumeClaim: {claimName: data}}
  - {name: disk, persistentVolumeClaim: {claimName: disk}}
  - {name: raw, persistentVolumeClaim: {claimName: raw}}
  - {name: tmp, emptyDir: {medium: Memory, sizeLimit: 1Mi}}
  - {name: image, image: {reference: "hitcounter:1.0"}}
  - {name: conf, configMap: {name: kube-root-ca.crt}}
  - {name: token, projected: {sources: [{serviceAccountToken: {path: token, expirationSeconds: 600}}]}}
Y
k wait --for=condition=Ready pod/user --timeout=20s >/dev/null || fail "pod user is not Ready: $(k describe pod user | tail -n 15)"
inside() { k exec user -c c -- sh -c "$1"; }
check "a claim's directory" "$(cat "$TMPDIR/data/file")" kept
inside 'echo mine > /own/log'
check "subPathExpr" "$(cat "$TMPDIR/data/logs/user/log")" mine
check "fsGroup of a local volume" "$(stat -c '%g %a' "$TMPDIR/disk/old")" "2000 2770"
check "the group reads" "$(k exec user -c reader -- cat /disk/old/file)" old
contains "read-only" "$(k exec user -c reader -- touch /disk/new 2>&1)" "Read-only file system"
contains "configuration is read-only" "$(inside 'touch /conf/new' 2>&1)" "Read-only file system"
check "a token is its user's alone" "$(k exec user -c reader -- sh -c 'stat -L -c "%u %g %a" /token/token')" "0 2000 640"
contains "an image is a volume" "$(inside 'ls /image; touch /image/x' 2>&1)" "Read-only file system"
contains "its digest" "$(k get pod user -o 'jsonpath={.status.containerStatuses[*].volumeMounts[*].volumeStatus.image.imageRef}')" "sha256:"
check "recursiveReadOnly" "$(k get pod user -o 'jsonpath={.status.containerStatuses[?(@.name=="reader")].volumeMounts[?(@.mountPath=="/disk")].recursiveReadOnly}')" Enabled
contains "a full memory volume" "$(inside 'head -c 2000000 /dev/zero | cat > /memory/big' 2>&1)" "No space left"
inside 'echo raw > /dev/xvda && test -b /dev/xvda' || fail "the raw device does not take bytes"
k delete pod user >/dev/null || fail delete
check "a raw claim keeps its bytes" "$(head -c 3 "$TMPDIR/raw/block.img")" raw
no_loop() { ! grep -qs "$TMPDIR" /sys/block/loop*/loop/backing_file; }
eventually 10 "the loop device is given back" no_loop

# What keeps a pod waiting says why, in Kubernetes' words.
k apply -f - >/dev/null <<Y || fail apply
apiVersion: v1
kind: Pod
metadata: {name: waits}
spec:
  nodeName: $node
  containers: [{name: c, image: "busybox:test", imagePullPolicy: Never, command: [sleep, "1000"], volumeMounts: [{name: d, mountPath: /d}]}]
  volumes: [{name: d, persistentVolumeClaim: {claimName: nobody}}]
---
apiVersion: v1
kind: Pod
metadata: {name: escapes}
spec:
  initContainers: [{name: i, image: "busybox:test", imagePullPolicy: Never, command: [ln, -s, /, /d/out], volumeMounts: [{name: d, mountPath: /d}]}]
  containers: [{name: c, image: "busybox:test", imagePullPolicy: Never, command: [sleep, "1000"], volumeMounts: [{name: d, mountPath: /d, subPath: out}]}]
  volumes: [{name: d, emptyDir: {}}]
Y
says() { k get events --field-selector "involvedObject.name=$1" -o 'jsonpath={.items[*].message}' | grep -q "$2"; }
eventually 10 "a missing claim is named" says waits 'error processing PVC default/nobody: failed to fetch PVC from API server: persistentvolumeclaims "nobody" not found'
eventually 10 "a sub path that leads out is refused" says escapes 'failed to prepare subPath for volumeMount "d" of container "c"'
finish
