/** The agent is killed at each of its effects in turn, and started again: the end is always the same. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { aModule } from '../../simulated/module.ts';
import { aNode, aWanted, isSettled } from '../../simulated/node.ts';
import type { SimulatedNode } from '../../simulated/node.ts';

const FOREIGN = aModule({ name: 'vendor_fix', buildID: 'ff'.repeat(20) });
/** The shortest deadline that a policy can set: fewer looks, the same steps. */
const PATCH = aWanted({ replace: false, transitionSeconds: 15 });

interface Scenario {
  readonly arrange: (node: SimulatedNode) => Promise<void>;
  readonly assertEnd: (node: SimulatedNode) => void;
}

async function loaded(node: SimulatedNode): Promise<void> {
  node.want([PATCH]);
  node.start();
  await node.settle();
  await node.stop();
}

const SCENARIOS: Readonly<Record<string, Scenario>> = {
  'while it loads': {
    async arrange(node) {
      node.want([PATCH]);
    },
    assertEnd(node) {
      assert.deepEqual(node.machine.active, ['vendor_fix', 'livepatch_fix']);
      assert.equal(node.machine.count('insmod livepatch_fix'), 1, 'loaded exactly once');
      assert.equal(node.report()?.state, 'Active');
    },
  },
  'while it unloads': {
    async arrange(node) {
      await loaded(node);
      node.want([{ ...PATCH, desired: 'Absent' }]);
    },
    assertEnd(node) {
      assert.deepEqual(node.machine.modules, ['vendor_fix']);
      assert.equal(node.report(), undefined);
    },
  },
  'while it undoes a load that stalls': {
    async arrange(node) {
      node.machine.behaviours.set('livepatch_fix', { stalls: true });
      node.want([PATCH]);
    },
    assertEnd(node) {
      assert.deepEqual(node.machine.modules, ['vendor_fix']);
      assert.equal(node.report()?.state, 'Failed');
      assert.match(node.report()?.reason ?? '', /^(TransitionTimeout|Displaced)$/);
      assert.ok(node.machine.count('insmod livepatch_fix') <= 6, 'a kill costs at most one set of attempts');
    },
  },
  'while it gives up an unload that stalls': {
    async arrange(node) {
      await loaded(node);
      node.machine.behaviours.set('livepatch_fix', { stallsUnload: true });
      node.want([{ ...PATCH, desired: 'Absent' }]);
    },
    assertEnd(node) {
      assert.deepEqual(node.machine.active, ['vendor_fix', 'livepatch_fix']);
      assert.deepEqual([node.report()?.state, node.report()?.reason], ['Failed', 'UnloadTimeout']);
    },
  },
};

for (const [when, { arrange, assertEnd }] of Object.entries(SCENARIOS)) {
  test(`killed at each effect ${when}, the next agent comes to the same end`, async () => {
    let effect = 1;
    while (await endsWell(arrange, assertEnd, effect)) effect += 1;
    assert.ok(effect > 5, 'there were effects to be killed at');
  });
}

/** Returns whether the agent was killed: false when it has fewer effects. */
async function endsWell(arrange: Scenario['arrange'], assertEnd: Scenario['assertEnd'], effect: number): Promise<boolean> {
  await using node = aNode();
  node.machine.loadByHand(FOREIGN);
  await arrange(node);
  node.start(effect);
  await node.until('the agent is dead or done', () => node.life.over || isSettled(node.object));
  const died = node.life.over;
  if (died) {
    await node.machine.clock.sleep(1000);
    node.start();
  }
  await node.until(`settled after a kill at effect ${effect}`, () => isSettled(node.object));
  assertEnd(node);
  assert.ok(node.machine.asked.every((line) => !line.includes('vendor_fix')), 'the foreign live patch is untouched');
  assert.equal(node.machine.staged.size, 0);
  return died;
}
