/** A whole small cluster: the control plane on this machine and real nodes in virtual machines. Starts warm from a snapshot when there is one. */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { cacheDir, ROOT } from '../cache.ts';
import { freePorts, startControlPlane } from '../cluster/control-plane.ts';
import type { ControlPlane } from '../cluster/control-plane.ts';
import { nodeImage } from '../node/image.ts';
import type { NodeImage } from '../node/image.ts';
import { Machine } from '../node/machine.ts';
import { writeSeed } from '../node/seed.ts';
import { must } from '../process.ts';
import { waitFor } from '../wait.ts';

export interface Fleet {
  readonly dir: string;
  readonly plane: ControlPlane;
  readonly nodes: readonly Machine[];
  readonly image: NodeImage;
  /** Everything has ended and the directory is gone afterwards; kept when `keep` (after a failure, for its logs). */
  stop(keep?: boolean): Promise<void>;
}

export interface FleetOptions {
  readonly nodes: number;
  /** OCI archives that every node has in its containerd. */
  readonly archives: readonly string[];
  readonly say: (line: string) => void;
}

/** Cold: 1 to 2 minutes to all nodes Ready. Warm: seconds; the nodes then share the boot ids of the snapshot. */
export async function startFleet(options: FleetOptions): Promise<Fleet> {
  const image = await nodeImage(options.archives);
  const snapshot = join(cacheDir(), `fleet-${options.nodes}-${snapshotKey(image)}`);
  if (!existsSync(join(snapshot, 'complete'))) await makeSnapshot(options, image, snapshot);
  const dir = mkdtempSync(join(tmpdir(), 'fleet-'));
  options.say(`restoring ${options.nodes} nodes and their control plane`);
  for (const name of readdirSync(snapshot)) {
    if (name !== 'complete') await must(['cp', '-a', '--sparse=always', '--reflink=auto', join(snapshot, name), dir]);
  }
  const plane = await startControlPlane({ dir: join(dir, 'control'), components: 'all' });
  const nodes = machinesOf(dir, image, nodePorts(dir));
  await Promise.all(nodes.map((node) => node.restore(join(node.options.dir, 'memory'))));
  await nodesReady(plane, nodes, options.say);
  return fleet(dir, plane, nodes, image);
}

function fleet(dir: string, plane: ControlPlane, nodes: readonly Machine[], image: NodeImage): Fleet {
  return {
    dir,
    plane,
    nodes,
    image,
    stop: async (keep = false) => {
      await Promise.all(nodes.map((node) => node.powerOff()));
      await plane.stop();
      if (!keep) rmSync(dir, { recursive: true, force: true });
    },
  };
}

/** Changes with everything the saved cluster was made from: the node image's inputs and the code of test/cluster, test/node and this file. */
function snapshotKey(image: NodeImage): string {
  const hash = createHash('sha256').update(basename(image.dir));
  for (const folder of ['test/cluster', 'test/node', 'test/fleet']) {
    for (const file of readdirSync(join(ROOT, folder)).filter((name) => name.endsWith('.ts')).sort()) hash.update(readFileSync(join(ROOT, folder, file)));
  }
  return hash.digest('hex').slice(0, 12);
}

async function makeSnapshot(options: FleetOptions, image: NodeImage, snapshot: string): Promise<void> {
  const dir = `${snapshot}.part`;
  rmSync(dir, { recursive: true, force: true });
  mkdirSync(dir, { recursive: true });
  writeFileSync(join(dir, 'ports.json'), JSON.stringify(await freePorts(options.nodes)));
  options.say(`booting ${options.nodes} nodes for the first time (about 2 minutes, once; later starts restore them)`);
  const plane = await startControlPlane({ dir: join(dir, 'control'), components: 'all' });
  const nodes = machinesOf(dir, image, nodePorts(dir));
  for (const [index, node] of nodes.entries()) {
    mkdirSync(node.options.dir, { recursive: true });
    await writeSeed(plane, { name: node.options.name, ip: node.options.ip, kubeletPort: node.options.port, podCidr: podCidr(index) }, node.options.seed);
  }
  await Promise.all(nodes.map((node) => node.boot()));
  await Promise.all(nodes.map((node, index) => introduce(plane, node, podCidr(index))));
  await nodesReady(plane, nodes, options.say);
  options.say('saving the cluster for later starts');
  await Promise.all(nodes.map((node) => node.save(join(node.options.dir, 'memory'))));
  await plane.stop();
  rmSync(join(dir, 'control', 'log'), { recursive: true });
  writeFileSync(join(dir, 'complete'), '');
  renameSync(dir, snapshot);
}

const podCidr = (index: number) => `10.244.${index + 1}.0/24`;

function nodePorts(dir: string): readonly number[] {
  return JSON.parse(readFileSync(join(dir, 'ports.json'), 'utf8')) as number[];
}

function machinesOf(dir: string, image: NodeImage, ports: readonly number[]): readonly Machine[] {
  return ports.map((port, index) => {
    const name = `node-${index + 1}`;
    const home = join(dir, name);
    return new Machine({ dir: home, name, image, release: image.kernels[0], seed: join(home, 'seed.tar'), ip: `10.0.2.${11 + index}`, port });
  });
}

/** The part of a cloud provider: says how the node is reached from the control plane and lets pods onto it. */
async function introduce(plane: ControlPlane, node: Machine, cidr: string): Promise<void> {
  const { name, ip } = node.options;
  await waitFor(`${name} to register`, { seconds: 180, every: 500 }, async () => (await plane.kubectl(['get', 'node', name])).code === 0 || undefined);
  const addresses = [{ type: 'InternalIP', address: ip }, { type: 'ExternalIP', address: '127.0.0.1' }, { type: 'Hostname', address: name }];
  await plane.mustKubectl(['patch', 'node', name, '--subresource=status', '--type=merge', '-p', JSON.stringify({ status: { addresses } })]);
  await plane.mustKubectl(['patch', 'node', name, '--type=merge', '-p', JSON.stringify({ spec: { podCIDR: cidr, podCIDRs: [cidr] } })]);
  await plane.mustKubectl(['taint', 'node', name, 'node.cloudprovider.kubernetes.io/uninitialized-']);
}

async function nodesReady(plane: ControlPlane, nodes: readonly Machine[], say: (line: string) => void): Promise<void> {
  const started = performance.now();
  let seen = '';
  await waitFor('all nodes to be Ready', { seconds: 240, every: 500 }, async () => {
    seen = await plane.mustKubectl(['get', 'nodes', '-o', 'jsonpath={range .items[*]}{.metadata.name}={.status.conditions[?(@.type=="Ready")].status} {.status.conditions[?(@.type=="Ready")].lastHeartbeatTime}{"\\n"}{end}']);
    const ready = nodes.filter((node) => seen.includes(`${node.options.name}=True`));
    return ready.length === nodes.length || undefined;
  }, () => seen);
  say(`${nodes.length} nodes Ready after ${((performance.now() - started) / 1000).toFixed(1)} s`);
}
