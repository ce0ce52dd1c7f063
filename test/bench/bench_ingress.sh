#!/usr/bin/env bash
# The ingress beside Debian's nginx as a reverse proxy, on the same backends, one after the other in one run:
# requests a second at 64 connections. Needs the packages nginx-light and wrk; run it by hand: scripts/sandbox FILE.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
skiff=${SKIFF:-$root/build/skiff}
seconds=${1:-5}
for program in nginx wrk kubectl "$skiff"; do command -v "$program" >/dev/null || { echo "$program is missing" >&2; exit 1; }; done
"$skiff" start >/dev/null 2>&1
host=10.243.0.1  # of the host, as the cluster sees it; nginx goes the same way
cat >"$TMPDIR/nginx.conf" <<N
worker_processes 1; pid $TMPDIR/nginx.pid; error_log /dev/null;
events { worker_connections 1024; }
http {
  access_log off; keepalive_requests 1000000;
  client_body_temp_path $TMPDIR; proxy_temp_path $TMPDIR; fastcgi_temp_path $TMPDIR; uwsgi_temp_path $TMPDIR; scgi_temp_path $TMPDIR;
  upstream both { server $host:9001; server $host:9002; keepalive 64; }
  server { listen 9001; listen 9002; location / { return 200 "hello from behind\n"; } }
  server { listen 127.0.0.1:9080; location / { proxy_pass http://both; proxy_http_version 1.1; proxy_set_header Connection ""; } }
}
N
nginx -c "$TMPDIR/nginx.conf"
kubectl apply -f - >/dev/null <<Y
apiVersion: v1
kind: Service
metadata: {name: behind}
spec: {ports: [{name: one, port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: behind-1, labels: {kubernetes.io/service-name: behind}}
addressType: IPv4
endpoints: [{addresses: [$host]}]
ports: [{name: one, port: 9001}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: behind-2, labels: {kubernetes.io/service-name: behind}}
addressType: IPv4
endpoints: [{addresses: [$host]}]
ports: [{name: one, port: 9002}]
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: behind}
spec: {defaultBackend: {service: {name: behind, port: {number: 80}}}}
Y
until curl -sf http://127.0.0.1/ >/dev/null; do read -r -t 0.05 _ <> <(:) || true; done
for round in 1 2; do
  for way in "nginx http://127.0.0.1:9080/" "skiff http://127.0.0.1/"; do
    printf '%s  ' "${way%% *}"
    wrk -t1 -c64 -d"${seconds}s" "${way##* }" | awk '/Requests\/sec/{r=$2} /Non-2xx|Socket errors/{e=$0} /Latency/{l=$2} END{print r " requests/s, mean " l, e}'
  done
done
echo "load: $(cut -d' ' -f1-3 /proc/loadavg)"
kill "$(cat "$TMPDIR/nginx.pid")"
"$skiff" delete >/dev/null 2>&1
