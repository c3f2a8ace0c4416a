/** A service that people use while their nodes are patched, and somebody who uses it all the while. */
import { NAMESPACE } from '../fleet/product.ts';
import type { Machine } from '../node/machine.ts';
import { waitFor } from '../wait.ts';
import { SOON, apply } from './world.ts';
import type { World } from './world.ts';

const NAME = 'web';
const LABELS = { app: NAME };
const PORT = 8080;
/** What a client may be told, and for how long: a pod that is to end answers until the proxies of all nodes have heard of it. */
const SERVER = `
  const server = require('node:http').createServer((request, response) => response.end('served by ' + process.env.POD + '\\n'));
  server.listen(${PORT});
  process.once('SIGTERM', () => setTimeout(() => process.exit(0), 15000));`;
/** Seconds; longer than SERVER goes on. */
const GRACE = 30;

export interface WorkloadOptions {
  readonly replicas: number;
  readonly minAvailable: number;
}

/** Runs on both nodes as far as there are replicas for both, behind a Service, with a PodDisruptionBudget. Gives the Service's address. */
export async function deployWorkload(world: World, { replicas, minAvailable }: WorkloadOptions): Promise<string> {
  const image = (await world.fleet.plane.mustKubectl(['get', 'deployment', '-n', NAMESPACE, '-o', 'jsonpath={.items[0].spec.template.spec.containers[0].image}'])).trim();
  await apply(
    world,
    {
      apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name: NAME, namespace: 'default' },
      spec: {
        replicas, selector: { matchLabels: LABELS },
        template: {
          metadata: { labels: LABELS },
          spec: {
            terminationGracePeriodSeconds: GRACE,
            topologySpreadConstraints: [{ maxSkew: 1, topologyKey: 'kubernetes.io/hostname', whenUnsatisfiable: 'ScheduleAnyway', labelSelector: { matchLabels: LABELS } }],
            containers: [
              {
                name: NAME, image, imagePullPolicy: 'IfNotPresent', command: ['node', '-e', SERVER],
                env: [{ name: 'POD', valueFrom: { fieldRef: { fieldPath: 'metadata.name' } } }],
                readinessProbe: { httpGet: { path: '/', port: PORT }, periodSeconds: 2, timeoutSeconds: 5 },
              },
            ],
          },
        },
      },
    },
    { apiVersion: 'policy/v1', kind: 'PodDisruptionBudget', metadata: { name: NAME, namespace: 'default' }, spec: { minAvailable, selector: { matchLabels: LABELS } } },
    { apiVersion: 'v1', kind: 'Service', metadata: { name: NAME, namespace: 'default' }, spec: { selector: LABELS, ports: [{ port: 80, targetPort: PORT }] } },
  );
  await untilAvailable(world);
  return (await world.fleet.plane.mustKubectl(['get', 'service', NAME, '-n', 'default', '-o', 'jsonpath={.spec.clusterIP}'])).trim();
}

/** As many pods are available. */
export async function scaleWorkload(world: World, replicas: number): Promise<void> {
  await world.fleet.plane.mustKubectl(['scale', 'deployment', NAME, '-n', 'default', `--replicas=${replicas}`]);
  await untilAvailable(world);
}

async function untilAvailable(world: World): Promise<void> {
  await world.fleet.plane.mustKubectl(['rollout', 'status', 'deployment', NAME, '-n', 'default', `--timeout=${SOON * 3}s`]);
}

/** A pod of it runs on each of the two nodes. */
export async function untilSpread(world: World): Promise<void> {
  await waitFor('a pod of the service on each node', { seconds: SOON }, async () => new Set(await nodesOfWorkload(world)).size === 2 || undefined, () => nodesOfWorkload(world));
}

/** Names of the nodes that its pods run on. */
export async function nodesOfWorkload(world: World): Promise<readonly string[]> {
  const out = await world.fleet.plane.mustKubectl(['get', 'pods', '-n', 'default', '-l', `app=${NAME}`, '-o', 'jsonpath={range .items[?(@.status.phase=="Running")]}{.spec.nodeName} {end}']);
  return out.trim().split(' ').filter(Boolean);
}

const POLLING = '/run/polling';

/** Something on this node asks the service again and again, until the polling is ended. */
export async function startPolling(node: Machine, address: string): Promise<void> {
  await node.must(`mkdir -p ${POLLING} && : >${POLLING}/ok && : >${POLLING}/failed && : >${POLLING}/go
    (while [ -e ${POLLING}/go ]; do if busybox wget -q -T 5 -O /dev/null http://${address}/; then echo >>${POLLING}/ok; else date -u +%T >>${POLLING}/failed; fi; sleep 0.1; done) >/dev/null 2>&1 &`);
  await waitFor('the service to answer', { seconds: SOON }, async () => Number(await node.must(`wc -l <${POLLING}/ok`)) > 0 || undefined);
  await node.must(`: >${POLLING}/failed`);
}

/** How many requests were answered and when others were not. */
export async function endPolling(node: Machine): Promise<{ readonly answered: number; readonly failed: readonly string[] }> {
  await node.must(`rm ${POLLING}/go`);
  const failed = (await node.must(`cat ${POLLING}/failed`)).trim().split('\n').filter(Boolean);
  return { answered: Number(await node.must(`wc -l <${POLLING}/ok`)), failed };
}
