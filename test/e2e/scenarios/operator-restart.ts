import assert from 'node:assert/strict';
import { NAMESPACE } from '../../fleet/product.ts';
import { waitFor } from '../../wait.ts';
import { holdBothNodes, letGo } from '../held.ts';
import type { Scenario } from '../scenario.ts';
import { SOON, assertHealthyKernel, effect, getKernelPatch, podsOf, timesEnabled, untilNodes } from '../world.ts';

export const operatorRestart: Scenario = {
  name: 'operator-restart',
  title: 'an operator that is killed in the middle of a load changes nothing: its successor sees the load through',
  async run(world) {
    await holdBothNodes(world);
    const [before] = await podsOf(world, 'operator');
    assert.ok(before);
    await world.fleet.plane.mustKubectl(['delete', '-n', NAMESPACE, before, '--grace-period=0', '--force']);
    await letGo(world);
    await untilNodes(world, 'both nodes Active', SOON, (node) => node.status?.state === 'Active');
    await waitFor('the new operator to count both nodes', { seconds: SOON * 2 }, async () => (await getKernelPatch(world, 'held')).status?.closed === '2/2' || undefined);
    const [after] = await podsOf(world, 'operator');
    assert.notEqual(after, before);
    for (const node of world.fleet.nodes) {
      assert.match(await effect(node), /closed by kp_held/);
      assert.equal(await timesEnabled(node, 'kp_held'), 1);
      await assertHealthyKernel(node);
    }
  },
};
