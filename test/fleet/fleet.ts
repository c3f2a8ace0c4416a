/** A whole small cluster: the control plane on this machine and real nodes in virtual machines. */
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { freePorts, startControlPlane } from '../cluster/control-plane.ts';
import type { ControlPlane } from '../cluster/control-plane.ts';
import { nodeImage } from '../node/image.ts';
import type { NodeImage } from '../node/image.ts';
import { Machine } from '../node/machine.ts';
import { writeSeed } from '../node/seed.ts';
import { waitFor } from '../wait.ts';
import { digestOf, keepSnapshot, snapshotOf } from './snapshot.ts';
import type { Snapshot } from './snapshot.ts';

/** Two nodes of 2 GiB fit beside the control plane and show what one can not: pacing, and that one node's trouble stays its own. */
const NODES = 2;

export interface Fleet {
  /** Everything of this run: logs in control/log, each node's console in node-N/console.log. */
  readonly dir: string;
  readonly plane: ControlPlane;
  readonly nodes: readonly [Machine, Machine];
  readonly image: NodeImage;
}

export type Say = (line: string) => void;

/** Nodes Ready, nothing of ours installed. Cold 2 minutes, once for a node image; then restored from a snapshot in seconds. `archives` (OCI) are in every node's containerd. */
export async function startFleet(archives: readonly string[], say: Say): Promise<Fleet> {
  const image = await nodeImage(archives);
  const snapshot = baseSnapshot(image);
  if (!snapshot.exists) await makeBase(image, snapshot, say);
  return restoreFleet(snapshot, image, say);
}

/** What a saved fleet without our product is made from: the node image and the code that starts it. */
export function baseSnapshot(image: NodeImage): Snapshot {
  return snapshotOf('fleet-base', digestOf(['test/cluster', 'test/node', 'test/fleet/fleet.ts'], basename(image.dir)));
}

/** The saved cluster runs again: control plane up, nodes have renewed their leases, kubectl works. The nodes share the boot ids of the snapshot. */
export async function restoreFleet(snapshot: Snapshot, image: NodeImage, say: Say): Promise<Fleet> {
  const started = performance.now();
  const since = new Date(Date.now());
  const dir = mkdtempSync(join(tmpdir(), 'fleet-'));
  cpSync(join(snapshot.dir, 'control'), join(dir, 'control'), { recursive: true });
  cpSync(join(snapshot.dir, 'ports.json'), join(dir, 'ports.json'));
  const nodes = machinesOf(dir, image);
  for (const node of nodes) {
    mkdirSync(node.options.dir, { recursive: true });
    cpSync(join(snapshot.dir, node.options.name, basename(node.options.seed)), node.options.seed);
  }
  const [plane] = await Promise.all([
    startControlPlane({ dir: join(dir, 'control'), components: 'all' }),
    ...nodes.map((node) => node.restore(join(snapshot.dir, node.options.name))),
  ]);
  await nodesReady(plane, nodes, since);
  say(`restored the control plane and ${NODES} Ready nodes in ${((performance.now() - started) / 1000).toFixed(1)} s`);
  return { dir, plane, nodes, image };
}

/** The fleet's state is in the snapshot afterwards, and the fleet has ended. */
export async function saveFleet(fleet: Fleet, snapshot: Snapshot): Promise<void> {
  await Promise.all(fleet.nodes.map((node) => node.save()));
  await fleet.plane.stop();
  keepSnapshot(snapshot, fleet.dir);
  rmSync(fleet.dir, { recursive: true });
}

/** Everything has ended; the directory is gone unless `keep` says that somebody wants to read its logs. */
export async function stopFleet(fleet: Fleet, keep = false): Promise<void> {
  await Promise.all(fleet.nodes.map((node) => node.powerOff()));
  await fleet.plane.stop();
  if (!keep) rmSync(fleet.dir, { recursive: true, force: true });
}

/** The node's kubelet has made a Node of its name anew, after that was deleted, and pods can be scheduled to it. */
export async function registerAnew({ plane, nodes }: Fleet, node: Machine): Promise<void> {
  await node.must('systemctl restart kubelet');
  await introduce(plane, node, podCidr(nodes.indexOf(node)));
}

async function makeBase(image: NodeImage, snapshot: Snapshot, say: Say): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), 'fleet-'));
  writeFileSync(join(dir, 'ports.json'), JSON.stringify(await freePorts(NODES)));
  say(`booting ${NODES} nodes for the first time (about 2 minutes, once; later starts restore them)`);
  const plane = await startControlPlane({ dir: join(dir, 'control'), components: 'all' });
  const nodes = machinesOf(dir, image);
  for (const [index, node] of nodes.entries()) {
    mkdirSync(node.options.dir, { recursive: true });
    await writeSeed(plane, { name: node.options.name, ip: node.options.ip, kubeletPort: node.options.port, podCidr: podCidr(index), lan: { ip: lanIP(index), peer: lanIP(1 - index), peerPods: podCidr(1 - index) } }, node.options.seed);
  }
  const since = new Date(Date.now());
  await Promise.all(nodes.map((node) => node.boot()));
  say('nodes booted; waiting for kubelet');
  await Promise.all(nodes.map((node, index) => introduce(plane, node, podCidr(index))));
  await nodesReady(plane, nodes, since);
  say('nodes Ready; saving the cluster for later starts');
  await saveFleet({ dir, plane, nodes, image }, snapshot);
}

const lanIP = (index: number) => `10.9.0.${index + 1}`;
const podCidr = (index: number) => `10.244.${index + 1}.0/24`;

function machinesOf(dir: string, image: NodeImage): readonly [Machine, Machine] {
  const [first = 0, second = 0] = JSON.parse(readFileSync(join(dir, 'ports.json'), 'utf8')) as number[];
  const machine = (number: number, port: number) => {
    const name = `node-${number}`;
    const home = join(dir, name);
    return new Machine({ dir: home, name, image, seed: join(home, 'seed.tar'), ip: `10.0.2.${10 + number}`, port, peer: join(dir, `node-${NODES + 1 - number}`) });
  };
  return [machine(1, first), machine(2, second)];
}

/** The part of a cloud provider: says how the node is reached from the control plane and lets pods onto it. */
async function introduce(plane: ControlPlane, node: Machine, cidr: string): Promise<void> {
  const { name, ip } = node.options;
  await waitFor(`${name} to register`, { seconds: 240, every: 500 }, async () => (await plane.kubectl(['get', 'node', name])).code === 0 || undefined);
  const addresses = [{ type: 'InternalIP', address: ip }, { type: 'ExternalIP', address: '127.0.0.1' }, { type: 'Hostname', address: name }];
  await plane.mustKubectl(['patch', 'node', name, '--subresource=status', '--type=merge', '-p', JSON.stringify({ status: { addresses } })]);
  await plane.mustKubectl(['patch', 'node', name, '--type=merge', '-p', JSON.stringify({ spec: { podCIDR: cidr, podCIDRs: [cidr] } })]);
  await plane.mustKubectl(['taint', 'node', name, 'node.cloudprovider.kubernetes.io/uninitialized-']);
}

/** Ready, and kubelet has renewed its lease since `since`: a restored object alone says nothing about a restored node. */
async function nodesReady(plane: ControlPlane, nodes: readonly Machine[], since: Date): Promise<void> {
  const names = nodes.map((node) => node.options.name);
  let seen = '';
  await waitFor('all nodes to be Ready', { seconds: 240, every: 250 }, async () => {
    const ready = await plane.mustKubectl(['get', 'nodes', ...names, '-o', 'jsonpath={range .items[*]}{.status.conditions[?(@.type=="Ready")].status} {end}']);
    const leases = await plane.mustKubectl(['get', 'leases', '-n', 'kube-node-lease', ...names, '-o', 'jsonpath={range .items[*]}{.spec.renewTime} {end}']);
    seen = `Ready: ${ready}; leases renewed at: ${leases}`;
    const fresh = leases.trim().split(' ').every((renewed) => new Date(renewed) > since);
    return (fresh && ready.trim() === names.map(() => 'True').join(' ')) || undefined;
  }, () => seen);
}
