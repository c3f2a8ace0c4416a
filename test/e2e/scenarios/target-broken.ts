import assert from 'node:assert/strict';
import { fixedByReboot, fixedRelease, isCordoned } from '../reboot.ts';
import type { Scenario } from '../scenario.ts';
import { AGENT_START, LOOK, apply, getNodeKernels, policy, untilNode, untilNodes } from '../world.ts';
import type { World } from '../world.ts';

export const targetBroken: Scenario = {
  name: 'target-broken',
  title: 'a fixed kernel without its image, with a truncated one, or without its initrd is named before any node is cordoned, and no more once it is repaired',
  async run(world) {
    const [node, other] = world.fleet.nodes;
    const release = fixedRelease(world);
    const [image, initrd] = [`/boot/vmlinuz-${release}`, `/boot/initrd.img-${release}`];
    const boots = await Promise.all(world.fleet.nodes.map((each) => each.bootID()));
    await node.must(`mv ${image} /root/image`);
    await other.must(`cp ${image} /root/image && truncate -s 4M ${image}`);
    const anything = { maxDisruption: 'Reboot', rollout: { maxUnavailable: '2' } };
    await apply(world, fixedByReboot(world, 'fix'), policy(anything));

    await blockedBy(world, node.options.name, 'TargetKernelNotInstalled');
    await blockedBy(world, other.options.name, 'TargetImageTruncated');
    await node.must(`mv ${initrd} /root/initrd && mv /root/image ${image}`);
    await blockedBy(world, node.options.name, 'TargetInitrdMissing');
    for (const { metadata: { name }, spec } of await getNodeKernels(world)) {
      assert.equal(spec.reboot, undefined, 'no node was ordered to boot');
      assert.equal(await isCordoned(world, name), false);
    }

    await apply(world, policy({ ...anything, mode: 'Plan' }));
    await node.must(`mv /root/initrd ${initrd}`);
    await other.must(`mv /root/image ${image}`);
    const repaired = await untilNodes(world, 'both nodes can kexec', LOOK, ({ spec }) => spec.plan?.action === 'Kexec');
    for (const { status } of repaired) assert.equal(status?.unbootableKernels, undefined);
    assert.deepEqual(await Promise.all(world.fleet.nodes.map((each) => each.bootID())), boots);
    world.say(await world.fleet.plane.mustKubectl(['get', 'kernelpatches,nodekernels', '-o', 'wide']));
  },
};

/** The plan says so, and the report names the kernel and what is wrong with it. */
async function blockedBy(world: World, name: string, reason: string): Promise<void> {
  const { spec, status } = await untilNode(world, { name, what: reason, seconds: AGENT_START }, ({ spec: { plan } }) => plan?.action === 'Blocked' && plan.reason === reason);
  const faults = (status?.unbootableKernels ?? []).map((kernel) => `${kernel.release} Target${kernel.reason}`);
  assert.deepEqual(faults, reason === 'TargetKernelNotInstalled' ? [] : [`${fixedRelease(world)} ${reason}`]);
  assert.ok(spec.plan?.message.includes(fixedRelease(world)), spec.plan?.message);
}
