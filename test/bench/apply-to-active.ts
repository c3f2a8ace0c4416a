/** From `kubectl apply` to Active beside a bare insmod and transition of the same module in the same machines, and the API writes it takes. */
import { CustomObjectsApi, KubeConfig, Watch } from '@kubernetes/client-node';
import type { NodeKernel } from '../../crds/nodekernel.ts';
import { AGENT_START, SOON, apply, getKernelPatch, isCurrent, livePatch, place, policy, untilNodes } from '../e2e/world.ts';
import type { World } from '../e2e/world.ts';
import { waitFor } from '../wait.ts';
import { countWrites } from './api-writes.ts';
import { bareLoadOn } from './bare-load.ts';
import { percentile, round } from './figure.ts';
import type { Figure } from './figure.ts';

/** 20: the p95 is then the second worst, so one hiccup of a shared machine is not the figure. */
const ROUNDS = 20;
/** Our kinds and our Events. A round's own create is one of them. */
const WRITTEN = ['kernelpatch.dev', 'events.k8s.io'];
const API = { group: 'kernelpatch.dev', version: 'v1alpha1', plural: 'kernelpatches' };

export async function applyToActive(world: World): Promise<readonly Figure[]> {
  const patch = await place(world, 'kp_first');
  await apply(world, policy());
  await untilNodes(world, 'agents report', AGENT_START, (node) => isCurrent(node) && node.status?.state === 'Idle');
  const config = new KubeConfig();
  config.loadFromFile(world.fleet.plane.kubeconfig);
  const api = config.makeApiClient(CustomObjectsApi);
  const nodes = await followNodes(config);

  const ours: number[] = [];
  const bare: number[] = [];
  const writes: number[] = [];
  for (let round_ = 0; round_ < ROUNDS; round_++) {
    bare.push(await bareLoad(world));
    const before = await countWrites(world, WRITTEN);
    const begun = performance.now();
    await api.createClusterCustomObject({ ...API, body: { ...livePatch(world, 'round', patch) } });
    await waitFor('both nodes Active', { seconds: SOON, every: 5 }, () => nodes.all((node) => node.status?.state === 'Active') || undefined);
    ours.push((performance.now() - begun) / 1000);
    await waitFor('the KernelPatch to be told', { seconds: SOON }, async () => (await getKernelPatch(world, 'round')).status?.closed === '2/2' || undefined);
    // What belongs to the round but is written after its end: slots released, the event.
    await waitFor('the slots to be free', { seconds: SOON }, async () => (await world.fleet.plane.mustKubectl(['get', 'patchpolicy', 'all', '-o', 'jsonpath={.status.slots[*].node}'])) === '' || undefined);
    writes.push(((await countWrites(world, WRITTEN)) - before - 1) / world.fleet.nodes.length);
    await apply(world, livePatch(world, 'round', patch, { withdrawn: true }));
    await waitFor('both nodes without it', { seconds: SOON }, () => nodes.all((node) => isCurrent(node) && node.status?.state === 'Idle' && node.spec.livePatches?.[0]?.desired === 'Absent') || undefined);
    await world.fleet.plane.mustKubectl(['delete', 'kernelpatch', 'round']);
    await waitFor('the intent to be gone', { seconds: SOON }, () => nodes.all((node) => isCurrent(node) && node.spec.plan?.patches.length === 0) || undefined);
    world.say(`round ${round_ + 1}: bare ${bare.at(-1)?.toFixed(2)} s, through us ${ours.at(-1)?.toFixed(2)} s, ${writes.at(-1)} writes a node`);
  }
  nodes.stop();
  // A transition ends at once or with the kernel's next try a second later, by chance: so the two are compared as wholes, not round by round.
  const at = (share: number) => ({ ours: round(percentile(ours, share)), bare: round(percentile(bare, share)) });
  const [p50, p95] = [at(0.5), at(0.95)];
  const overhead = round(p95.ours - p95.bare);
  const perNode = round(percentile(writes, 0.5));
  return [
    { name: 'apply-to-active-overhead-p95', value: overhead, unit: 's', baseline: `bare insmod and transition on the same nodes at once: p50 ${p50.bare} s, p95 ${p95.bare} s; through us p50 ${p50.ours} s, p95 ${p95.ours} s`, goal: '<= 1', ok: overhead <= 1 },
    { name: 'api-writes-per-node-and-patch', value: perNode, unit: 'writes', baseline: 'system-upgrade-controller makes 12.6 a node', goal: '<= 4', ok: perNode <= 4 },
  ];
}

/** Seconds from insmod to the end of the transition, on all nodes at once as a rollout does it, by the slowest; the patch is gone again afterwards. */
async function bareLoad(world: World): Promise<number> {
  return Math.max(...(await Promise.all(world.fleet.nodes.map(bareLoadOn))));
}

/** The latest NodeKernels as a watch shows them. */
async function followNodes(config: KubeConfig): Promise<{ all(look: (node: NodeKernel) => boolean): boolean; stop(): void }> {
  const seen = new Map<string, NodeKernel>();
  const controller = await new Watch(config).watch('/apis/kernelpatch.dev/v1alpha1/nodekernels', {}, (_phase, node: NodeKernel) => seen.set(node.metadata.name, node), () => undefined);
  return { all: (look) => seen.size === 2 && [...seen.values()].every(look), stop: () => controller.abort() };
}
