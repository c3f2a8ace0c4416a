import assert from 'node:assert/strict';
import { NAMESPACE } from '../../fleet/product.ts';
import { leaderOf, nodeOf, startSecondOperator } from '../operators.ts';
import type { Scenario } from '../scenario.ts';
import { AGENT_START, SOON, apply, effect, isCurrent, livePatch, place, podsOf, policy, timesEnabled, untilNodes } from '../world.ts';
import type { World } from '../world.ts';

export const twoOperators: Scenario = {
  name: 'two-operators',
  title: 'of two operators one acts and the other writes nothing; when the first dies the other takes over',
  async run(world) {
    const { plane } = world.fleet;
    await startSecondOperator(world);
    const leader = await leaderOf(world);
    const standby = (await podsOf(world, 'operator')).find((pod) => pod !== leader);
    assert.ok(standby, 'there are two operators');

    const patch = await place(world, 'kp_first');
    await apply(world, livePatch(world, 'first', patch), policy({ rollout: { maxInFlight: '1' } }));
    await untilNodes(world, 'both nodes Active, one after the other', AGENT_START, (node) => node.status?.state === 'Active');
    assert.ok((await writesBy(world, leader)) > 0, 'the leader writes');
    assert.equal(await writesBy(world, standby), 0, 'the standby writes nothing but its own lease');

    await plane.mustKubectl(['delete', '-n', NAMESPACE, leader, '--grace-period=0', '--force']);
    await apply(world, livePatch(world, 'first', patch, { withdrawn: true }));
    await untilNodes(world, 'withdrawn by the other operator', SOON * 2, (node) => isCurrent(node) && node.status?.state === 'Idle' && node.spec.livePatches?.[0]?.desired === 'Absent');
    assert.notEqual(await leaderOf(world), leader);
    for (const node of world.fleet.nodes) {
      assert.doesNotMatch(await effect(node), /closed by/);
      assert.equal(await timesEnabled(node, 'kp_first'), 1);
    }
  },
};

/** The operator's own count of what it wrote, from its /metrics, asked on the pod's own node: this machine is outside the pod network. */
async function writesBy(world: World, pod: string): Promise<number> {
  const ip = await world.fleet.plane.mustKubectl(['get', '-n', NAMESPACE, pod, '-o', 'jsonpath={.status.podIP}']);
  const node = await nodeOf(world, pod);
  const metrics = await node.must(`busybox wget -q -O - http://${ip}:9101/metrics`);
  const counts = [...metrics.matchAll(/^kernelpatch_api_writes_total\{.*\} (\d+)$/gm)];
  return counts.reduce((sum, [, count]) => sum + Number(count), 0);
}
