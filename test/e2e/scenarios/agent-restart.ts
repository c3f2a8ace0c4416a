import assert from 'node:assert/strict';
import { NAMESPACE } from '../../fleet/product.ts';
import { waitFor } from '../../wait.ts';
import { holdBothNodes, letGo } from '../held.ts';
import type { Scenario } from '../scenario.ts';
import { AGENT_START, assertHealthyKernel, effect, podsOf, timesEnabled, untilNodes } from '../world.ts';

export const agentRestart: Scenario = {
  name: 'agent-restart',
  title: 'agents that are killed in the middle of a load come back, find the transition and see it through; nothing is loaded twice',
  async run(world) {
    await holdBothNodes(world);
    const before = await podsOf(world, 'agent');
    await world.fleet.plane.mustKubectl(['delete', '-n', NAMESPACE, ...before, '--grace-period=0', '--force']);
    await waitFor('new agents', { seconds: AGENT_START }, async () => {
      const ready = await world.fleet.plane.mustKubectl(['get', 'daemonset', 'kernelpatch-agent', '-n', NAMESPACE, '-o', 'jsonpath={.status.numberReady}']);
      const after = await podsOf(world, 'agent');
      return (ready === '2' && after.every((pod) => !before.includes(pod))) || undefined;
    });
    for (const node of world.fleet.nodes) assert.equal((await node.must('cat /sys/kernel/livepatch/kp_held/transition')).trim(), '1', 'the load is still in its middle');
    await letGo(world);
    await untilNodes(world, 'both nodes Active', AGENT_START, (node) => node.status?.state === 'Active');
    for (const node of world.fleet.nodes) {
      assert.match(await effect(node), /closed by kp_held/);
      assert.equal(await timesEnabled(node, 'kp_held'), 1);
      await assertHealthyKernel(node);
    }
  },
};
