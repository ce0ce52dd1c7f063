#!/usr/bin/env bash
# PersistentVolumes from claim to reclaim: the default class, static volumes, growing, why a claim or a pod waits.
source "$(dirname "$0")/../support/scenario.sh"
start_cluster

claim() { # claim NAME CLASS SIZE [MODE]: CLASS - for the default
  local class=""
  [ "$2" = - ] || class="storageClassName: \"$2\", "
  printf -- '---\n{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: %s}, spec: {%saccessModes: [%s], resources: {requests: {storage: %s}}}}\n' \
    "$1" "$class" "${4:-ReadWriteOnce}" "$3"
}
user() { # user NAME CLAIM
  printf -- '---\n{apiVersion: v1, kind: Pod, metadata: {name: %s}, spec: {terminationGracePeriodSeconds: 1, volumes: [{name: v, persistentVolumeClaim: {claimName: %s}}], containers: [{name: c, image: "hitcounter:1.0", volumeMounts: [{name: v, mountPath: /data}]}]}}\n' "$1" "$2"
}
phase() { k get "$1" "$2" -o 'jsonpath={.status.phase}'; }
is() { [ "$(phase "$1" "$2")" = "$3" ]; }
said() { k get events -o "jsonpath={range .items[?(@.reason=='$1')]}{.involvedObject.name} {.message}{'\n'}{end}" | grep -qF -- "$2"; }

# ---- the default class
contains "the default class" "$(k get storageclass --no-headers | tr -s ' ')" \
  "standard (default) skiff.dev/directory Delete WaitForFirstConsumer true"
claim data - 1Gi | k apply -f - >/dev/null || fail "apply claim"
eventually 5 "the claim waits for a pod" said WaitForFirstConsumer "waiting for first consumer to be created before binding"
check "class by admission" "$(k get pvc data -o 'jsonpath={.spec.storageClassName}')" standard
user p data | k apply -f - >/dev/null || fail "apply pod"
eventually 10 "the claim is bound" is pvc data Bound
volume=$(k get pvc data -o 'jsonpath={.spec.volumeName}')
directory=$SKIFF_HOME/clusters/skiff/volumes/$volume
check "where the volume is" "$(k get pv "$volume" -o 'jsonpath={.spec.hostPath.path}')" "$directory"
[ -d "$directory" ] || fail "there is no directory $directory"
eventually 5 "provisioning is told" said ProvisioningSucceeded "Successfully provisioned volume $volume"
check "the pod has a node" "$(k get pod p -o 'jsonpath={.spec.nodeName}')" skiff
contains "get pvc" "$(k get pvc data --no-headers | tr -s ' ')" "data Bound $volume 1Gi RWO standard"
contains "get pv" "$(k get pv "$volume" --no-headers | tr -s ' ')" "$volume 1Gi RWO Delete Bound default/data standard"

# ---- growing
k patch pvc data -p '{"spec":{"resources":{"requests":{"storage":"2Gi"}}}}' >/dev/null || fail "grow"
eventually 5 "the claim has grown" sh -c "[ \$($KUBECTL get pvc data -o 'jsonpath={.status.capacity.storage}') = 2Gi ]"
contains "shrinking" "$(k patch pvc data -p '{"spec":{"resources":{"requests":{"storage":"1Gi"}}}}' 2>&1)" \
  "field can not be less than status.capacity"

# ---- protection and reclaiming
k delete pvc data --wait=false >/dev/null
contains "a claim in use stays" "$(k get pvc data --no-headers)" Terminating
k delete pod p --grace-period=1 >/dev/null
eventually 10 "the claim goes with its last pod" sh -c "! $KUBECTL get pvc data"
eventually 10 "so does the volume" sh -c "! $KUBECTL get pv $volume"
[ ! -e "$directory" ] || fail "the directory is still there"

# ---- static volumes
for size in 1Gi 5Gi; do
  printf -- '---\n{apiVersion: v1, kind: PersistentVolume, metadata: {name: "static-%s"}, spec: {capacity: {storage: %s}, accessModes: [ReadWriteOnce], persistentVolumeReclaimPolicy: Retain, storageClassName: manual, hostPath: {path: /tmp/none}}}\n' "${size,,}" $size
done | k apply -f - >/dev/null || fail "apply volumes"
claim small manual 500Mi | k apply -f - >/dev/null
eventually 5 "a static volume is bound" is pvc small Bound
check "the smallest that suits" "$(k get pvc small -o 'jsonpath={.spec.volumeName}')" static-1gi
claim large manual 9Gi | k apply -f - >/dev/null
user q large | k apply -f - >/dev/null
eventually 5 "a pod says what its claim lacks" sh -c "$KUBECTL describe pod q | grep -q 'pod has unbound immediate PersistentVolumeClaims'"
eventually 5 "and so does the claim" said ProvisioningFailed 'storageclass.storage.k8s.io "manual" not found'
k delete pod q --grace-period=1 >/dev/null
k delete pvc small large >/dev/null
eventually 5 "Retain keeps the volume" is pv static-1gi Released
k patch pv static-1gi --type=json -p '[{"op":"remove","path":"/spec/claimRef"}]' >/dev/null
eventually 5 "a volume can be freed by hand" is pv static-1gi Available
finish
