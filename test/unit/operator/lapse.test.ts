/** What a node was asked for and has not begun in its time: taken back, or asked for anew under a slot. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { STALE_INTENT } from '../../../crds/nodekernel.ts';
import type { NodeKernel, NodeKernelSpec } from '../../../crds/nodekernel.ts';
import { readNodeKernel } from '../../../operator/observe.ts';
import { instant } from '../../../operator/instant.ts';
import { lapsesAt, withoutLapsed } from '../../../operator/lapse.ts';
import { SLOT_SECONDS } from '../../../operator/rollout.ts';
import { NOW, aKernelPatch, aLivePatch, aLivePatchReport, aNodeKernel, aPolicy, aReport, aWanted } from './builders.ts';
import { Leader } from './leader.ts';
import type { Nature } from './machine.ts';
import { World } from './world.ts';

const passed = instant(NOW - 1000);
const ahead = instant(NOW + 60_000);

function refusedOn(start: NodeKernelSpec['start'], reason = STALE_INTENT): NodeKernel {
  const report = aReport({ livePatches: [aLivePatchReport({ state: 'Refused', reason })] });
  const nodeKernel = aNodeKernel('n0', { status: report });
  return { ...nodeKernel, metadata: { ...nodeKernel.metadata, generation: 1 }, spec: { ...nodeKernel.spec, livePatches: [aWanted()], ...(start && { start }) } };
}

const rows: readonly (readonly [what: string, nodeKernel: NodeKernel, lapsed: boolean, at: number | undefined])[] = [
  ['its time is over', refusedOn({ bootID: 'boot-1', notAfter: passed }), true, undefined],
  ['its time is not over by our clock', refusedOn({ bootID: 'boot-1', notAfter: ahead }), false, Date.parse(ahead) + 1],
  ['it was for another boot', refusedOn({ bootID: 'boot-0', notAfter: ahead }), true, undefined],
  ['it had no time', refusedOn(undefined), true, undefined],
  ['it is refused for another reason', refusedOn({ bootID: 'boot-1', notAfter: passed }, 'FileMissing'), false, undefined],
];
for (const [what, nodeKernel, lapsed, at] of rows) {
  test(`a load that the node has refused ${lapsed ? 'lapses' : 'stays'} when ${what}`, () => {
    assert.deepEqual(withoutLapsed(nodeKernel, NOW).spec.livePatches, lapsed ? [] : [aWanted()]);
    assert.equal(lapsesAt(nodeKernel, NOW), at);
  });
}

test('what is to be removed never lapses', () => {
  const nodeKernel = refusedOn({ bootID: 'boot-1', notAfter: passed });
  const absent = { ...nodeKernel, spec: { ...nodeKernel.spec, livePatches: [aWanted({ desired: 'Absent' })] } };
  assert.deepEqual(withoutLapsed(absent, NOW), absent);
});

const LIVE_PATCH = 'livepatch_a';

/** n0 carries out what both were asked for at once; n1 is cut off until its slot has run out. */
async function whileCutOff(nature: Nature): Promise<{ readonly world: World; readonly leader: Leader }> {
  const world = new World();
  world.addNode('n0', { nature });
  world.addNode('n1');
  world.putPolicy(aPolicy({ rollout: { maxInFlight: '100%', failureBudget: 1 } }));
  const leader = new Leader(world, async (make) => make());
  await leader.lead();
  for (const name of ['n0', 'n1']) world.runAgent(name);
  world.putKernelPatch(aKernelPatch({ kernels: [{ release: '6.12.107+deb13-cloud-amd64', state: 'Affected', livePatch: aLivePatch({ name: LIVE_PATCH, replace: false }) }] }));
  for (let pass = 0; pass < 6; pass += 1) {
    await leader.lead();
    world.runAgent('n0');
    world.now += 1000;
  }
  assert.deepEqual(published(world), [LIVE_PATCH]);
  world.now += (SLOT_SECONDS + 1) * 1000;
  await leader.lead();
  return { world, leader };
}

function published(world: World): readonly string[] {
  const stored = world.nodeKernels.get('n1');
  return ((stored && readNodeKernel(stored).spec.livePatches) ?? []).map(({ name }) => name);
}

async function comesBack({ world, leader }: { readonly world: World; readonly leader: Leader }): Promise<void> {
  for (let pass = 0; pass < 6; pass += 1) {
    world.runAgent('n1');
    await leader.lead();
    world.runAgent('n0');
    world.now += 1000;
  }
  assert.deepEqual(world.violations, []);
}

test('a node that comes back late is asked anew, under a slot, and carries it out', async () => {
  const story = await whileCutOff('Works');
  await comesBack(story);
  assert.ok(story.world.machine('n1').loaded.has(LIVE_PATCH));
});

test('what has taken another node down meanwhile is not loaded by one that comes back late, and is taken back', async () => {
  const story = await whileCutOff('Quarantines');
  await comesBack(story);
  assert.ok(!story.world.machine('n1').loaded.has(LIVE_PATCH));
  assert.deepEqual(published(story.world), []);
});
