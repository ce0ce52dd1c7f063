#!/usr/bin/env bash
# The disk of the store fills up: writes are refused by name, reads go on, and nothing acknowledged is lost.
. "$(dirname "$0")/../support/scenario.sh"

root=$SKIFF_HOME/clusters/skiff
mkdir -p "$root"
mount -t tmpfs -o size=24m,mode=700 tmpfs "$root" || { fail "mount"; finish; }
start_cluster
payload=$SKIFF_HOME/payload
head -c 600000 /dev/zero | tr '\0' x >"$payload"
written=0 refusal=
while [ $written -lt 100 ]; do
  refusal=$(k create configmap "c$written" --from-file=x="$payload" 2>&1) || break
  written=$((written + 1))
done
[ $written -gt 5 ] || fail "only $written writes fitted"
contains "the refusal names the file and the reason" "$refusal" "store.db': database or disk is full: No space left on device"
listed() { k get configmaps -o name | grep -c configmap/c; }
check "reads go on" "$(listed)" "$written"
contains "healthy" "$(k get --raw /readyz)" ok
k create configmap late --from-file=x="$payload" >/dev/null 2>&1 && fail "a write fitted into a full disk"
k get configmap late >/dev/null 2>&1 && fail "the refused write is there"

mount -o remount,size=96m "$root"
k create configmap after --from-file=x="$payload" >/dev/null || fail "no write after there is room again"
kill -9 "$(cat "$root/lock")"
start_cluster
check "all that was acknowledged" "$(listed)" "$written"
k get configmap after >/dev/null || fail "what was written last is lost"
k get configmap late >/dev/null 2>&1 && fail "the refused write came back"
"$SKIFF" stop 2>/dev/null || fail "skiff stop"
umount "$root" || fail "something still uses the disk"
finish
