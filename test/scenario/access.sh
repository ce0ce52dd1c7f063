#!/usr/bin/env bash
# Who you are and what you may: roles, tokens, certificates, impersonation, reviews, all by a real kubectl.
. "$(dirname "$0")/../support/scenario.sh"
start_cluster
SERVER=$(k config view --minify -o 'jsonpath={.clusters[0].cluster.server}')
k get configmap kube-root-ca.crt -o 'jsonpath={.data.ca\.crt}' >"$TMPDIR/ca.crt"
# as_token TOKEN ARGS...: kubectl with that token and nothing else.
as_token() {
  local token=$1
  shift
  k --kubeconfig=/dev/null --server="$SERVER" --certificate-authority="$TMPDIR/ca.crt" --token="$token" "$@" 2>&1
}

# Refusals, in Kubernetes' words.
check "list as nobody in particular" "$(k get pods --as jane 2>&1)" \
  'Error from server (Forbidden): pods is forbidden: User "jane" cannot list resource "pods" in API group "" in the namespace "default"'
check "a path" "$(k get --raw /foo --as jane 2>&1)" \
  'Error from server (Forbidden): forbidden: User "jane" cannot get path "/foo"'
check "health without credentials" "$(fetch --cacert "$TMPDIR/ca.crt" "$SERVER/healthz")" ok
check "anything else without credentials" \
  "$(fetch -o /dev/null -w '%{http_code}' --cacert "$TMPDIR/ca.crt" "$SERVER/api/v1/nodes")" 403
check "bad credentials" \
  "$(fetch -o /dev/null -w '%{http_code}' --cacert "$TMPDIR/ca.crt" -H 'Authorization: Bearer x' "$SERVER/healthz")" 401

# A role, a binding, a service account and its token.
k create serviceaccount reader >/dev/null
k create role reads --verb=get,list,watch --resource=pods >/dev/null
k create rolebinding reads --role=reads --serviceaccount=default:reader >/dev/null
cat <<'YAML' | k apply -f - >/dev/null
apiVersion: v1
kind: Pod
metadata: {name: holder}
spec: {serviceAccountName: reader, containers: [{name: c, image: skiff/demo}]}
YAML
TOKEN=$(k create token reader --bound-object-kind=Pod --bound-object-name=holder)
contains "the token reads" "$(as_token "$TOKEN" get pods -o name)" pod/holder
contains "the token does not write" "$(as_token "$TOKEN" delete pod holder)" \
  'pods "holder" is forbidden: User "system:serviceaccount:default:reader" cannot delete resource "pods" in API group "" in the namespace "default"'
check "can-i yes" "$(as_token "$TOKEN" auth can-i list pods)" yes
check "can-i no" "$(as_token "$TOKEN" auth can-i create pods)" no
contains "can-i --list" "$(as_token "$TOKEN" auth can-i --list | tr -s ' ')" 'pods [] [] [get list watch]'
contains "whoami" "$(as_token "$TOKEN" auth whoami)" system:serviceaccount:default:reader
contains "a short token" "$(k create token reader --duration=5m 2>&1)" 'may not specify a duration less than 10 minutes'
k delete pod holder --now >/dev/null 2>&1
check "the token of a pod that is gone" "$(fetch -o /dev/null -w '%{http_code}' --cacert "$TMPDIR/ca.crt" \
  -H "Authorization: Bearer $TOKEN" "$SERVER/api/v1/namespaces/default/pods")" 401

# Nobody grants what they do not hold, unless they may.
k create role grants --verb=create,get,patch,update --resource=roles,rolebindings >/dev/null
k create rolebinding grants --role=grants --user=jane >/dev/null
contains "escalation" "$(k --as jane create role more --verb=get --resource=secrets 2>&1)" \
  'user "jane" (groups=["system:authenticated"]) is attempting to grant RBAC permissions not currently held:'
contains "what is missing" "$(k --as jane create role more --verb=get --resource=secrets 2>&1)" \
  '{APIGroups:[""], Resources:["secrets"], Verbs:["get"]}'
contains "the role of a binding stays" "$(k patch rolebinding reads --type=json \
  -p '[{"op":"replace","path":"/roleRef/name","value":"grants"}]' 2>&1)" 'cannot change roleRef'

# Aggregation and reconcile.
eventually 5 "admin is put together" sh -c "'$KUBECTL' get clusterrole admin -o json | jq -e '.rules | length > 20'"
cat >"$TMPDIR/roles.yaml" <<'YAML'
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: widgets, labels: {rbac.authorization.k8s.io/aggregate-to-view: "true"}}
rules: [{apiGroups: [example.com], resources: [widgets], verbs: [get]}]
YAML
contains "auth reconcile" "$(k auth reconcile -f "$TMPDIR/roles.yaml" 2>&1)" 'clusterrole.rbac.authorization.k8s.io/widgets reconciled'
eventually 5 "view learns of widgets" sh -c "'$KUBECTL' get clusterrole view -o json | grep -q widgets"

# A user by certificate.
openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$TMPDIR/anna.key" \
  -subj /O=readers/CN=anna -out "$TMPDIR/anna.csr" 2>/dev/null
cat <<YAML | k apply -f - >/dev/null
apiVersion: certificates.k8s.io/v1
kind: CertificateSigningRequest
metadata: {name: anna}
spec:
  request: $(base64 -w0 <"$TMPDIR/anna.csr")
  signerName: kubernetes.io/kube-apiserver-client
  expirationSeconds: 3600
  usages: [client auth]
YAML
contains "nobody but the approver approves" "$(k --as jane certificate approve anna 2>&1)" forbidden
k certificate approve anna >/dev/null
issued() { [ -n "$(k get csr anna -o 'jsonpath={.status.certificate}')" ]; }
eventually 5 "the certificate is issued" issued
k get csr anna -o 'jsonpath={.status.certificate}' | base64 -d >"$TMPDIR/anna.crt"
k create clusterrolebinding readers --clusterrole=view --group=readers >/dev/null
as_anna() {
  k --kubeconfig=/dev/null --server="$SERVER" --certificate-authority="$TMPDIR/ca.crt" \
    --client-certificate="$TMPDIR/anna.crt" --client-key="$TMPDIR/anna.key" "$@" 2>&1
}
eventually 5 "anna reads" as_anna get configmaps
contains "anna reads no secrets" "$(as_anna get secrets)" 'User "anna" cannot list resource "secrets"'

# Secrets that hold tokens: of an account, and for those who join.
cat <<'YAML' | k apply -f - >/dev/null
apiVersion: v1
kind: Secret
metadata: {name: kept, annotations: {kubernetes.io/service-account.name: reader}}
type: kubernetes.io/service-account-token
---
apiVersion: v1
kind: Secret
metadata: {name: bootstrap-token-abcdef, namespace: kube-system}
type: bootstrap.kubernetes.io/token
stringData:
  token-id: abcdef
  token-secret: 0123456789abcdef
  usage-bootstrap-authentication: "true"
  auth-extra-groups: system:bootstrappers:joining
YAML
filled() { [ -n "$(k get secret kept -o 'jsonpath={.data.token}')" ]; }
eventually 5 "the Secret is filled in" filled
KEPT=$(k get secret kept -o 'jsonpath={.data.token}' | base64 -d)
contains "the kept token reads" "$(as_token "$KEPT" auth whoami)" system:serviceaccount:default:reader
contains "a bootstrap token" "$(as_token abcdef.0123456789abcdef auth whoami)" 'system:bootstrappers:joining'
k delete serviceaccount reader >/dev/null
gone() { ! k get secret kept; }
eventually 5 "the Secret goes with its account" gone

# A node sees its own things only.
contains "node identity" "$(k get nodes --as system:node:n1 --as-group system:nodes 2>&1)" \
  "node 'n1' cannot read all nodes, only its own Node object"
NODE=$(k get nodes -o 'jsonpath={.items[0].metadata.name}')
as_node() { k --as "system:node:$NODE" --as-group system:nodes "$@" 2>&1; }
contains "its own labels" "$(as_node label node "$NODE" example.com/mine=yes)" labeled
contains "labels of others" "$(as_node label node "$NODE" node-restriction.kubernetes.io/x=y)" \
  'is not allowed to modify labels: node-restriction.kubernetes.io/x'
contains "its taints" "$(as_node taint node "$NODE" a=b:NoSchedule)" \
  "node \"$NODE\" is not allowed to modify taints"
contains "other nodes" "$(echo '{"apiVersion":"v1","kind":"Node","metadata":{"name":"n1"}}' | as_node create -f -)" \
  "node \"$NODE\" is not allowed to modify node \"n1\""
contains "pods of its own" "$(as_node run sneaky --image=x)" 'can only create mirror pods'
finish
