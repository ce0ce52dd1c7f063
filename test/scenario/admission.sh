#!/usr/bin/env bash
# What admission changes and refuses: limit ranges, quotas under parallel writes, pod security, webhooks; by a real kubectl.
. "$(dirname "$0")/../support/scenario.sh"
start_cluster --audit-log "$TMPDIR/audit.log"

# ---- LimitRange
k create namespace limits >/dev/null
cat <<'YAML' | k apply -n limits -f - >/dev/null
apiVersion: v1
kind: LimitRange
metadata: {name: bounds}
spec: {limits: [{type: Container, default: {cpu: 200m}, defaultRequest: {cpu: 10m}, max: {cpu: "1"}}]}
YAML
eventually 5 "the account" k -n limits get serviceaccount default
k -n limits run filled --image=skiff/demo >/dev/null
check "default limit" "$(k -n limits get pod filled -o 'jsonpath={.spec.containers[0].resources.limits.cpu}')" 200m
check "note" "$(k -n limits get pod filled -o 'jsonpath={.metadata.annotations.kubernetes\.io/limit-ranger}')" \
  'LimitRanger plugin set: cpu request for container filled; cpu limit for container filled'
contains "too much" "$(k -n limits run big --image=skiff/demo \
  --overrides='{"spec":{"containers":[{"name":"big","image":"skiff/demo","resources":{"limits":{"cpu":"2"}}}]}}' 2>&1)" \
  'pods "big" is forbidden: maximum cpu usage per Container is 1, but limit is 2'

# ---- ResourceQuota
k create namespace quota >/dev/null
k -n quota create quota q --hard=pods=5,count/configmaps=100 >/dev/null
eventually 5 "a counted quota" sh -c "'$KUBECTL' -n quota get quota q -o json | jq -e '.status.used.pods == \"0\"'"
eventually 5 "the account" k -n quota get serviceaccount default
for i in $(seq 20); do
  k -n quota run "p$i" --image=skiff/demo >"$TMPDIR/create.$i" 2>&1 &
  CREATES="${CREATES:-} $!"
done
for pid in $CREATES; do wait "$pid"; done
check "exactly five pods" "$(k -n quota get pods -o name | wc -l)" 5
contains "the refusals say why" "$(cat "$TMPDIR"/create.*)" \
  'exceeded quota: q, requested: pods=1, used: pods=5, limited: pods=5'
contains "describe" "$(k -n quota describe quota q | tr -s ' ')" 'pods 5 5'
k -n quota delete pods --all --now >/dev/null 2>&1
eventually 10 "deletion gives back" sh -c "'$KUBECTL' -n quota get quota q -o json | jq -e '.status.used.pods == \"0\"'"
k -n quota create deployment web --image=skiff/demo --replicas=7 >/dev/null
eventually 10 "the event of a refused pod" sh -c "'$KUBECTL' -n quota get events | grep 'exceeded quota: q'"

# ---- PodSecurity
k create namespace secure >/dev/null
k label namespace secure pod-security.kubernetes.io/enforce=baseline pod-security.kubernetes.io/warn=restricted >/dev/null
eventually 5 "the account" k -n secure get serviceaccount default
contains "baseline" "$(k -n secure run root --image=skiff/demo --privileged 2>&1)" \
  'violates PodSecurity "baseline:latest": privileged (container "root" must not set securityContext.privileged=true)'
contains "a warning" "$(k -n secure run plain --image=skiff/demo 2>&1)" \
  'Warning: would violate PodSecurity "restricted:latest": allowPrivilegeEscalation != false (container "plain" must set'
contains "a template only warns" "$(k -n secure create deployment d --image=skiff/demo 2>&1)" 'deployment.apps/d created'
k label namespace secure pod-security.kubernetes.io/audit=restricted >/dev/null
k -n secure run noted --image=skiff/demo >/dev/null 2>&1
contains "the audit log" "$(grep '"requestURI":"/api/v1/namespaces/secure/pods' "$TMPDIR/audit.log" | tail -n 1 | jq -r '.annotations[]')" \
  'would violate PodSecurity "restricted:latest": allowPrivilegeEscalation != false (container "noted" must set'
contains "a stricter level" "$(k label --overwrite namespace secure pod-security.kubernetes.io/enforce=restricted 2>&1)" \
  'existing pods in namespace "secure" violate the new PodSecurity enforce level "restricted:latest"'
contains "a level that is none" "$(k label namespace default pod-security.kubernetes.io/enforce=strict 2>&1)" \
  'must be one of privileged, baseline, restricted'

# ---- webhooks
k create namespace hooked >/dev/null
k label namespace hooked hooks=yes >/dev/null
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=hook -addext 'subjectAltName=IP:127.0.0.1' \
  -keyout "$TMPDIR/hook.key" -out "$TMPDIR/hook.crt" 2>/dev/null
python3 "$PROJECT/test/support/webhook_server.py" "$TMPDIR/hook.crt" "$TMPDIR/hook.key" "$TMPDIR/hook.port" &
HOOK=$!
trap 'kill "$HOOK" 2>/dev/null' EXIT
eventually 10 "the webhook server" test -s "$TMPDIR/hook.port"
URL="https://127.0.0.1:$(cat "$TMPDIR/hook.port")"
CA=$(base64 -w0 "$TMPDIR/hook.crt")
# configuration KIND NAME PATH MORE
configuration() {
  cat <<YAML | k apply -f - >/dev/null
apiVersion: admissionregistration.k8s.io/v1
kind: $1
metadata: {name: $2}
webhooks:
- name: $2.example.com
  clientConfig: {url: "$URL/$3", caBundle: $CA}
  rules: [{operations: [CREATE], apiGroups: [""], apiVersions: [v1], resources: [configmaps]}]
  namespaceSelector: {matchLabels: {hooks: "yes"}}
  sideEffects: None
  admissionReviewVersions: [v1]
  timeoutSeconds: 1
  ${4:-}
YAML
}
configuration MutatingWebhookConfiguration adds mutate
configuration ValidatingWebhookConfiguration denies validate
eventually 5 "a map that the webhook filled" k -n hooked create configmap filled
check "mutated" "$(k -n hooked get configmap filled -o 'jsonpath={.data.hooked}')" yes
check "denied" "$(k -n hooked create configmap forbidden 2>&1)" \
  'error: failed to create configmap: admission webhook "denies.example.com" denied the request: not in my namespace'
contains "elsewhere nobody asks" "$(k create configmap forbidden 2>&1)" 'configmap/forbidden created'
contains "a dry run is asked about" "$(k -n hooked create configmap forbidden --dry-run=server 2>&1)" 'not in my namespace'
configuration ValidatingWebhookConfiguration hangs hang 'failurePolicy: Ignore'
contains "one that hangs is passed over" "$(k -n hooked create configmap patient 2>&1)" 'configmap/patient created'
configuration ValidatingWebhookConfiguration hangs hang 'failurePolicy: Fail'
contains "or waited for in vain" "$(k -n hooked create configmap impatient 2>&1)" \
  'Internal error occurred: failed calling webhook "hangs.example.com": failed to call webhook: Post "https://127.0.0.1:'
contains "for so long" "$(k -n hooked create configmap impatient 2>&1)" 'context deadline exceeded'
contains "conditions are refused" "$(configuration ValidatingWebhookConfiguration cel validate \
  'matchConditions: [{name: c, expression: "true"}]' 2>&1)" 'match conditions are CEL expressions'
finish
