#!/usr/bin/env bash
# IPv6 beside IPv4, and alone: addresses, services, names, policies, the host, and a first node that stops.
source "$(dirname "$0")/../support/scenario.sh"
before=$(ip addr; ip -4 route; ip -6 route; sysctl -a 2>/dev/null | grep '^net\.ipv[46]\.conf\.\(all\|default\|lo\)\.')
start_cluster --nodes 2 --ip-family dual --node-grace 4
field() { k get "$1" "$2" -o "jsonpath=$3"; }
check "ranges of a node" "$(field node skiff-2 '{.spec.podCIDRs}')" '["10.244.1.0/24","fd00:10:244:1::/64"]'
check "addresses of a node" "$(field node skiff '{.status.addresses[*].address}')" "10.243.0.2 fd00:10:243::2 skiff"
k apply -f - >/dev/null <<'Y' || fail apply
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 4
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      topologySpreadConstraints:
        - {maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: DoNotSchedule, labelSelector: {matchLabels: {app: web}}}
      containers:
        - name: web
          image: skiff.local/hitcounter:1.0
          env:
            - {name: IPS, valueFrom: {fieldRef: {fieldPath: status.podIPs}}}
            - {name: HOSTS, valueFrom: {fieldRef: {fieldPath: status.hostIPs}}}
          readinessProbe: {httpGet: {path: /healthz, port: 8080}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: both}
spec: {type: NodePort, ipFamilyPolicy: PreferDualStack, selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: six}
spec: {ipFamilies: [IPv6], selector: {app: web}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: four}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: members}
spec: {clusterIP: None, ipFamilyPolicy: RequireDualStack, selector: {app: web}, ports: [{name: http, port: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: balanced}
spec: {type: LoadBalancer, ipFamilyPolicy: RequireDualStack, ipFamilies: [IPv6, IPv4], selector: {app: web}, ports: [{port: 8088, targetPort: 8080}]}
Y
k rollout status deployment/web --timeout=30s >/dev/null || fail rollout
hello() { curl -gsf -m 5 "$1" | grep -q Hello; }
url() { case $1 in *:*) echo "http://[$1]:$2/" ;; *) echo "http://$1:$2/" ;; esac; }

# Addresses: of both families, in the order of the cluster, told to the pod as well.
for pod in $(k get pods -l app=web -o 'jsonpath={.items[*].metadata.name}'); do
  ips=$(field pod "$pod" '{.status.podIPs[*].ip}')
  contains "addresses of $pod" "$ips" " fd00:10:244"
  check "the main address of $pod" "$(field pod "$pod" '{.status.podIP}')" "${ips%% *}"
  check "hosts of $pod" "$(field pod "$pod" '{.status.hostIPs[*].ip}' | wc -w)" 2
  contains "downward API of $pod" "$(k exec "$pod" -- hitcounter env)" "IPS=${ips/ /,}"
  contains "hosts file of $pod" "$(k exec "$pod" -- hitcounter cat /etc/hosts)" "${ips#* }"
  for ip in $ips; do hello "$(url "$ip" 8080)" || fail "the host reaches $ip"; done
done

# Services: families, slices, addresses from the host and from a pod of each node.
check "families" "$(field service both '{.spec.ipFamilies}')" '["IPv4","IPv6"]'
check "one family where none is asked for" "$(field service four '{.spec.ipFamilyPolicy} {.spec.ipFamilies}')" 'SingleStack ["IPv4"]'
check "slices" "$(k get endpointslices -l kubernetes.io/service-name=both -o 'jsonpath={range .items[*]}{.addressType}{"\n"}{end}' | sort | tr '\n' ' ')" "IPv4 IPv6 "
in_pod_of() {  # NODE COMMAND...: in the network of a pod there
  local host pid
  host=$(k get pods -l app=web -o "jsonpath={.items[?(@.spec.nodeName=='$1')].metadata.name}" | cut -d' ' -f1)
  for pid in $(pgrep -f 'hitcounter( serve)?$'); do
    [ "$(nsenter -t "$pid" -u hostname 2>/dev/null)" = "$host" ] && break
  done
  shift
  nsenter -t "$pid" -n "$@"
}
both=$(field service both '{.spec.clusterIPs[*]}')
check "cluster IPs" "$(wc -w <<<"$both")" 2
for ip in $both $(field service six '{.spec.clusterIP}') $(field service four '{.spec.clusterIP}'); do
  eventually 5 "the host reaches $ip" hello "$(url "$ip" 80)"
  for node in skiff skiff-2; do
    answer=$(in_pod_of $node curl -gs -m 5 "$(url "$ip" 80)")
    contains "a pod of $node reaches $ip" "$answer" Hello
  done
done
far=$(k get pods -l app=web -o "jsonpath={.items[?(@.spec.nodeName=='skiff-2')].status.podIPs[1].ip}" | cut -d' ' -f1)
contains "pods reach pods of other nodes" "$(in_pod_of skiff curl -gs -m 5 "http://[$far]:8080/")" Hello
port=$(node_port both)
for at in "127.0.0.1:$port" "[::1]:$port" "10.243.0.3:$port" "[fd00:10:243::3]:$port"; do
  eventually 5 "node port at $at" hello "http://$at/"
done
balanced=$(field service balanced '{.status.loadBalancer.ingress[*].ip}')
case $balanced in fd00:10:243::*" 10.243."*) ;; *) fail "addresses of the load balancer: $balanced" ;; esac
check "skiff service" "$("$SKIFF" service balanced --url)" "http://[${balanced%% *}]:8088"
for ip in $balanced; do eventually 5 "load balancer at $ip" hello "$(url "$ip" 8088)"; done
for at in 127.0.0.1 '[::1]'; do eventually 5 "load balancer at $at" hello "http://$at:8088/"; done
refused() { curl -gs -m 5 -o /dev/null "$1"; [ $? = 7 ]; }
k create service clusterip empty --tcp=80 >/dev/null
k patch service empty -p '{"spec":{"ipFamilyPolicy":"PreferDualStack","selector":{"app":"nobody"}}}' >/dev/null
second() { field service empty '{.spec.clusterIPs[1]}' | grep -q fd00; }
eventually 5 "a service becomes one of both families" second
eventually 5 "no endpoints, no waiting" refused "http://[$(field service empty '{.spec.clusterIPs[1]}')]/"

# Names: AAAA, both for a headless service, SRV with addresses, PTR.
ask() { dig +short +time=2 +tries=1 @10.243.0.2 "$@"; }
D=default.svc.cluster.local
check "AAAA" "$(ask both.$D AAAA)" "${both#* }"
check "A" "$(ask both.$D A)" "${both%% *}"
check "no A of an IPv6 service" "$(ask six.$D A)" ""
check "headless AAAA" "$(ask members.$D AAAA | sort)" "$(k get pods -l app=web -o 'jsonpath={range .items[*]}{.status.podIPs[1].ip}{"\n"}{end}' | sort)"
check "headless A" "$(ask members.$D A | wc -l)" 4
check "PTR" "$(ask -x "${both#* }")" "both.$D."
srv=$(dig +time=2 @10.243.0.2 _http._tcp.members.$D SRV)
contains "SRV brings AAAA along" "$srv" "AAAA"
check "host.skiff.internal" "$(ask host.skiff.internal AAAA)" "fd00:10:243::1"
check "pod names" "$(ask "$(tr : - <<<"$far").default.pod.cluster.local" AAAA)" "$far"

# Policies hold for both.
k apply -f - >/dev/null <<'Y'
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: from-six}
spec:
  podSelector: {matchLabels: {app: web}}
  ingress: [{from: [{ipBlock: {cidr: "fd00:10:244::/64"}}]}]
Y
cut_off() { in_pod_of skiff-2 curl -gs -m 1 -o /dev/null "$1"; [ $? = 28 ]; }
near=$(k get pods -l app=web -o "jsonpath={.items[?(@.spec.nodeName=='skiff')].status.podIPs[*].ip}")
near4=$(cut -d' ' -f1 <<<"$near") near6=$(cut -d' ' -f2 <<<"$near")
eventually 5 "a policy cuts off IPv6" cut_off "http://[$near6]:8080/"
eventually 5 "a policy cuts off IPv4" cut_off "http://$near4:8080/"
contains "a block of IPv6 lets in" "$(in_pod_of skiff curl -gs -m 5 "http://[$far]:8080/")" Hello
k delete networkpolicy from-six >/dev/null

# The node by which the host enters stops: connections go on being answered, in both families.
k scale deployment/web --replicas=0 >/dev/null
k patch deployment web -p '{"spec":{"template":{"spec":{"nodeName":"skiff-2","topologySpreadConstraints":null}}}}' >/dev/null
k scale deployment/web --replicas=2 >/dev/null
k rollout status deployment/web --timeout=30s >/dev/null || fail "rollout on the second node"
k create ingress web --rule="web.test/*=four:80" >/dev/null
eventually 5 "ingress at ::1" curl -gsf -o /dev/null -H "Host: web.test" "http://[::1]/"
"$SKIFF" node stop skiff >/dev/null &
stopping=$!
missed=0 asked=0 until=$((SECONDS + 3))
while [ $SECONDS -lt $until ]; do
  for at in "127.0.0.1:$port" "[::1]:$port" "127.0.0.1:8088"; do
    hello "http://$at/" || missed=$((missed + 1))
  done
  curl -gsf -m 5 -o /dev/null -H "Host: web.test" "http://127.0.0.1/" || missed=$((missed + 1))
  asked=$((asked + 4))
done
wait $stopping || fail "node stop"
check "requests that failed of $asked while the first node stopped" $missed 0
for ip in $both; do eventually 5 "the host reaches $ip through the other node" hello "$(url "$ip" 80)"; done
"$SKIFF" node start skiff >/dev/null || fail "node start"
hello "http://[::1]:$port/" || fail "after the node came back"
timeout 60 "$SKIFF" delete >/dev/null || fail delete

# IPv6 alone.
start_cluster --ip-family ipv6
check "one range" "$(field node skiff '{.spec.podCIDRs}')" '["fd00:10:244::/64"]'
contains "the API's address" "$(field service kubernetes '{.spec.clusterIP}')" "fd00:10:96::1"
k create deployment web --image=skiff.local/hitcounter:1.0 >/dev/null
k expose deployment web --port=80 --target-port=8080 --type=NodePort >/dev/null
k rollout status deployment/web --timeout=30s >/dev/null || fail "rollout with IPv6"
check "its family" "$(field service web '{.spec.ipFamilies}')" '["IPv6"]'
eventually 5 "its cluster IP" hello "http://[$(field service web '{.spec.clusterIP}')]/"
for at in '[::1]' 127.0.0.1; do eventually 5 "its node port on $at" hello "http://$at:$(node_port web)/"; done
token=$(k create token default)
status() { in_pod curl -gsk -m 5 -o /dev/null -w '%{http_code}' -H "Authorization: Bearer $token" "https://[fd00:10:96::1]/version"; }
in_pod() { nsenter -t "$(pgrep -f 'hitcounter( serve)?$' | head -n 1)" -n "$@"; }
check "the API from a pod" "$(status)" 200
check "DNS from a pod" "$(in_pod dig +short +time=2 @fd00:10:96::a web.$D AAAA)" "$(field service web '{.spec.clusterIP}')"
timeout 60 "$SKIFF" delete >/dev/null || fail "delete of IPv6"
after=$(ip addr; ip -4 route; ip -6 route; sysctl -a 2>/dev/null | grep '^net\.ipv[46]\.conf\.\(all\|default\|lo\)\.')
check "the host afterwards" "$after" "$before"
check "no tables are left" "$(nft list tables 2>/dev/null)" ""
finish
