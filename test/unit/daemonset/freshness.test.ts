/** Old intents: read before the node was cut off, meant for an earlier boot, or taken from a backup. None of them loads anything. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { STALE_INTENT } from '../../../crds/nodekernel.ts';
import type { NodeKernelSpec } from '../../../crds/nodekernel.ts';
import { hear, isSameIntent, refuseStale } from '../../../daemonset/freshness.ts';
import type { Heard } from '../../../daemonset/freshness.ts';
import { memoryFor } from '../../../daemonset/memory.ts';
import { someFacts } from '../../simulated/facts.ts';
import { aModule } from '../../simulated/module.ts';
import { HOST_PATH, aNode, aPlan, aWanted } from '../../simulated/node.ts';
import type { SimulatedNode } from '../../simulated/node.ts';

const { bootID } = someFacts();
const OTHER_BOOT = 'b1f0c8a2-0000-4000-8000-0000000000ff';
const MINUTES = 60_000;

/** As the operator publishes it under a slot of ten minutes. */
function startingIn(node: SimulatedNode, changes: Partial<NonNullable<NodeKernelSpec['start']>> = {}): { readonly start: NonNullable<NodeKernelSpec['start']> } {
  return { start: { bootID, notAfter: instantIn(node, 10), ...changes } };
}

function instantIn(node: SimulatedNode, minutes: number): string {
  return `${new Date(node.machine.clock.now().getTime() + minutes * MINUTES).toISOString().slice(0, 19)}Z`;
}

/** The file is not there yet, so what it was asked for can not be done before it is cut off. */
async function aNodeThatWaits(): Promise<SimulatedNode> {
  const node = aNode();
  node.machine.files.delete(HOST_PATH);
  node.start();
  node.want([aWanted()], startingIn(node));
  await node.until('it is refused', () => node.report()?.reason === 'FileMissing');
  return node;
}

const loads = (node: SimulatedNode): number => node.machine.count('insmod livepatch_fix');

test('a node that is cut off does not load what it was asked for before', async () => {
  await using node = await aNodeThatWaits();
  node.cutOff();
  node.machine.files.set(HOST_PATH, aModule());
  await node.machine.clock.sleep(5 * MINUTES);
  assert.equal(loads(node), 0);
});

test('and what is withdrawn meanwhile is never loaded, however its agent learns of the end', async () => {
  await using node = await aNodeThatWaits();
  node.cutOff();
  node.machine.files.set(HOST_PATH, aModule());
  await node.machine.clock.sleep(MINUTES);
  node.want([aWanted({ desired: 'Absent' })]);
  await node.machine.clock.sleep(MINUTES);
  node.reconnect();
  await node.settle();
  assert.equal(loads(node), 0);
});

test('what is wanted all the same is loaded as soon as the API server is heard again, and takes no pause for it', async () => {
  await using node = await aNodeThatWaits();
  node.cutOff();
  node.machine.files.set(HOST_PATH, aModule());
  await node.machine.clock.sleep(2 * MINUTES + 7000);
  const back = node.machine.clock.monotonic();
  node.reconnect();
  await node.until('it is loaded', () => loads(node) > 0);
  assert.ok(node.machine.clock.monotonic() - back < 1000);
});

test('a withdrawal of which its watch has not told is not missed', async () => {
  await using node = await aNodeThatWaits();
  node.deafen();
  node.want([aWanted({ desired: 'Absent' })]);
  node.machine.files.set(HOST_PATH, aModule());
  await node.settle();
  assert.equal(loads(node), 0);
});

test('a load that was not begun in its time is refused, and begun once the operator has decided anew', async () => {
  await using node = await aNodeThatWaits();
  await node.machine.clock.sleep(11 * MINUTES);
  node.machine.files.set(HOST_PATH, aModule());
  await node.until('it is refused', () => node.report()?.reason === STALE_INTENT);
  assert.equal(node.report()?.state, 'Refused');
  assert.match(node.report()?.message ?? '', /livepatch_fix was to be loaded until .*Z, and by the clock of the node that is over: it is not loaded before the operator has decided anew/);
  assert.equal(loads(node), 0);
  node.want([aWanted()], startingIn(node));
  await node.settle();
  assert.equal(node.report()?.state, 'Active');
});

test('a file that is not there is told as that, not as an old intent', async () => {
  await using node = await aNodeThatWaits();
  await node.machine.clock.sleep(20 * MINUTES);
  assert.equal(node.report()?.reason, 'FileMissing');
});

test('what a node had is loaded again in later boots, however long that is after its time', async () => {
  await using node = aNode();
  node.start();
  node.want([aWanted()], startingIn(node));
  await node.settle();
  node.cutPower();
  await node.machine.clock.sleep(20 * MINUTES);
  node.start();
  await node.until('it is loaded again', () => node.report()?.state === 'Active' && loads(node) === 2);
});

test('what it never had is not loaded in another boot than it was meant for', async () => {
  await using node = aNode();
  node.start();
  await node.settle();
  node.cutOff();
  node.want([aWanted()], startingIn(node));
  node.cutPower();
  node.start();
  node.reconnect();
  await node.until('it is refused', () => node.report()?.reason === STALE_INTENT);
  assert.match(node.report()?.message ?? '', new RegExp(`livepatch_fix was to be loaded in boot ${bootID} of the node, and this is`));
  assert.equal(loads(node), 0);
});

test('after a restore of a backup nothing is loaded before the operator has decided anew', async () => {
  await using node = aNode();
  node.start();
  node.want([aWanted()], startingIn(node, { notAfter: instantIn(node, 1000) }));
  const backup = node.object;
  await node.settle();
  node.want([aWanted({ desired: 'Absent' })]);
  await node.settle();
  const before = loads(node);
  node.restore(backup);
  await node.until('it is refused', () => node.report()?.reason === STALE_INTENT);
  assert.match(node.report()?.message ?? '', /has gone back to generation 2 of this node's intent/);
  assert.equal(loads(node), before);
  node.want([aWanted()], { plan: aPlan(), ...startingIn(node) });
  await node.settle();
  assert.equal(node.report()?.state, 'Active');
});

const anObject = (uid: string, generation: number) => ({ metadata: { name: 'node-1', uid, generation }, spec: {} });

test('an intent is that of the same object in the same generation', () => {
  assert.equal(isSameIntent(anObject('a', 1), anObject('a', 1)), true);
  assert.equal(isSameIntent(anObject('a', 1), anObject('a', 2)), false);
  assert.equal(isSameIntent(anObject('a', 1), anObject('b', 1)), false);
  assert.equal(isSameIntent(anObject('a', 1), undefined), false);
});

test('whatever was heard, an object that has gone back is not trusted before it goes on', () => {
  fc.assert(
    fc.property(fc.array(fc.nat(9), { minLength: 1 }), (generations) => {
      let heard: Heard | undefined;
      let highest = -1;
      let floor = -1;
      for (const generation of generations) {
        heard = hear(heard, { name: 'node-1', uid: 'a', generation });
        if (generation < highest || generation === floor) floor = generation;
        else floor = -1;
        highest = generation;
        assert.equal(heard.rewoundTo, floor === -1 ? undefined : floor);
      }
      assert.equal(hear(heard, { name: 'node-1', uid: 'b', generation: 0 }).rewoundTo, undefined);
    }),
  );
});

const view = { wanted: aWanted(), memory: memoryFor(aWanted(), undefined) };
const rows: readonly (readonly [what: string, start: NodeKernelSpec['start'], hadBefore: boolean, refused: RegExp | undefined])[] = [
  ['no limit is set', undefined, false, undefined],
  ['the time has not come', { bootID, notAfter: '2026-11-24T12:00:00Z' }, false, undefined],
  ['the time has passed by a second', { bootID, notAfter: '2026-11-24T11:59:59Z' }, false, /until 2026-11-24T11:59:59Z/],
  ['the time can not be read', { bootID, notAfter: 'never' }, false, /until never/],
  ['the time has passed, and it was active in an earlier boot', { bootID, notAfter: '2026-11-24T11:59:59Z' }, true, /until 2026-11-24T11:59:59Z/],
  ['it is for another boot', { bootID: OTHER_BOOT, notAfter: '2026-11-24T13:00:00Z' }, false, /in boot .*, and this is/],
  ['it is for another boot, and was active in an earlier one', { bootID: OTHER_BOOT, notAfter: '2026-11-24T11:00:00Z' }, true, undefined],
];
for (const [what, start, hadBefore, refused] of rows) {
  test(`a load is ${refused ? 'refused' : 'begun'} when ${what}`, () => {
    const object = { metadata: { name: 'node-1' }, spec: { ...(start && { start }) } };
    const refusal = refuseStale(object, { ...view, memory: { ...view.memory, hadBefore } }, undefined, { bootID, date: new Date('2026-11-24T12:00:00Z') });
    if (refused === undefined) assert.equal(refusal, undefined);
    else assert.match(refusal?.message ?? '', refused);
  });
}
