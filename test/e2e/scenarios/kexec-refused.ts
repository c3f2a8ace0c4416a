import assert from 'node:assert/strict';
import { fixedByReboot, fixedRelease, inFixedKernel, inService, isCordoned, savedRelease } from '../reboot.ts';
import type { Scenario } from '../scenario.ts';
import { AGENT_START, BOOT, SOON, apply, assertHealthyKernel, getKernelPatch, onlyNode, policy, runningRelease, untilNode } from '../world.ts';
import { waitFor } from '../../wait.ts';

const REFUSE = 'sysctl -qw kernel.kexec_load_disabled=1';

export const kexecRefused: Scenario = {
  name: 'kexec-refused',
  title: 'a node whose kernel refuses a kexec has its boot loader start the fixed kernel, once and then by default, or is Blocked where the policy says so, each with the reason',
  async run(world) {
    const [node, other] = world.fleet.nodes;
    const [name, otherName] = [node.options.name, other.options.name];
    const boots = [await node.bootID(), await other.bootID()];
    await other.must(REFUSE);
    const fallsBack = { ...onlyNode(name), maxDisruption: 'Reboot', reboot: { onKexecFailure: 'Firmware', setDefault: true } };
    const blocks = { ...onlyNode(otherName), maxDisruption: 'Reboot', reboot: { onKexecFailure: 'Block', setDefault: true } };
    await apply(world, fixedByReboot(world, 'fix'), policy({ ...fallsBack, mode: 'Plan' }, 'falls-back'), policy(blocks, 'blocks'));
    await untilNode(world, { name, what: 'to kexec, if the policy were to allow it', seconds: AGENT_START }, ({ spec }) => spec.plan?.action === 'Kexec');

    // Its agent looks at the kernel each 30 s, so the order is there before it knows.
    await node.must(REFUSE);
    await apply(world, policy(fallsBack, 'falls-back'));
    const ordered = await untilNode(world, { name, what: 'ordered to boot by its firmware', seconds: SOON }, ({ spec }) => spec.reboot?.method === 'Firmware');
    assert.equal(ordered.spec.reboot?.kexecRefused, 'KexecLoadDisabled');
    assert.equal(ordered.spec.reboot.release, fixedRelease(world));

    const blocked = await untilNode(world, { name: otherName, what: 'Blocked', seconds: AGENT_START }, ({ spec }) => spec.plan?.action === 'Blocked');
    assert.equal(blocked.status?.kernel.kexec, 'Unavailable');
    assert.equal(blocked.spec.plan?.reason, 'KexecUnavailable');
    assert.match(blocked.spec.plan.message, /kexec_load_disabled.*onKexecFailure: Block/);

    await node.rebooted(boots[0] ?? '', BOOT);
    const back = await inFixedKernel(world, node, AGENT_START);
    assert.notEqual(back.status?.bootID, boots[0]);
    assert.equal(back.status?.kernel.rebootID, undefined, 'no kexec has started it');
    assert.equal(back.status?.nextBoot?.release, fixedRelease(world));
    assert.deepEqual([await savedRelease(node), await savedRelease(other)], [fixedRelease(world), runningRelease(world)]);
    await inService(world, name);
    const { status } = await waitFor('the KernelPatch to tell of both', { seconds: SOON }, async () => {
      const kernelPatch = await getKernelPatch(world, 'fix');
      return kernelPatch.status?.closed === '1/2' ? kernelPatch : undefined;
    }, () => getKernelPatch(world, 'fix'));
    assert.deepEqual(status?.attention?.map(({ node: each, reason }) => [each, reason]), [[otherName, 'KexecUnavailable']]);
    assert.deepEqual([await other.bootID(), await isCordoned(world, otherName)], [boots[1], false]);
    world.say(await world.fleet.plane.mustKubectl(['get', 'kernelpatches,nodekernels,nodes', '-o', 'wide']));
    for (const each of world.fleet.nodes) await assertHealthyKernel(each);
  },
};
