// What a Node program does with @kubernetes/client-node: create, list, watch, patch, exec, log, delete.
// Prints the first thing that is not as Kubernetes has it and exits 1.
import { createRequire } from 'node:module';
import { PassThrough } from 'node:stream';
import assert from 'node:assert/strict';

const k8s = createRequire(process.argv[2] + '/')('@kubernetes/client-node');
const config = new k8s.KubeConfig();
config.loadFromDefault();
const core = config.makeApiClient(k8s.CoreV1Api);
const namespace = 'clients-node';

const read = (stream) => {
  let text = '';
  stream.on('data', (part) => (text += part));
  return () => text;
};

/** Resolves with the first watch event that `wanted` likes. */
function watchFor(path, query, wanted) {
  return new Promise((resolve, reject) => {
    let request;
    const timer = setTimeout(() => reject(new Error(`nothing wanted came from ${path}`)), 30000);
    const finish = (event) => {
      clearTimeout(timer);
      request?.then((controller) => controller.abort());
      resolve(event);
    };
    request = new k8s.Watch(config).watch(path, query,
      (type, object) => wanted(type, object) && finish({ type, object }),
      (problem) => problem && problem.name !== 'AbortError' && reject(problem));
  });
}

async function statusOf(call) {
  try {
    await call();
  } catch (problem) {
    return problem.code ?? problem.response?.statusCode;
  }
  return undefined;
}

async function objects() {
  for (const index of [0, 1, 2])
    await core.createNamespacedConfigMap({ namespace, body: { metadata: { name: `map-${index}`, labels: { set: 'three' } }, data: { index: `${index}` } } });
  const list = await core.listNamespacedConfigMap({ namespace, labelSelector: 'set=three' });
  assert.deepEqual(list.items.map((item) => item.metadata.name), ['map-0', 'map-1', 'map-2']);
  const patched = await core.patchNamespacedConfigMap({ name: 'map-0', namespace, body: [{ op: 'add', path: '/data/b', value: '2' }] });
  assert.deepEqual(patched.data, { index: '0', b: '2' });
  assert.equal(await statusOf(() => core.readNamespacedConfigMap({ name: 'none', namespace })), 404);
  assert.equal(await statusOf(() => core.createNamespacedConfigMap({ namespace, body: { metadata: { name: 'map-0' } } })), 409);
  const objectApi = k8s.KubernetesObjectApi.makeApiClient(config);
  const applied = await objectApi.patch(
    { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'applied', namespace }, data: { a: '1' } },
    undefined, undefined, 'node-test', true, 'application/apply-patch+yaml');
  assert.equal(applied.metadata.managedFields[0].manager, 'node-test');
  await core.deleteNamespacedConfigMap({ name: 'map-1', namespace });
}

async function pods() {
  const path = `/api/v1/namespaces/${namespace}/pods`;
  const { resourceVersion: before } = (await core.listNamespacedPod({ namespace })).metadata;
  const ready = watchFor(path, { resourceVersion: before }, (type, pod) => pod.status?.containerStatuses?.[0]?.ready);
  await core.createNamespacedPod({ namespace, body: {
    metadata: { name: 'talker' },
    spec: { terminationGracePeriodSeconds: 0, containers: [{
      name: 'c', image: 'busybox:test', imagePullPolicy: 'Never',
      command: ['sh', '-c', 'echo first; exec sleep 1000'] }] } } });
  assert.equal((await ready).type, 'MODIFIED');
  assert.equal(await core.readNamespacedPodLog({ name: 'talker', namespace }), 'first\n');

  const [out, err, input] = [new PassThrough(), new PassThrough(), new PassThrough()];
  const [outText, errText] = [read(out), read(err)];
  const status = await new Promise((resolve, reject) => {
    new k8s.Exec(config).exec(namespace, 'talker', 'c', ['sh', '-c', 'read line; echo $line; echo err >&2; exit 7'],
      out, err, input, false, resolve).catch(reject);
    input.write('typed\n');
  });
  assert.equal(outText(), 'typed\n');
  assert.equal(errText(), 'err\n');
  assert.equal(status.status, 'Failure');
  assert.equal(status.details.causes.find((cause) => cause.reason === 'ExitCode').message, '7');

  const { resourceVersion } = (await core.readNamespacedPod({ name: 'talker', namespace })).metadata;
  const gone = watchFor(path, { resourceVersion }, (type) => type === 'DELETED');
  await core.deleteNamespacedPod({ name: 'talker', namespace });
  await gone;
}

await core.createNamespace({ body: { metadata: { name: namespace } } });
await Promise.all([objects(), pods()]);
await core.deleteNamespace({ name: namespace });
process.exit(0);
