import assert from 'node:assert/strict';
import { waitFor } from '../../wait.ts';
import type { Scenario } from '../scenario.ts';
import { BOOT, SOON, apply, assertHealthyKernel, effect, getKernelPatch, getNodeKernels, livePatch, patchOf, place, policy, startAgents, untilNode } from '../world.ts';

export const panicOnLoad: Scenario = {
  name: 'panic-on-load',
  title: 'a live patch that panics the kernel takes down one node, once: quarantined there after the restart, and never given to the other',
  async run(world) {
    const { nodes, plane } = world.fleet;
    const boots = await Promise.all(nodes.map((node) => node.bootID()));
    const oneByOne = policy({ rollout: { maxInFlight: '1' } });
    await startAgents(world, [oneByOne]);
    await apply(world, livePatch(world, 'panic', await place(world, 'kp_panic')), oneByOne);
    const name = await waitFor('a node to be asked', { seconds: SOON }, async () => (await getNodeKernels(world)).find(({ spec }) => (spec.livePatches ?? []).length > 0)?.metadata.name);
    const index = nodes.findIndex(({ options }) => options.name === name);
    const [victim, other] = index === 0 ? nodes : [nodes[1], nodes[0]];
    await victim.rebooted(boots[index] ?? '');
    assert.match(victim.log(), /Kernel panic - not syncing: kp_panic was loaded/);

    const down = await untilNode(world, { name: victim.options.name, what: 'the file quarantined on its node', seconds: BOOT }, ({ status }) => status?.state === 'Quarantined');
    const { reason, message } = patchOf(down.status, 'kp_panic') ?? {};
    assert.equal(reason, 'QuarantinedAfterBoot');
    assert.match(message ?? '', /set spec\.liftQuarantine of KernelPatch panic/);
    const told = await waitFor('the KernelPatch to tell it', { seconds: SOON }, async () => {
      const { status } = await getKernelPatch(world, 'panic');
      return status?.nodes?.failed === 1 && status.nodes.blocked === 1 ? status.attention : undefined;
    }, () => getKernelPatch(world, 'panic'));
    const spared = told?.find(({ node }) => node === other.options.name);
    assert.equal(spared?.reason, 'QuarantinedElsewhere');
    assert.ok(spared.message.includes(victim.options.name), spared.message);
    world.say(await plane.mustKubectl(['get', 'kernelpatches,nodekernels', '-o', 'wide']));

    assert.notEqual(await victim.bootID(), boots[index], 'it is the one boot after the panic');
    assert.equal(await other.bootID(), boots[1 - index], 'the other node was never down');
    for (const node of nodes) {
      assert.equal((await node.must('dmesg | grep -c kp_panic || true')).trim(), '0', 'the kernel that runs was never given the file');
      assert.doesNotMatch(await effect(node), /closed by/);
      await assertHealthyKernel(node);
    }
  },
};
