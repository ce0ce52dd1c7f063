#!/usr/bin/env bash
# From an endpoint's change in the API to the packets: how long after the API answered a change of an EndpointSlice do
# connections to the Service's address reach the new endpoint. Run it by hand: scripts/sandbox FILE [CHANGES].
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
skiff=${SKIFF:-$root/build/skiff}
"$skiff" start >/dev/null 2>&1
kubectl apply -f - >/dev/null <<Y
apiVersion: v1
kind: Service
metadata: {name: flip}
spec: {clusterIP: 10.96.0.77, ports: [{name: one, port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: flip-1, labels: {kubernetes.io/service-name: flip}}
addressType: IPv4
endpoints: [{addresses: [10.243.0.1]}]
ports: [{name: one, port: 9001}]
Y
for part in client-certificate:users[0].user client-key:users[0].user certificate-authority:clusters[0].cluster; do
  kubectl config view --raw --minify -o "jsonpath={.${part##*:}.${part%%:*}-data}" | base64 -d >"$TMPDIR/${part%%:*}"
done
python3 - "$(kubectl config view --raw --minify -o 'jsonpath={.clusters[0].cluster.server}')" "${1:-200}" <<'P'
import http.client, json, os, socket, ssl, sys, threading, time
directory = os.environ["TMPDIR"]
def serve(port):
    listener = socket.create_server(("10.243.0.1", port), backlog=512)
    while True:
        client, _ = listener.accept()
        client.sendall(str(port).encode())
        client.close()
for port in (9001, 9002):
    threading.Thread(target=serve, args=(port,), daemon=True).start()
tls = ssl.create_default_context(cafile=directory + "/certificate-authority")
tls.load_cert_chain(directory + "/client-certificate", directory + "/client-key")
api = http.client.HTTPSConnection(sys.argv[1].split("//")[1], context=tls)
def reached():
    try:
        with socket.create_connection(("10.96.0.77", 80), timeout=1) as client:
            return client.recv(16).decode()
    except OSError:
        return ""
while reached() != "9001":
    pass
times = []
for change in range(int(sys.argv[2])):
    port = 9002 - change % 2
    time.sleep(0.05)  # a pod becomes ready now and then; the kernel frees what the change before removed meanwhile
    api.request("PATCH", "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/flip-1",
                json.dumps({"ports": [{"name": "one", "port": port}]}), {"Content-Type": "application/merge-patch+json"})
    api.getresponse().read()
    begin = time.perf_counter()
    while reached() != str(port):
        pass
    times.append((time.perf_counter() - begin) * 1000)
times.sort()
print(f"{len(times)} changes: p50 {times[len(times) // 2]:.1f} ms, p99 {times[len(times) * 99 // 100]:.1f} ms, most {times[-1]:.1f} ms")
P
echo "load: $(cut -d' ' -f1-3 /proc/loadavg)"
"$skiff" delete >/dev/null 2>&1
