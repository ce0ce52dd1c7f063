#!/usr/bin/env bash
# Debian's PostgreSQL and Redis, packed into images, keep their data on claims: through a crash of the server, a restart of the
# container, a move to another node, kill -9 of skiff and a restart of the cluster.
source "$(dirname "$0")/../support/scenario.sh"
postgres=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | tail -n 1)
[ -x "$postgres/postgres" ] || { say "skipped: no PostgreSQL (package postgresql)"; exit 0; }
redis=$(command -v redis-server) || { say "skipped: no Redis (package redis-server)"; exit 0; }
version=$(basename "$(dirname "$postgres")")

# with_libraries ROOT PROGRAM...: copies programs and what they link to.
with_libraries() {
  local root=$1 file
  shift
  for file in "$@" $(ldd "$@" | grep -o '/[^ ]*' | grep -v ':$' | sort -u); do
    mkdir -p "$root$(dirname "$file")"
    cp -nL "$file" "$root$file"
  done
}
# image NAME ROOT: an archive of one layer, loaded.
image() {
  tar -C "$2" -cf "$TMPDIR/layer.tar" --owner=0 --group=0 --numeric-owner .
  printf '{"architecture":"%s","os":"linux","config":{"Env":["PATH=%s:/usr/bin:/bin"]},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' \
    "$(dpkg --print-architecture)" "$postgres" "$(sha256sum "$TMPDIR/layer.tar" | cut -d' ' -f1)" >"$TMPDIR/config.json"
  printf '[{"Config":"config.json","RepoTags":["%s"],"Layers":["layer.tar"]}]' "$1" >"$TMPDIR/manifest.json"
  tar -C "$TMPDIR" -cf "$TMPDIR/image.tar" layer.tar config.json manifest.json
  "$SKIFF" image load "$TMPDIR/image.tar" >/dev/null || fail "load $1"
}
base() {
  mkdir -p "$1"/{bin,etc,run/postgresql,var}
  mkdir -m 1777 "$1/tmp"
  chmod 1777 "$1/run/postgresql"
  cp /bin/busybox "$1/bin/busybox"
  for applet in sh cat kill sleep ls; do ln -s busybox "$1/bin/$applet"; done
  printf 'root:x:0:0::/root:/bin/sh\npostgres:x:999:999::/tmp:/bin/sh\n' >"$1/etc/passwd"
  ln -s usr/lib "$1/lib"
  ln -s usr/lib64 "$1/lib64"
  mkdir -p "$1/usr/lib" "$1/usr/lib64"
}
base "$TMPDIR/pg"
with_libraries "$TMPDIR/pg" "$postgres"/{postgres,initdb,psql} "$(dirname "$postgres")"/lib/{plpgsql,dict_snowball}.so
mkdir -p "$TMPDIR/pg/usr/share/postgresql" && cp -r "/usr/share/postgresql/$version" "$TMPDIR/pg/usr/share/postgresql/" || fail "copy PostgreSQL's files"
base "$TMPDIR/redis"
with_libraries "$TMPDIR/redis" "$redis" "$(command -v redis-cli)"
start_cluster >/dev/null
image "postgres:$version" "$TMPDIR/pg"
image redis:1 "$TMPDIR/redis"
"$SKIFF" node add >/dev/null || fail "add a node"

database() { # NAME IMAGE COMMAND PROBE
  k apply -f - >/dev/null <<SET || fail "apply $1"
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: $1}
spec:
  serviceName: $1
  selector: {matchLabels: {app: $1}}
  volumeClaimTemplates: [{metadata: {name: data}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}]
  template:
    metadata: {labels: {app: $1}}
    spec:
      securityContext: {runAsUser: 999, runAsGroup: 999, fsGroup: 999, fsGroupChangePolicy: OnRootMismatch}  # PostgreSQL refuses a directory that its group may write to
      terminationGracePeriodSeconds: 5
      containers:
      - name: db
        image: "$2"
        command: [sh, -c, "$3"]
        readinessProbe: {exec: {command: [sh, -c, "$4"]}, periodSeconds: 1}
        volumeMounts: [{name: data, mountPath: /data}]
SET
}
database pg "postgres:$version" "[ -s /data/pg/PG_VERSION ] || initdb -D /data/pg --no-locale -A trust -N >/dev/null && exec postgres -D /data/pg -k /tmp" \
  "psql -h /tmp -U postgres -c 'select 1'"
database redis redis:1 "exec redis-server --dir /data --appendonly yes --appendfsync always --save ''" "redis-cli ping"
sql() { k exec pg-0 -- psql -h /tmp -U postgres -Atc "$1"; }
ready() { [ "$(k get pod "$1" -o 'jsonpath={.status.conditions[?(@.type=="Ready")].status}')" = True ]; }
both_ready() { ready pg-0 && ready redis-0; }
restarts() { k get pod "${1:-pg-0}" -o 'jsonpath={.status.containerStatuses[0].restartCount}'; }
round=0
# What was written in each round so far is there; then one more is written.
data_is_there() {
  eventually 30 "both are ready ($1)" both_ready
  check "rows ($1)" "$(sql 'select count(*), coalesce(sum(length(text)), 0) from kept' 2>&1)" "$((round * 1000))|$((round * 32000))"
  check "keys ($1)" "$(k exec redis-0 -- redis-cli dbsize 2>&1)" "$round"
  round=$((round + 1))
  sql "insert into kept select md5(n::text) from generate_series(1, 1000) n" >/dev/null || fail "insert ($1)"
  check "set ($1)" "$(k exec redis-0 -- redis-cli set "key$round" "$1")" OK
}

eventually 40 "both are ready" both_ready
sql "create table kept (text text)" >/dev/null || fail "create a table"
data_is_there "new"
# The servers crash, and are restarted where they are.
k exec pg-0 -- sh -c 'kill -QUIT 1' >/dev/null 2>&1
k exec redis-0 -- redis-cli shutdown nosave >/dev/null 2>&1
restarted() { [ "$(restarts)" -ge 1 ] && [ "$(restarts redis-0)" -ge 1 ]; }
eventually 20 "the containers were restarted" restarted
data_is_there "restarted"
node=$(k get pod pg-0 -o 'jsonpath={.spec.nodeName}')
for one in $(k get pods -o 'jsonpath={.items[*].spec.nodeName}'); do k cordon "$one" >/dev/null; done
k get nodes -o name | grep -v "^node/$node\$" | xargs -n 1 "$KUBECTL" uncordon >/dev/null
k delete pod pg-0 redis-0 --wait >/dev/null || fail "delete the pods"
data_is_there "moved"
[ "$(k get pod pg-0 -o 'jsonpath={.spec.nodeName}')" != "$node" ] || fail "the pod did not move"
before=$(restarts)
kill -9 "$("$SKIFF" status | awk '/^process:/{print $2}')"
"$SKIFF" start >/dev/null || fail "start after kill -9"
data_is_there "skiff killed"
check "not restarted by the death of skiff" "$(restarts)" "$before"
"$SKIFF" stop >/dev/null || fail "stop"
"$SKIFF" start >/dev/null || fail "start again"
data_is_there "stopped and started"
finish
