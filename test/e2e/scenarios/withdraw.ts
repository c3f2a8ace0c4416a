import assert from 'node:assert/strict';
import type { Scenario } from '../scenario.ts';
import { AGENT_START, SOON, apply, assertHealthyKernel, effect, isCurrent, livePatch, patchOf, place, policy, untilNodes } from '../world.ts';

export const withdraw: Scenario = {
  name: 'withdraw',
  title: 'a withdrawn KernelPatch is disabled and its module removed on every node that has it',
  async run(world) {
    const patch = await place(world, 'kp_first');
    await apply(world, livePatch(world, 'first', patch), policy());
    await untilNodes(world, 'both nodes Active', AGENT_START, (node) => node.status?.state === 'Active');

    await apply(world, livePatch(world, 'first', patch, { withdrawn: true }));
    await untilNodes(world, 'both nodes without it', SOON, (node) => isCurrent(node) && node.spec.livePatches?.[0]?.desired === 'Absent' && patchOf(node.status, 'kp_first')?.state !== 'Active' && node.status?.state === 'Idle');

    for (const node of world.fleet.nodes) {
      assert.doesNotMatch(await effect(node), /closed by/);
      assert.equal((await node.must('ls /sys/kernel/livepatch; grep kp_ /proc/modules || true')).trim(), '', 'neither patch nor module is left');
      await assertHealthyKernel(node);
    }
  },
};
