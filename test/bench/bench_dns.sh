#!/usr/bin/env bash
# Cluster DNS under dnsperf: answers a second for names of the cluster. Needs the package dnsperf; run it by hand:
# scripts/sandbox FILE [SECONDS].
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
skiff=${SKIFF:-$root/build/skiff}
"$skiff" start >/dev/null 2>&1
for i in $(seq 50); do printf 'apiVersion: v1\nkind: Service\nmetadata: {name: s%s}\nspec: {ports: [{name: http, port: 80}]}\n---\n' "$i"; done | kubectl apply -f - >/dev/null
for i in $(seq 50); do echo "s$i.default.svc.cluster.local A"; done >"$TMPDIR/names"
{ echo "s1.default.svc.cluster.local AAAA"; echo "none.default.svc.cluster.local A"; } >>"$TMPDIR/names"
pid=$("$skiff" status | awk '/^process:/{print $2}')
ticks() { for stat in /proc/"$pid"/task/*/stat; do grep -q '(dns)' "$stat" && awk '{print $14 + $15}' "$stat"; done; }
before=$(ticks) begin=$(date +%s%N)
dnsperf -s 10.96.0.10 -d "$TMPDIR/names" -l "${1:-5}" -c 8 -q 200 | grep -E 'Queries (sent|completed|lost)|Queries per second|Average Latency|Response codes'
echo "the server's thread: $((($(ticks) - before) * 10000000 * 100 / ($(date +%s%N) - begin))) % of a core; load $(cut -d' ' -f1-3 /proc/loadavg)"
"$skiff" delete >/dev/null 2>&1
