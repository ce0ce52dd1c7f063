#!/usr/bin/env python3
"""What a Python program does with Debian's client library: create, list, page, watch, patch, exec, log, delete.
Prints the first thing that is not as Kubernetes has it and exits 1."""
import sys

from kubernetes import client, config, watch
from kubernetes.client.rest import ApiException
from kubernetes.stream import stream

NAMESPACE = "clients-python"


def check(what, got, want):
    if got != want:
        sys.exit(f"FAILED: {what}: got {got!r}, want {want!r}")


def pod(name):
    container = client.V1Container(name="c", image="busybox:test", image_pull_policy="Never",
                                   command=["sh", "-c", "echo first; echo second >&2; exec sleep 1000"])
    return client.V1Pod(metadata=client.V1ObjectMeta(name=name, labels={"app": "python"}),
                        spec=client.V1PodSpec(containers=[container], termination_grace_period_seconds=0))


def status_of(call):
    try:
        call()
    except ApiException as problem:
        return problem.status
    return None


def objects(core):
    for index in range(5):
        core.create_namespaced_config_map(NAMESPACE, client.V1ConfigMap(
            metadata=client.V1ObjectMeta(name=f"map-{index}", labels={"set": "five"}), data={"index": str(index)}))
    page = core.list_namespaced_config_map(NAMESPACE, label_selector="set=five", limit=2)
    names = [item.metadata.name for item in page.items]
    check("remaining after a page", page.metadata.remaining_item_count, None)  # never told with a selector
    while page.metadata._continue:
        page = core.list_namespaced_config_map(NAMESPACE, label_selector="set=five", limit=2,
                                               _continue=page.metadata._continue)
        names += [item.metadata.name for item in page.items]
    check("pages", names, [f"map-{index}" for index in range(5)])
    patched = core.patch_namespaced_config_map("map-0", NAMESPACE, {"data": {"index": None, "more": "x"}})
    check("a merge patch", patched.data, {"more": "x"})
    patched = core.patch_namespaced_config_map("map-1", NAMESPACE, [{"op": "add", "path": "/data/b", "value": "2"}])
    check("a JSON patch", patched.data, {"index": "1", "b": "2"})
    stale = core.read_namespaced_config_map("map-2", NAMESPACE)
    core.patch_namespaced_config_map("map-2", NAMESPACE, {"data": {"x": "y"}})
    check("a stale replace", status_of(lambda: core.replace_namespaced_config_map("map-2", NAMESPACE, stale)), 409)
    check("a missing one", status_of(lambda: core.read_namespaced_config_map("none", NAMESPACE)), 404)
    check("a second one", status_of(lambda: core.create_namespaced_config_map(
        NAMESPACE, client.V1ConfigMap(metadata=client.V1ObjectMeta(name="map-3")))), 409)
    check("an invalid one", status_of(lambda: core.create_namespaced_config_map(
        NAMESPACE, client.V1ConfigMap(metadata=client.V1ObjectMeta(name="No_Name")))), 422)
    core.delete_collection_namespaced_config_map(NAMESPACE, label_selector="set=five")
    check("after deletecollection",
          core.list_namespaced_config_map(NAMESPACE, label_selector="set=five").items, [])


def pods(core):
    start = core.list_namespaced_pod(NAMESPACE).metadata.resource_version
    core.create_namespaced_pod(NAMESPACE, pod("talker"))
    seen = []
    watching = watch.Watch()
    for event in watching.stream(core.list_namespaced_pod, NAMESPACE, resource_version=start,
                                 label_selector="app=python", timeout_seconds=30):
        seen.append(event["type"])
        statuses = event["object"].status.container_statuses or []
        if statuses and statuses[0].ready:
            watching.stop()
    check("a watch begins", seen[0], "ADDED")
    check("a watch goes on", set(seen[1:]), {"MODIFIED"})
    log = core.read_namespaced_pod_log("talker", NAMESPACE)
    check("the log", sorted(log.splitlines()), ["first", "second"])
    check("its tail", len(core.read_namespaced_pod_log("talker", NAMESPACE, tail_lines=1).splitlines()), 1)
    answer = stream(core.connect_get_namespaced_pod_exec, "talker", NAMESPACE, command=["sh", "-c", "echo out; echo err >&2"],
                    stdout=True, stderr=True, stdin=False, tty=False)
    check("exec", sorted(answer.splitlines()), ["err", "out"])
    shell = stream(core.connect_get_namespaced_pod_exec, "talker", NAMESPACE, command=["sh"], stdout=True, stderr=True,
                   stdin=True, tty=False, _preload_content=False)
    shell.write_stdin("echo typed; exit 7\n")
    shell.run_forever(timeout=10)
    check("what was typed", shell.read_stdout().strip(), "typed")
    check("its exit code", shell.returncode, 7)
    scale_and_status()
    before = core.read_namespaced_pod("talker", NAMESPACE).metadata.resource_version
    core.delete_namespaced_pod("talker", NAMESPACE)
    for event in watch.Watch().stream(core.list_namespaced_pod, NAMESPACE, resource_version=before, timeout_seconds=30,
                                      field_selector="metadata.name=talker"):
        if event["type"] == "DELETED":
            return
    check("the pod's end", "not seen", "DELETED")


def scale_and_status():
    apps = client.AppsV1Api()
    template = client.V1PodTemplateSpec(metadata=client.V1ObjectMeta(labels={"app": "scaled"}), spec=pod("x").spec)
    template.spec.termination_grace_period_seconds = None
    apps.create_namespaced_deployment(NAMESPACE, client.V1Deployment(
        metadata=client.V1ObjectMeta(name="scaled"),
        spec=client.V1DeploymentSpec(replicas=0, selector={"matchLabels": {"app": "scaled"}}, template=template)))
    apps.patch_namespaced_deployment_scale("scaled", NAMESPACE, {"spec": {"replicas": 1}})
    for event in watch.Watch().stream(apps.list_namespaced_deployment, NAMESPACE, timeout_seconds=30):
        if event["object"].status.ready_replicas == 1:
            break
    else:
        sys.exit("FAILED: the scaled deployment is not ready")
    check("scale", apps.read_namespaced_deployment_scale("scaled", NAMESPACE).status.replicas, 1)
    apps.delete_namespaced_deployment("scaled", NAMESPACE, propagation_policy="Foreground")


def main():
    config.load_kube_config()
    core = client.CoreV1Api()
    check("version", client.VersionApi().get_code().major, "1")
    core.create_namespace(client.V1Namespace(metadata=client.V1ObjectMeta(name=NAMESPACE)))
    objects(core)
    pods(core)
    core.delete_namespace(NAMESPACE)


main()
