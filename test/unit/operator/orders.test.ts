/** Writes that hang on an order as it is stored, whatever the caches show. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { NodeKernelSpec, RebootOrder } from '../../../crds/nodekernel.ts';
import type { PatchPolicyStatus } from '../../../crds/patchpolicy.ts';
import { applyDecisions } from '../../../operator/apply.ts';
import type { Decisions } from '../../../operator/decide.ts';
import { KernelPatchError } from '../../../operator/errors.ts';
import { makeWrites } from '../../../operator/kube/writes.ts';
import type { Writes } from '../../../operator/kube/writes.ts';
import { readNodeKernel } from '../../../operator/observe.ts';
import { makePace } from '../../../operator/pace.ts';
import { describePlan } from '../../../operator/plan.ts';
import { FIXED_RELEASE, NOW, RELEASE, aKernelPatch, aNode, aNodeKernel, aPlan, aPolicy, anOrder } from './builders.ts';
import { NO_CACHE } from './leader.ts';
import { World } from './world.ts';

const POLICY = aPolicy({ maxDisruption: 'Kexec' });
const CORDONED = { unschedulable: true, cordonedFor: 'order-1' };

/** A node with an order, of the policy unless told, and its cordon. */
function aWorld(order: RebootOrder | undefined, policy = 'workers'): World {
  const world = new World();
  world.addNode('n0');
  const plan = describePlan(aPlan(aNode('n0'), undefined, aPolicy({}, { name: policy }), []));
  world.nodeKernels.set('n0', { ...aNodeKernel('n0', { spec: { plan, ...(order && { reboot: order }) } }), metadata: { name: 'n0', resourceVersion: '1' } });
  world.putPolicy(POLICY);
  world.putKernelPatch(aKernelPatch({ kernels: [{ release: RELEASE, state: 'Affected', rebootInto: FIXED_RELEASE }] }));
  return world;
}

function writesOf(world: World): Writes {
  return makeWrites({ client: world.client(async (make) => make()), isLeader: () => true, namespace: 'ns', caches: { nodes: NO_CACHE, policies: NO_CACHE, kernelPatches: NO_CACHE, nodeKernels: NO_CACHE } });
}

const isConflict = (error: unknown) => error instanceof KernelPatchError && error.code === 'Conflict';

test('a node stays cordoned while its order is stored as under way, although we see none', async () => {
  for (const phase of ['Draining', 'Rebooting'] as const) {
    const world = aWorld(anOrder({ phase }));
    const writes = writesOf(world);
    await writes.cordon(aNode('n0'), 'order-1');
    await assert.rejects(writes.uncordon(aNode('n0', CORDONED), 'order-1'), isConflict);
    assert.equal(world.node('n0').unschedulable, true, phase);
  }
});

test('it is uncordoned when the order is stored as over, is another one, or the NodeKernel is gone', async () => {
  for (const world of [aWorld(undefined), aWorld(anOrder({ phase: 'Failed' })), aWorld(anOrder({ phase: 'Draining', id: 'order-2' })), new World()]) {
    if (!world.nodes.has('n0')) world.addNode('n0');
    const writes = writesOf(world);
    await writes.cordon(aNode('n0'), 'order-1');
    await writes.uncordon(aNode('n0', CORDONED), 'order-1');
    assert.equal(world.node('n0').unschedulable, false);
  }
});

const SLOT = { node: 'n0', order: 'order-1', since: '2026-11-24T12:00:00Z' };

/** Whether the slot of the node may go. */
async function releases(world: World, after: PatchPolicyStatus = { slots: [] }): Promise<boolean> {
  world.putPolicy({ ...POLICY, status: { slots: [], rebootSlots: [SLOT] } });
  const [policy] = world.policies.values();
  assert.ok(policy);
  try {
    await writesOf(world).setPolicyStatus(policy, after);
  } catch (error) {
    if (!isConflict(error)) throw error;
  }
  return world.policies.get('workers')?.status?.rebootSlots?.some(({ order }) => order === SLOT.order) !== true;
}

test('a slot stays while its order is stored as active, although we see none', async () => {
  assert.deepEqual([await releases(aWorld(anOrder())), await releases(aWorld(anOrder({ phase: 'Rebooting' })))], [false, false]);
});

test('it goes when the order is over, is another one, was never published, or is of another policy now', async () => {
  const worlds = [aWorld(anOrder({ phase: 'Parked' })), aWorld(anOrder({ id: 'order-2' })), aWorld(undefined), aWorld(anOrder({ phase: 'Draining' }), 'others')];
  for (const world of worlds) assert.equal(await releases(world), true);
});

test('a slot that stays asks for no order', async () => {
  const world = aWorld(anOrder());
  assert.equal(await releases(world, { slots: [], closed: '0/1', rebootSlots: [SLOT] }), false);
  assert.equal(world.policies.get('workers')?.status?.closed, '0/1');
});

test('a spec of another version is written anew, and nothing of it is left', async () => {
  const world = aWorld(undefined);
  const foreign = { ...anOrder({ phase: 'Draining' }), phase: 'Hovering', altitude: 3 };
  world.nodeKernels.set('n0', { metadata: { name: 'n0', resourceVersion: '1' }, spec: { reboot: foreign, livePatches: [] } });
  const seen = readNodeKernel({ metadata: { name: 'n0', resourceVersion: '1' }, spec: { reboot: foreign, livePatches: [] } });
  assert.deepEqual([seen.spec, seen.unread], [{}, { reboot: foreign, livePatches: [] }]);
  const spec: NodeKernelSpec = { reboot: anOrder() };
  await writesOf(world).setNodeKernelSpec(seen, spec);
  assert.deepEqual(world.nodeKernels.get('n0')?.['spec'], spec);
});

/** Which writes are made when the first one of a kind fails. */
async function applied(decisions: Partial<Decisions>, failing: keyof Writes): Promise<readonly string[]> {
  const made: string[] = [];
  const write = (name: keyof Writes) => async () => {
    if (name === failing) throw new KernelPatchError('ServerError', `${name} fails`);
    made.push(name);
  };
  const writes = Object.fromEntries((['setTaint', 'setPolicyStatus', 'setNodeKernelSpec', 'deleteNodeKernel', 'uncordon', 'setKernelPatchStatus', 'createEvent'] as const).map((name) => [name, write(name)])) as unknown as Writes;
  const none: Decisions = { policies: [], intents: [], deletions: [], taints: [], kernelPatches: [], verdicts: [], previews: [], drains: [], uncordons: [], nextDeadline: undefined };
  await assert.rejects(applyDecisions({ ...none, ...decisions }, NOW, { writes, pace: makePace(), log: { info: () => undefined, warn: () => undefined }, instance: 'test' }), /fails/);
  return made;
}

const uncordons = [{ node: aNode('n0', CORDONED), id: 'order-1' }, { node: aNode('n1', CORDONED), id: 'order-1' }];
const draining = aNodeKernel('n0', { spec: { reboot: anOrder({ phase: 'Draining' }) } });

test('a node is not uncordoned in the pass in which the end of its order could not be stored; others are', async () => {
  const intents = [{ kind: 'Publish', nodeKernel: draining, spec: {}, underSlotOf: undefined }] as const;
  assert.deepEqual(await applied({ intents, uncordons }, 'setNodeKernelSpec'), ['uncordon']);
  assert.deepEqual(await applied({ deletions: [draining], uncordons }, 'deleteNodeKernel'), ['uncordon']);
});

test('what can not be told of a KernelPatch keeps no node cordoned', async () => {
  const intents = [{ kind: 'Publish', nodeKernel: draining, spec: {}, underSlotOf: undefined }] as const;
  assert.deepEqual(await applied({ intents, uncordons, kernelPatches: [{ object: aKernelPatch(), status: { conditions: [{ type: 'Ready', status: 'True', reason: 'AllClosed', message: '', lastTransitionTime: '' }] } }] }, 'setKernelPatchStatus'), ['setNodeKernelSpec', 'uncordon', 'uncordon']);
});
