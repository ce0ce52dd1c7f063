#!/usr/bin/env python3
"""An operator as people write them: for every Cafe it keeps a Deployment with as many tables, reports them in the
status, and closes the books (a ConfigMap elsewhere) before a Cafe may go. One of several instances leads, by a Lease.

usage: operator.py IDENTITY NAMESPACE; runs until it is ended. `LEADING` and `RECONCILED name` go to its output."""
import datetime
import sys
import threading
import time

from kubernetes import client, config, watch
from kubernetes.client.rest import ApiException

GROUP, VERSION, PLURAL = "example.org", "v1", "cafes"
FINALIZER = "example.org/books"
LEASE_SECONDS = 3

DEFINITION = {
    "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
    "metadata": {"name": f"{PLURAL}.{GROUP}"},
    "spec": {
        "group": GROUP, "scope": "Namespaced",
        "names": {"plural": PLURAL, "singular": "cafe", "kind": "Cafe", "shortNames": ["cf"], "categories": ["all"]},
        "versions": [{
            "name": VERSION, "served": True, "storage": True,
            "subresources": {"status": {},
                             "scale": {"specReplicasPath": ".spec.tables", "statusReplicasPath": ".status.tables"}},
            "additionalPrinterColumns": [
                {"name": "Tables", "type": "integer", "jsonPath": ".spec.tables"},
                {"name": "Open", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Open\")].status"}],
            "schema": {"openAPIV3Schema": {"type": "object", "required": ["spec"], "properties": {
                "spec": {"type": "object", "required": ["owner"], "properties": {
                    "tables": {"type": "integer", "minimum": 0, "maximum": 10, "default": 1},
                    "owner": {"type": "string", "minLength": 1, "pattern": "^[a-z]+$"}}},
                "status": {"type": "object", "properties": {
                    "tables": {"type": "integer"}, "observedGeneration": {"type": "integer", "format": "int64"},
                    "conditions": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"],
                                   "items": {"type": "object", "required": ["type", "status"], "properties": {
                                       "type": {"type": "string"}, "status": {"type": "string"}}}}}}}}},
        }],
    },
}


def say(*words):
    print(*words, flush=True)


class Leader:
    """Holds the Lease while it renews it in time (what client-go's leader election does)."""

    def __init__(self, identity, namespace):
        self.identity, self.namespace = identity, namespace
        self.api = client.CoordinationV1Api()
        self.seen, self.seen_at = None, 0.0

    def try_to_lead(self):
        now = datetime.datetime.now(datetime.timezone.utc)
        spec = {"holderIdentity": self.identity, "leaseDurationSeconds": LEASE_SECONDS, "renewTime": now, "acquireTime": now}
        try:
            lease = self.api.read_namespaced_lease("operator", self.namespace)
        except ApiException as problem:
            if problem.status != 404:
                raise
            return self.write(self.api.create_namespaced_lease, self.namespace, client.V1Lease(
                metadata=client.V1ObjectMeta(name="operator"),
                spec=client.V1LeaseSpec(holder_identity=self.identity, lease_duration_seconds=LEASE_SECONDS,
                                        acquire_time=now, renew_time=now, lease_transitions=0)))
        record = (lease.spec.holder_identity, lease.spec.renew_time)
        if record != self.seen:
            self.seen, self.seen_at = record, time.monotonic()
        mine = lease.spec.holder_identity == self.identity
        if not mine and lease.spec.holder_identity and time.monotonic() < self.seen_at + LEASE_SECONDS:
            return False
        if not mine:
            lease.spec.lease_transitions = (lease.spec.lease_transitions or 0) + 1
            lease.spec.acquire_time = now
        lease.spec.holder_identity, lease.spec.renew_time = self.identity, now
        lease.spec.lease_duration_seconds = spec["leaseDurationSeconds"]
        return self.write(self.api.replace_namespaced_lease, "operator", self.namespace, lease)

    @staticmethod
    def write(call, *arguments):
        try:
            call(*arguments)
            return True
        except ApiException as problem:
            if problem.status == 409:  # another was faster
                return False
            raise


class Operator:
    def __init__(self, namespace):
        self.namespace = namespace
        self.cafes, self.apps, self.core = client.CustomObjectsApi(), client.AppsV1Api(), client.CoreV1Api()

    def patch(self, name, body):
        self.cafes.patch_namespaced_custom_object(GROUP, VERSION, self.namespace, PLURAL, name, body)

    def reconcile(self, cafe):
        meta, spec = cafe["metadata"], cafe["spec"]
        if "deletionTimestamp" in meta:
            return self.close(cafe)
        if FINALIZER not in meta.get("finalizers", []):
            return self.patch(meta["name"], {"metadata": {"finalizers": meta.get("finalizers", []) + [FINALIZER]}})
        self.keep_deployment(cafe)
        status = {"tables": spec["tables"], "observedGeneration": meta["generation"],
                  "conditions": [{"type": "Open", "status": "True" if spec["tables"] else "False"}]}
        if cafe.get("status") != status:
            cafe["status"] = status
            self.cafes.replace_namespaced_custom_object_status(GROUP, VERSION, self.namespace, PLURAL, meta["name"], cafe)
            say("RECONCILED", meta["name"])

    def keep_deployment(self, cafe):
        meta = cafe["metadata"]
        labels = {"cafe": meta["name"]}
        body = {
            "metadata": {"name": meta["name"], "ownerReferences": [{
                "apiVersion": f"{GROUP}/{VERSION}", "kind": "Cafe", "name": meta["name"], "uid": meta["uid"],
                "controller": True, "blockOwnerDeletion": True}]},
            "spec": {"replicas": cafe["spec"]["tables"], "selector": {"matchLabels": labels}, "template": {
                "metadata": {"labels": labels},
                "spec": {"terminationGracePeriodSeconds": 0, "containers": [{
                    "name": "table", "image": "hitcounter:1.0", "imagePullPolicy": "IfNotPresent"}]}}}}
        try:
            self.apps.create_namespaced_deployment(self.namespace, body)
        except ApiException as problem:
            if problem.status != 409:
                raise
            self.apps.patch_namespaced_deployment(meta["name"], self.namespace,
                                                  {"spec": {"replicas": cafe["spec"]["tables"]}})

    def close(self, cafe):
        meta = cafe["metadata"]
        if FINALIZER not in meta.get("finalizers", []):
            return
        Leader.write(self.core.create_namespaced_config_map, self.namespace,
                     client.V1ConfigMap(metadata=client.V1ObjectMeta(name="books-" + meta["name"])))
        self.patch(meta["name"], {"metadata": {"finalizers": [f for f in meta["finalizers"] if f != FINALIZER]}})

    def run(self):
        """Lists, then watches from there, for ever: what an informer does."""
        while True:
            listed = self.cafes.list_namespaced_custom_object(GROUP, VERSION, self.namespace, PLURAL)
            for cafe in listed["items"]:
                self.safely(cafe)
            try:
                for event in watch.Watch().stream(self.cafes.list_namespaced_custom_object, GROUP, VERSION, self.namespace,
                                                  PLURAL, resource_version=listed["metadata"]["resourceVersion"],
                                                  timeout_seconds=60):
                    if event["type"] in ("ADDED", "MODIFIED"):
                        self.safely(event["object"])
            except ApiException as problem:
                if problem.status != 410:
                    raise

    def safely(self, cafe):
        try:
            self.reconcile(cafe)
        except ApiException as problem:
            if problem.status not in (404, 409):  # what changed meanwhile comes as an event of its own
                raise


def define():
    api = client.ApiextensionsV1Api()
    Leader.write(api.create_custom_resource_definition, DEFINITION)
    for event in watch.Watch().stream(api.list_custom_resource_definition, timeout_seconds=30,
                                      field_selector=f"metadata.name={PLURAL}.{GROUP}"):
        conditions = event["object"].status.conditions or [] if event["object"].status else []
        if any(one.type == "Established" and one.status == "True" for one in conditions):
            return
    sys.exit("the definition was not established")


def main():
    config.load_kube_config()
    identity, namespace = sys.argv[1:]
    define()
    leader = Leader(identity, namespace)
    work = None
    while True:
        leads = leader.try_to_lead()
        if leads and work is None:
            say("LEADING")
            work = threading.Thread(target=Operator(namespace).run, daemon=True)
            work.start()
        elif work is not None and (not leads or not work.is_alive()):
            sys.exit("no longer leading" if work.is_alive() else "the work has failed")
        time.sleep(LEASE_SECONDS / 3)


main()
