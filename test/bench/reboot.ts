/** From drained to Ready: a kexec through us beside one by hand and a reboot by the firmware, of one virtual machine; what it makes the API server write, and what a client of a service that runs there notices. */
import { KubeConfig, Watch } from '@kubernetes/client-node';
import type { NodeKernel } from '../../crds/nodekernel.ts';
import type { KubeObject } from '../../operator/kube/resources.ts';
import { readNode } from '../../operator/observe.ts';
import { fixedByReboot, fixedRelease } from '../e2e/reboot.ts';
import { deployWorkload, endPolling, startPolling, untilSpread } from '../e2e/workload.ts';
import { AGENT_START, BOOT, SOON, apply, flush, getKernelPatch, onlyNode, policy, untilNode } from '../e2e/world.ts';
import type { World } from '../e2e/world.ts';
import { NAMESPACE } from '../fleet/product.ts';
import type { Machine } from '../node/machine.ts';
import { waitFor } from '../wait.ts';
import { countWrites } from './api-writes.ts';
import { percentile, round } from './figure.ts';
import type { Figure } from './figure.ts';

const ROUNDS = 3;
/** Seconds that a server's firmware takes where QEMU's takes 2.4 (test/README.md). */
const SERVER_FIRMWARE = 120;
const QEMU_FIRMWARE = 2.4;
/** Longer than what only tells is held back for (operator/pace.ts). */
const TOLD_SECONDS = 5;

interface Round {
  /** Seconds from the drained node to Ready in its next boot. */
  readonly ours: number;
  readonly byHand: number;
  readonly firmware: number;
  /** Seconds until it takes pods again, too. */
  readonly inService: number;
  readonly writes: number;
}

/** Of a cluster with the chart installed and no policy. The node without the operator is booted: nothing else of the product is taken down with it. */
export async function rebootCost(world: World): Promise<readonly Figure[]> {
  const [node, other] = await nodeWithoutOperator(world);
  await apply(world, policyFor(node));
  await untilNode(world, { name: node.options.name, what: 'its agent has reported', seconds: AGENT_START }, ({ status }) => status !== undefined);
  await flush(node);
  const address = await deployWorkload(world, { replicas: 2, minAvailable: 1 });
  await untilSpread(world);
  await startPolling(other, address);
  const seen = await follow(world, node);
  const rounds: Round[] = [];
  for (let count = 1; count <= ROUNDS; count++) {
    const through = await kexecThroughUs(world, node, seen);
    await world.fleet.plane.mustKubectl(['delete', 'kernelpatch', 'fix']);
    await world.fleet.plane.mustKubectl(['cordon', node.options.name]);
    const byHand = await kexecByHand(world, node, seen);
    const firmware = await boot(node, seen, 'systemctl reboot');
    await world.fleet.plane.mustKubectl(['uncordon', node.options.name]);
    rounds.push({ ...through, byHand, firmware });
    world.say(`round ${count}: ${JSON.stringify(rounds.at(-1))}`);
  }
  seen.stop();
  return [...timesOf(rounds), writesOf(rounds), failuresOf(await endPolling(other))];
}

const policyFor = (node: Machine) => policy({ ...onlyNode(node.options.name), maxDisruption: 'Kexec' });

async function nodeWithoutOperator({ fleet }: World): Promise<readonly [Machine, Machine]> {
  const name = await fleet.plane.mustKubectl(['get', 'pods', '-n', NAMESPACE, '-l', 'app.kubernetes.io/component=operator', '-o', 'jsonpath={.items[0].spec.nodeName}']);
  const [first, second] = fleet.nodes;
  return first.options.name === name ? [second, first] : [first, second];
}

function timesOf(rounds: readonly Round[]): readonly Figure[] {
  const p50 = (field: keyof Round) => round(percentile(rounds.map((each) => each[field]), 0.5));
  const [ours, byHand, firmware] = [p50('ours'), p50('byHand'), p50('firmware')];
  const server = firmware - QEMU_FIRMWARE + SERVER_FIRMWARE;
  const [overhead, share, gain] = [round(ours - byHand), round(ours / firmware), round(server / ours)];
  const measured = `p50 of ${ROUNDS} on one machine: through us ${ours} s (${p50('inService')} s until it takes pods)`;
  return [
    { name: 'drained-to-ready-over-kexec-by-hand', value: overhead, unit: 's', baseline: `${measured}, systemctl kexec by hand ${byHand} s, the image loaded before in both`, goal: '<= 5', ok: overhead <= 5 },
    { name: 'drained-to-ready-beside-firmware', value: share, unit: 'of a reboot by the firmware', baseline: `${measured}, systemctl reboot ${firmware} s in QEMU, whose firmware and boot loader take ${QEMU_FIRMWARE} s`, goal: '< 1', ok: share < 1 },
    {
      name: 'kexec-gain-on-a-server', value: gain, unit: 'times faster', goal: '>= 2', ok: gain >= 2,
      baseline: `computed, not measured: the ${firmware} s of systemctl reboot with ${SERVER_FIRMWARE} s for a server's firmware in place of QEMU's ${QEMU_FIRMWARE} s, held against ${ours} s`,
    },
  ];
}

function writesOf(rounds: readonly Round[]): Figure {
  const writes = percentile(rounds.map((each) => each.writes), 0.5);
  const all = rounds.map((each) => each.writes).join(', ');
  return {
    name: 'api-writes-per-reboot', value: writes, unit: 'writes', goal: '<= 8', ok: writes <= 8,
    baseline: `system-upgrade-controller makes 12.6 a node; counted are NodeKernel, KernelPatch, PatchPolicy and cordon, from the apply of the KernelPatch to its last status, in each round: ${all}; not Events, Leases, and one eviction a pod`,
  };
}

function failuresOf({ answered, failed }: { readonly answered: number; readonly failed: readonly string[] }): Figure {
  return { name: 'failed-requests-in-a-kexec', value: failed.length, unit: 'requests', baseline: `${answered} were answered to a client in the cluster that asks a service of two pods again and again, one of which is moved`, goal: '0', ok: failed.length === 0 };
}

/** Begins when the drain has ended, which is when the order to go down is stored. It is all told afterwards. */
async function kexecThroughUs(world: World, node: Machine, seen: Seen): Promise<Omit<Round, 'byHand' | 'firmware'>> {
  const bootID = await node.bootID();
  const before = { writes: await countWrites(world, ['kernelpatch.dev']), cordons: seen.cordons };
  await apply(world, fixedByReboot(world, 'fix'));
  const begun = await seen.until('the node to be drained', BOOT, () => seen.nodeKernel?.spec.reboot?.phase === 'Rebooting');
  const ready = await seen.until('the node to be Ready', BOOT, () => isReady(seen, bootID));
  const inService = await seen.until('the node to take pods', AGENT_START, () => isReady(seen, bootID) && !seen.node?.unschedulable);
  await waitFor('the KernelPatch to be closed', { seconds: SOON }, async () => (await getKernelPatch(world, 'fix')).status?.closed === '1/1' || undefined);
  await seen.until('the agent to say so', SOON, () => isClosed(seen.nodeKernel));
  await node.rebooted(bootID);
  await new Promise((resolve) => setTimeout(resolve, TOLD_SECONDS * 1000));
  const writes = (await countWrites(world, ['kernelpatch.dev'])) - before.writes - 1 + (seen.cordons - before.cordons);
  return { ours: seconds(begun, ready), inService: seconds(begun, inService), writes };
}

const seconds = (from: number, to: number) => (to - from) / 1000;

function isReady({ node }: Seen, before: string): boolean {
  return node?.ready === true && node.bootID !== before;
}

function isClosed(nodeKernel: NodeKernel | undefined): boolean {
  return nodeKernel?.status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True') ?? false;
}

/** As an admin types it, into the same files with the same command line as through us: the running one. */
async function kexecByHand(world: World, node: Machine, seen: Seen): Promise<number> {
  const release = fixedRelease(world);
  await node.must(`kexec -s -l /boot/vmlinuz-${release} --initrd=/boot/initrd.img-${release} --command-line="$(cat /proc/cmdline)"`);
  return boot(node, seen, 'systemctl kexec');
}

/** Seconds from the command to Ready. */
async function boot(node: Machine, seen: Seen, command: string): Promise<number> {
  const bootID = await node.bootID();
  const begun = performance.now();
  await node.must(`(${command} >/dev/null 2>&1 &)`);
  const ready = await seen.until(`${command} to end in a Ready node`, BOOT, () => isReady(seen, bootID));
  await node.rebooted(bootID);
  return seconds(begun, ready);
}

/** What watches show of one node. */
interface Seen {
  readonly node: ReturnType<typeof readNode> | undefined;
  readonly nodeKernel: NodeKernel | undefined;
  /** How often its cordon, or whose it is, was written. */
  readonly cordons: number;
  /** When it was first seen to be so, on the monotonic clock. */
  until(what: string, seconds: number, look: () => boolean): Promise<number>;
  stop(): void;
}

async function follow({ fleet }: World, { options: { name } }: Machine): Promise<Seen> {
  const config = new KubeConfig();
  config.loadFromFile(fleet.plane.kubeconfig);
  const watches: AbortController[] = [];
  const waiting = new Set<() => void>();
  let [node, nodeKernel, cordons]: [Seen['node'], Seen['nodeKernel'], number] = [undefined, undefined, 0];
  async function watch(path: string, accept: (object: KubeObject) => void): Promise<void> {
    const look = (_phase: string, object: KubeObject) => {
      accept(object);
      for (const each of waiting) each();
    };
    watches.push(await new Watch(config).watch(path, { fieldSelector: `metadata.name=${name}` }, look, () => undefined));
  }
  await watch('/api/v1/nodes', (object) => {
    const now = readNode(object);
    if (node !== undefined && (now.unschedulable !== node.unschedulable || now.cordonedFor !== node.cordonedFor)) cordons += 1;
    node = now;
  });
  await watch('/apis/kernelpatch.dev/v1alpha1/nodekernels', (object) => (nodeKernel = object as unknown as NodeKernel));
  return {
    get node() {
      return node;
    },
    get nodeKernel() {
      return nodeKernel;
    },
    get cordons() {
      return cordons;
    },
    async until(what, limit, look) {
      let at: number | undefined;
      const note = () => {
        if (at === undefined && look()) at = performance.now();
      };
      note();
      waiting.add(note);
      try {
        return await waitFor(what, { seconds: limit }, () => at, () => ({ node, reboot: nodeKernel?.spec.reboot, status: nodeKernel?.status }));
      } finally {
        waiting.delete(note);
      }
    },
    stop: () => watches.forEach((each) => each.abort()),
  };
}
