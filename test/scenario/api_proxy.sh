#!/usr/bin/env bash
# services/NAME/proxy as people use it through `kubectl proxy`: HTTP and HTTPS, pages whose links lead back, redirects,
# every verb, streams and upgrades.
. "$(dirname "$0")/../support/scenario.sh"

start_cluster
host=$(ip -4 -o addr show | sed -n 's/.* inet \(10\.24[0-9.]*\)\/.*/\1/p' | head -n 1)
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$SKIFF_HOME/key" -out "$SKIFF_HOME/cert" \
  -subj /CN=nobody -days 1 2>/dev/null
python3 "$PROJECT/test/support/web_server.py" "$host" 8180 &
plain=$!
python3 "$PROJECT/test/support/web_server.py" "$host" 8143 "$SKIFF_HOME/cert" "$SKIFF_HOME/key" &
secure=$!
k apply -f - >/dev/null <<EOF
{"kind": "List", "apiVersion": "v1", "items": [
  {"kind": "Service", "apiVersion": "v1", "metadata": {"name": "web"}, "spec": {"ports": [
    {"name": "plain", "port": 80, "targetPort": 8180}, {"name": "secure", "port": 443, "targetPort": 8143}]}},
  {"kind": "Endpoints", "apiVersion": "v1", "metadata": {"name": "web"}, "subsets": [{"addresses": [{"ip": "$host"}], "ports": [
    {"name": "plain", "port": 8180}, {"name": "secure", "port": 8143}]}]}]}
EOF
k proxy --port 8001 >/dev/null 2>&1 &
proxy=$!
base=/api/v1/namespaces/default/services
url=http://127.0.0.1:8001$base
eventually 10 "kubectl proxy" curl -sf http://127.0.0.1:8001/version
eventually 10 "the servers" sh -c "curl -sf http://$host:8180/ && curl -skf https://$host:8143/"

for name in web:80 web:plain http:web:plain; do
  check "$name" "$(k get --raw "$base/$name/proxy/a%20b?c=d")" "GET /a%20b?c=d $base/$name/proxy/a%20b "
done
for name in https:web:443 https:web:secure; do
  check "$name" "$(k get --raw "$base/$name/proxy/x")" "GET /x $base/$name/proxy/x "
done
for verb in GET POST PUT PATCH DELETE OPTIONS; do
  check "$verb" "$(curl -s -X $verb -d body "$url/web:80/proxy/p")" "$verb /p $base/web:80/proxy/p body"
done
check "no slash" "$(curl -s -o /dev/null -w '%{http_code} %{redirect_url}' "$url/web:80/proxy?q=1")" "301 $url/web:80/proxy/?q=1"
check "a link" "$(curl -s "$url/web:80/proxy/page")" "<a href=\"$base/web:80/proxy/next\">next</a>"
check "a redirect" "$(curl -s -o /dev/null -w '%{http_code} %{redirect_url}' "$url/https:web:443/proxy/moved")" \
  "302 $url/https:web:443/proxy/next"
check "a stream comes as it is made" "$(curl -sN --max-time 2 "$url/web:80/proxy/slow" | head -c 5)" first
for name in web:80 https:web:443; do
  check "an upgrade of $name" "$(timeout 20 python3 - "$base/$name/proxy/" <<'EOF'
import socket, sys
peer = socket.create_connection(("127.0.0.1", 8001))
peer.sendall(f"GET {sys.argv[1]} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n".encode())
answer = b""
while b"\r\n\r\n" not in answer: answer += peer.recv(4096) or sys.exit(answer.decode())
peer.sendall(b"hello\n")  # only now: kubectl proxy drops what comes before
while answer.count(b"hello\n") < 2: answer += peer.recv(4096) or sys.exit(answer.decode())
print(answer.split(b"\r\n")[0].decode(), answer.count(b"hello\n"))
EOF
)" "HTTP/1.1 101 Switching Protocols 2"
done

kill "$plain"
wait "$plain" 2>/dev/null
contains "nobody there" "$(k get --raw "$base/web:80/proxy/" 2>&1)" "error trying to reach service: "
contains "no such port" "$(k get --raw "$base/web:81/proxy/" 2>&1)" 'no service port 81 found for service "web"'
contains "no such scheme" "$(k get --raw "$base/ftp:web:80/proxy/" 2>&1)" 'invalid service request "ftp:web:80"'
kill "$secure" "$proxy"
"$SKIFF" delete 2>/dev/null || fail "skiff delete"
finish
