#!/usr/bin/env bash
# Pods as users meet them: many at once and their end, exec, memory and idle time; beside them, where they work, one container by
# crun, podman and containerd's ctr. usage: SKIFF_BIN=build scripts/sandbox test/bench/bench_pods.sh
set -u
cd "$(dirname "$0")/../.."
bin=${SKIFF_BIN:-build}
skiff=$bin/src/skiff
now() { date +%s%N; }
since() { echo $((($(now) - $1) / 1000000)); }
resident() { awk '/^Rss:/{sum += $2} END{print sum}' "/proc/$1/smaps_rollup"; }
private() { awk '/^Private_(Clean|Dirty):/{sum += $2} END{print sum}' "/proc/$1/smaps_rollup"; }
ticks() { awk '{print $14 + $15}' "/proc/$1/stat"; }
pause() { read -r -t "$1" _ <> <(:) || true; }

"$skiff" start -p bench --nodes 5 >/dev/null 2>&1 || { echo "no cluster" >&2; exit 1; }
export KUBECONFIG=$SKIFF_HOME/clusters/bench/kubeconfig
pid=$("$skiff" status -p bench | awk '/^process:/{print $2}')
inits() { local sum=0 one; for one in $(pgrep -x skiff-init); do sum=$((sum + $(private "$one"))); done; echo $sum; }
pause 2
memory=$(($(private "$pid") + $(inits)))
for count in 100 500; do
  begun=$(now)
  kubectl create deployment "d$count" --image=hitcounter:1.0 --replicas=$count >/dev/null
  kubectl rollout status "deployment/d$count" --timeout=120s >/dev/null
  echo "Deployment 0 -> $count pods Ready: $(since "$begun") ms (kubectl included)"
  if [ "$count" = 100 ]; then
    pause 3
    echo "memory of skiff and skiff-init a pod: $((($(private "$pid") + $(inits) - memory) / 100)) KiB"
    before=$(ticks "$pid")
    for one in $(pgrep -x skiff-init); do before=$((before + $(ticks "$one"))); done
    pause 10
    after=$(ticks "$pid")
    for one in $(pgrep -x skiff-init); do after=$((after + $(ticks "$one"))); done
    echo "idle with 100 pods: $((after - before)) ticks of 10 ms in 10 s ($((after - before)).0e-3 of a core)"
  fi
  begun=$(now)
  kubectl delete deployment "d$count" --wait=false >/dev/null
  until [ -z "$(kubectl get pods -l app="d$count" -o name)" ]; do :; done
  echo "$count pods deleted: $(since "$begun") ms"
done

"$bin/test/bench_cluster" "$KUBECONFIG" 100 2>/dev/null | grep -i pod
scripts/make-test-images -o "$TMPDIR/images" busybox:bench >/dev/null && "$skiff" image load "$TMPDIR/images/image.docker.tar" >/dev/null
kubectl run one --image=busybox:bench --image-pull-policy=Never -- sleep 1000 >/dev/null
kubectl wait --for=condition=Ready pod/one --timeout=20s >/dev/null
timed() { # LABEL COMMAND...: the best and the median of 15
  local label=$1 i all=""
  shift
  for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do
    local begun; begun=$(now)
    "$@" >/dev/null 2>&1 || { echo "$label: does not work here"; return; }
    all="$all $((($(now) - begun) / 1000))"
  done
  echo "$label: $(printf '%s\n' $all | sort -n | awk '{v[NR]=$1} END{printf "min %.1f ms, median %.1f ms", v[1]/1000, v[8]/1000}')"
}
timed "kubectl get --raw /version (the client's own time)" kubectl get --raw /version
timed "kubectl exec" kubectl exec one -- true
"$skiff" delete -p bench >/dev/null 2>&1

work=$(mktemp -d)
mkdir -p "$work/rootfs/bin" "$work/rootfs"/{proc,dev,sys,tmp}
cp /bin/busybox "$work/rootfs/bin/true"
if command -v crun >/dev/null; then
  (cd "$work" && crun spec && sed -i 's/"terminal": true/"terminal": false/; s#"sh"#"true"#' config.json)
  timed "crun run true" crun run -b "$work" bench-crun
fi
command -v podman >/dev/null && timed "podman run true" podman run --rm --network none --rootfs "$work/rootfs" true
command -v ctr >/dev/null && timed "ctr run true" ctr run --rm --rootfs "$work/rootfs" bench-ctr true
rm -rf "$work"
