import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import { killOperator, leaderOf, nodeOf, startSecondOperator, transitionsOf } from '../operators.ts';
import { fixedByReboot, fixedRelease, inFixedKernel, inService, untilGoingDown } from '../reboot.ts';
import type { Scenario } from '../scenario.ts';
import { mostCordoned, mostOut, phasesOf, watchNodes, watchOrders } from '../watch.ts';
import { AGENT_START, BOOT, SOON, apply, assertHealthyKernel, getKernelPatch, getNodeKernels, policy } from '../world.ts';
import type { World } from '../world.ts';
import { waitFor } from '../../wait.ts';

/** Seconds. */
const AWAY = 60;

export const rebootTwoOperators: Scenario = {
  name: 'reboot-two-operators',
  title: '[reboot-two-operators] of two operators one leads and another takes over whenever it ends, and never are more nodes out of service than maxUnavailable; [api-away] a node whose API server is away for a minute while it boots is booted once, and all goes on by itself',
  async run(world) {
    const { nodes, plane } = world.fleet;
    const boots = await Promise.all(nodes.map((each) => each.bootID()));
    await startSecondOperator(world);
    const cordonsBefore = await watchNodes(world);
    await apply(world, fixedByReboot(world, 'fix'), policy({ maxDisruption: 'Kexec', rollout: { maxUnavailable: '1' } }));
    await waitFor('a NodeKernel', { seconds: SOON }, async () => (await getNodeKernels(world)).length > 0 || undefined);
    const ordersBefore = await watchOrders(world);
    const name = await waitFor('a node to be ordered to boot', { seconds: AGENT_START }, async () => (await getNodeKernels(world)).find(({ spec }) => spec.reboot !== undefined)?.metadata.name);
    const [first, second] = nodes[0].options.name === name ? nodes : [nodes[1], nodes[0]];

    await untilGoingDown(first, AGENT_START);
    // No watch outlives a minute without an answer, and nothing is written in it.
    const before = { cordons: await cordonsBefore.end(), orders: await ordersBefore.end() };
    plane.pauseApi();
    try {
      await Promise.all([delay(AWAY * 1000), first.rebooted(boots[nodes.indexOf(first)] ?? '', BOOT)]);
    } finally {
      plane.resumeApi();
    }
    const [cordons, orders] = [await watchNodes(world), await watchOrders(world)];
    world.say(`[api-away] ${first.options.name} has booted, and the API server is back`);
    await bothReady(world);
    const outages = await watchNodes(world);
    await inFixedKernel(world, first, BOOT);

    await untilGoingDown(second, BOOT);
    const [leader, transitions] = [await nodeOf(world, await leaderOf(world)), await transitionsOf(world)];
    if (leader === first) await killOperator(first);
    world.say(`[reboot-two-operators] the leader, on ${leader.options.name}, ends while ${second.options.name} goes down`);
    await inFixedKernel(world, second, BOOT);
    assert.ok((await transitionsOf(world)) > transitions, 'another process leads');

    for (const node of nodes) {
      await inService(world, node.options.name);
      assert.equal((await node.must('uname -r')).trim(), fixedRelease(world));
      assert.equal(node.log().split('kexec_core: Starting new kernel').length, 2, `${node.options.name} was booted once`);
    }
    const cordoned = mostCordoned([...before.cordons, ...(await cordons.end())]);
    assert.equal(cordoned.length, 1, `cordoned at once: ${cordoned.join(', ')}`);
    const out = mostOut(await outages.end());
    assert.equal(out.length, 1, `out of service at once: ${out.join(', ')}`);
    const phases = [...before.orders, ...(await orders.end())];
    for (const node of nodes) assert.deepEqual(phasesOf(phases, node.options.name), { phases: ['Staging', 'Draining', 'Rebooting'], orders: 1 });
    await waitFor('the KernelPatch to be closed', { seconds: SOON }, async () => (await getKernelPatch(world, 'fix')).status?.closed === '2/2' || undefined);
    for (const node of nodes) await assertHealthyKernel(node);
  },
};

/** What was not heard of for a minute counts as not Ready for some seconds. */
async function bothReady({ fleet: { plane } }: World): Promise<void> {
  await plane.mustKubectl(['wait', 'nodes', '--all', '--for=condition=Ready', `--timeout=${BOOT}s`]);
}
