#!/usr/bin/env bash
# The host's wall clock is set under a running cluster: pods, leases, watches and clients go on.
. "$(dirname "$0")/../support/scenario.sh"

library=$(ls /usr/lib/*/faketime/libfaketimeMT.so.1 2>/dev/null | head -n 1)
[ -n "$library" ] || { say "skipped: Debian's faketime is not installed"; exit 0; }
clock=$SKIFF_HOME/clock
mkdir -p "$SKIFF_HOME"
export FAKETIME_TIMESTAMP_FILE=$clock FAKETIME_NO_CACHE=1 DONT_FAKE_MONOTONIC=1
jump() { echo "$1" >"$clock.next" && mv "$clock.next" "$clock"; }
# Go's programs ask the kernel itself, so kubectl keeps the true time, as a client on another machine would.
skiff_faked() { LD_PRELOAD=$library "$SKIFF" "$@"; }

jump +0
timeout 60 env LD_PRELOAD="$library" "$SKIFF" start || { fail "skiff start"; finish; }
k create deployment web --image=hitcounter:1.0 --replicas=2 >/dev/null
eventually 20 "two replicas" replicas_ready web 2
pods() { k get pods -l app="$1" -o 'jsonpath={range .items[*]}{.metadata.uid} {.status.containerStatuses[0].restartCount}{"\n"}{end}' | sort; }
before=$(pods web)
seen=$SKIFF_HOME/seen
timeout 120 "$KUBECTL" get configmaps --watch-only -o name >"$seen" 2>&1 &
watcher=$!
node_ready() { [ "$(k get nodes -o 'jsonpath={.items[0].status.conditions[?(@.type=="Ready")].status}{.items[0].spec.taints}')" = True ]; }
renewed_at() { k -n kube-node-lease get lease skiff -o 'jsonpath={.spec.renewTime}'; }
lease_moves() { [ "$(renewed_at)" != "$lease" ]; }

for by in +26h -3h; do
  lease=$(renewed_at)
  jump "$by"
  name=c$(echo "$by" | tr -dc 'a-z0-9')
  k create configmap "$name" --from-literal=at="$by" >/dev/null || fail "a write at $by"
  eventually 10 "a watch shows it at $by" grep -q "configmap/$name" "$seen"
  eventually 30 "the lease is renewed at $by" lease_moves
  node_ready || fail "at $by the node is not ready"
  k create deployment "$name" --image=hitcounter:1.0 >/dev/null
  eventually 20 "a new pod at $by" replicas_ready "$name" 1
  k logs "deployment/$name" >/dev/null || fail "logs at $by"
  check "the pods at $by" "$(pods web)" "$before"
done
kill "$watcher" 2>/dev/null

# Two hundred days at once, over a stop: the certificates are still good; a year: start makes new ones.
skiff_faked stop 2>/dev/null
jump +200d
skiff_faked start 2>/dev/null || fail "start after 200 days"
eventually 20 "the replicas after 200 days" replicas_ready web 2
skiff_faked stop 2>/dev/null
jump +400d
skiff_faked start 2>/dev/null || fail "start after 400 days"
api=$(k config view --raw -o 'jsonpath={.clusters[0].cluster.server}')
for part in client-certificate client-key; do
  k config view --raw -o "jsonpath={.users[0].user.$part-data}" | base64 -d >"$SKIFF_HOME/$part"
done
k config view --raw -o 'jsonpath={.clusters[0].cluster.certificate-authority-data}' | base64 -d >"$SKIFF_HOME/ca"
contains "a client of that day" "$(LD_PRELOAD=$library curl -sS --cacert "$SKIFF_HOME/ca" --cert "$SKIFF_HOME/client-certificate" \
  --key "$SKIFF_HOME/client-key" "$api/api/v1/nodes" 2>&1)" '"NodeList"'
skiff_faked delete 2>/dev/null || fail "skiff delete"
finish
