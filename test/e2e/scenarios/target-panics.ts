import assert from 'node:assert/strict';
import { waitFor } from '../../wait.ts';
import { fixedByReboot, fixedRelease, inService } from '../reboot.ts';
import type { Scenario } from '../scenario.ts';
import { BOOT, SOON, apply, assertHealthyKernel, getKernelPatch, getNodeKernels, policy, runningRelease, untilNode } from '../world.ts';

export const targetPanics: Scenario = {
  name: 'target-panics',
  title: 'a kernel that panics after the kexec comes back by the firmware: said so, in service as before, remembered for the kind of machine, and tried on no other node',
  async run(world) {
    const [node, other] = world.fleet.nodes;
    const { name } = node.options;
    const [bootID, otherBootID] = [await node.bootID(), await other.bootID()];
    for (const each of world.fleet.nodes) await each.must(`head -c 100000 /dev/urandom >/boot/initrd.img-${fixedRelease(world)}`);
    await apply(world, fixedByReboot(world, 'fix'), policy({ maxDisruption: 'Kexec', rollout: { maxUnavailable: '1' } }));

    const failed = await untilNode(world, { name, what: 'given up', seconds: BOOT + BOOT }, ({ spec }) => spec.reboot?.phase === 'Failed');
    const { reboot: order } = failed.spec;
    assert.equal(order?.reason, 'KexecFailed');
    assert.equal(failed.status?.reboot?.state, 'CameBackByFirmware');
    assert.match(node.log(), /Kernel panic - not syncing/);
    assert.equal((await node.must('uname -r')).trim(), runningRelease(world));
    assert.notEqual(await node.bootID(), bootID);
    await inService(world, name);
    assert.equal(failed.status.hardware?.kexecFailure?.id, order?.id);

    const spared = await waitFor('the other node to be told', { seconds: SOON }, async () => {
      const { status } = await getKernelPatch(world, 'fix');
      return status?.attention?.find(({ node: each, reason }) => each === other.options.name && reason === 'KexecFailedOnHardware');
    }, () => getKernelPatch(world, 'fix'));
    assert.ok(spared.message.includes(name), spared.message);
    const [, untouched] = await getNodeKernels(world);
    assert.equal(untouched?.spec.reboot, undefined);
    assert.equal(await other.bootID(), otherBootID);
    world.say(await world.fleet.plane.mustKubectl(['get', 'kernelpatches,nodekernels', '-o', 'wide']));
    for (const each of world.fleet.nodes) await assertHealthyKernel(each);
  },
};
