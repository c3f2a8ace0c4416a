import assert from 'node:assert/strict';
import type { Machine } from '../../node/machine.ts';
import { bootTimes, enabledAt } from '../boot.ts';
import type { Scenario } from '../scenario.ts';
import { AGENT_START, apply, assertHealthyKernel, activeAgain, effect, flush, livePatch, patchOf, place, policy, timesEnabled, untilNodes } from '../world.ts';
import type { World } from '../world.ts';

export const bootLoad: Scenario = {
  name: 'boot-load',
  title: 'a node that somebody else reboots comes back patched before its network and its kubelet start; the agent finds the patch as its own; kernelpatch.boot=0 skips it',
  async run(world) {
    const [first, second] = world.fleet.nodes;
    await apply(world, livePatch(world, 'first', await place(world, 'kp_first')), policy());
    await untilNodes(world, 'both nodes Active, and kept for their next boot', AGENT_START, ({ status }) => status?.state === 'Active' && status.boot?.state === 'Kept');

    await Promise.all(world.fleet.nodes.map((node) => node.reboot('init')));
    for (const node of world.fleet.nodes) await assertLoadedByBoot(world, node);

    await second.nextBootWith('kernelpatch.boot=0');
    await Promise.all(world.fleet.nodes.map(flush));
    await Promise.all([first.reboot('reset'), second.powerOff().then(() => second.boot())]);
    await assertLoadedByBoot(world, first);
    const { unit, kubelet } = await bootTimes(second);
    assert.equal(unit, undefined, 'the switch skips it');
    const report = await activeAgain(world, second);
    assert.equal(patchOf(report.status, 'kp_first')?.attempts, 1, 'the agent loads it');
    world.say(`node-2 without it: kubelet at ${kubelet.toFixed(1)} s, the live patch by the agent at ${(await enabledAt(second, 'kp_first')).toFixed(1)} s after the kernel's start`);
  },
};

async function assertLoadedByBoot(world: World, node: Machine): Promise<void> {
  const { name } = node.options;
  const { unit, network, kubelet } = await bootTimes(node);
  assert.ok(unit, `${name}: the unit has run`);
  const enabled = await enabledAt(node, 'kp_first');
  assert.ok(unit.to < network && unit.to < kubelet, `${name}: patched at ${unit.to} s, before network (${network} s) and kubelet (${kubelet} s)`);
  assert.ok(enabled <= unit.to, `${name}: the kernel was asked at ${enabled} s`);
  assert.match(await effect(node), /closed by kp_first/);
  world.say(`${name}: kernelpatch-boot.service took ${(unit.to - unit.from).toFixed(2)} s, the kernel was asked after ${(enabled - unit.from).toFixed(2)} s of them; patched ${unit.to.toFixed(1)} s, network ${network.toFixed(1)} s, kubelet ${kubelet.toFixed(1)} s after the kernel's start`);

  const { status } = await activeAgain(world, node);
  assert.deepEqual([patchOf(status, 'kp_first')?.attempts, status?.boot?.state], [undefined, 'Kept'], `${name}: the agent asked the kernel for nothing`);
  assert.equal(await timesEnabled(node, 'kp_first'), 1);
  assert.equal((await node.run('ls /var/lib/misc/kernelpatch.boot/boots')).code === 0, false, `${name}: the agent has seen this boot`);
  await assertHealthyKernel(node);
}
