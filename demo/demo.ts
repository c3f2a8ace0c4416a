/** `make demo`: a live patch on two real nodes, from nothing to Active, then the cluster is yours until Ctrl-C. ONESHOT=1 ends when both are Active. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import type { NodeKernel } from '../crds/nodekernel.ts';
import { ROOT } from '../test/cache.ts';
import { startFleet, stopFleet } from '../test/fleet/fleet.ts';
import type { Fleet } from '../test/fleet/fleet.ts';
import { NAMESPACE, buildProduct, installChart, loadProduct } from '../test/fleet/product.ts';
import { stopAllDaemons } from '../test/process.ts';
import { buildSubjects } from '../test/subjects/subjects.ts';
import type { Subject } from '../test/subjects/subjects.ts';
import { waitFor } from '../test/wait.ts';

const MODULE = '/var/lib/livepatches/kp_first.ko';
const started = performance.now();
const print = (text: string) => process.stdout.write(`${text}\n`);
const say = (line: string) => print(`[${((performance.now() - started) / 1000).toFixed(1).padStart(6)} s] ${line}`);

async function main(): Promise<Fleet> {
  say('building the image of this checkout');
  const product = await buildProduct();
  const fleet = await startFleet([product.base], say);
  const { plane, nodes, image } = fleet;
  const subject = (await buildSubjects(image.kernels))('kp_first', image.kernels[0]);

  say('installing the chart with helm');
  await loadProduct(fleet, product);
  await installChart(fleet);
  await Promise.all(nodes.map((node) => node.copyIn(subject.file, MODULE)));

  print('\nWhat the vulnerable function shows on each node (here: /proc/version):');
  await showEffect(fleet);
  const manifest = manifestFor(subject);
  print(`\nkubectl apply -f -\n${indent(manifest)}`);
  await plane.mustKubectl(['apply', '-f', '-'], manifest);
  await showUntilActive(fleet);

  print('\nThe same function now:');
  await showEffect(fleet);
  print(`\n${await plane.mustKubectl(['get', 'kernelpatches,patchpolicies,nodekernels'])}`);
  return fleet;
}

const object = (kind: string, name: string, spec: object) => stringify({ apiVersion: 'kernelpatch.dev/v1alpha1', kind, metadata: { name }, spec });

/** One document for each object: what a user would keep in Git. */
function manifestFor(subject: Subject): string {
  return [
    object('KernelPatch', 'livepatch-demo', {
      cves: [{ id: 'CVE-2026-31431', severity: 'Critical' }],
      kernels: [{ release: subject.release, state: 'Affected', livePatch: { name: subject.name, source: { hostPath: MODULE }, sha256: subject.sha256 } }],
    }),
    object('PatchPolicy', 'all-nodes', { maxDisruption: 'LivePatch', rollout: { maxInFlight: '50%' } }),
  ].join('---\n');
}

const indent = (text: string) => text.trimEnd().split('\n').map((line) => `    ${line}`).join('\n');

async function showEffect(fleet: Fleet): Promise<void> {
  for (const node of fleet.nodes) print(`  ${node.options.name}: ${(await node.must('cat /proc/version')).trim()}`);
}

const row = (cells: readonly string[]) => cells.map((cell) => (cell || '-').padEnd(12)).join(' ').trimEnd();
const rowOf = ({ metadata, spec: { plan }, status }: NodeKernel) => row([metadata.name, plan?.action ?? '', status?.state ?? '', status?.active ?? '', plan?.reason ?? '']);

/** Prints a line for each node whenever its state changes. */
async function showUntilActive({ plane, nodes }: Fleet): Promise<void> {
  const shown = new Map<string, string>();
  say(row(['Node', 'Action', 'State', 'Active', 'Reason']));
  await waitFor('both nodes to be Active', { seconds: 240, every: 200 }, async () => {
    const { items } = JSON.parse(await plane.mustKubectl(['get', 'nodekernels', '-o', 'json'])) as { items: NodeKernel[] };
    for (const item of items) {
      const line = rowOf(item);
      if (shown.get(item.metadata.name) !== line) say(line);
      shown.set(item.metadata.name, line);
    }
    return (items.length === nodes.length && items.every(({ status }) => status?.state === 'Active')) || undefined;
  }, () => [...shown.values()]);
  say('both nodes are Active');
}

function explain(fleet: Fleet): void {
  const { plane } = fleet;
  print(`What to type next, in another terminal:

    export KUBECONFIG=${plane.kubeconfig} PATH=${plane.bin}:$PATH
    kubectl get kp,pp,nk -o wide
    kubectl describe nodekernel node-1
    kubectl explain kernelpatch.spec.kernels.livePatch
    kubectl patch kernelpatch livepatch-demo --type=merge -p '{"spec":{"withdrawn":true}}'     # unloads it on both nodes
    kubectl logs -n ${NAMESPACE} deployment/kernelpatch-operator

The cluster is up until Ctrl-C.`);
}

const version = (JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string }).version;
print(`kernelpatch ${version}: a live patch on two real Debian nodes of a real Kubernetes. The first run builds all of it (15 to 25 minutes), later ones take about a minute.`);
let fleet: Fleet | undefined;
try {
  fleet = await main();
  if (!process.env['ONESHOT']) {
    explain(fleet);
    await new Promise((resolve) => {
      process.once('SIGINT', resolve);
      process.once('SIGTERM', resolve);
      // Keeps the process alive: a pending promise alone does not.
      setInterval(() => undefined, 60_000).ref();
    });
    say('ending the cluster');
  }
} finally {
  if (fleet) await stopFleet(fleet);
  await stopAllDaemons();
}
process.exit(0);
