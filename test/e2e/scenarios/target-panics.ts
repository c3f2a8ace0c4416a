import assert from 'node:assert/strict';
import { waitFor } from '../../wait.ts';
import { fixedByReboot, fixedRelease, inService } from '../reboot.ts';
import type { Scenario } from '../scenario.ts';
import { AGENT_START, BOOT, SOON, apply, assertHealthyKernel, getKernelPatch, getNodeKernels, policy, runningRelease, untilNode } from '../world.ts';

export const targetPanics: Scenario = {
  name: 'target-panics',
  title: 'a kernel that panics after the kexec comes back by the firmware: said so, in service as before, remembered for the kind of machine, and tried on no other node',
  async run(world) {
    const { nodes, plane } = world.fleet;
    const boots = await Promise.all(nodes.map((each) => each.bootID()));
    for (const each of nodes) await each.must(`head -c 100000 /dev/urandom >/boot/initrd.img-${fixedRelease(world)}`);
    await apply(world, fixedByReboot(world, 'fix'), policy({ maxDisruption: 'Kexec', rollout: { maxUnavailable: '1' } }));
    const name = await waitFor('a node to be ordered to boot', { seconds: AGENT_START }, async () => (await getNodeKernels(world)).find(({ spec }) => spec.reboot !== undefined)?.metadata.name);
    const [node, other] = nodes[0].options.name === name ? nodes : [nodes[1], nodes[0]];

    const failed = await untilNode(world, { name, what: 'given up', seconds: BOOT + BOOT }, ({ spec }) => spec.reboot?.phase === 'Failed');
    const { reboot: order } = failed.spec;
    assert.equal(order?.reason, 'KexecFailed');
    assert.equal(failed.status?.reboot?.state, 'CameBackByFirmware');
    assert.match(node.log(), /Kernel panic - not syncing/);
    assert.equal((await node.must('uname -r')).trim(), runningRelease(world));
    const [before, otherBefore] = node === nodes[0] ? boots : [boots[1], boots[0]];
    assert.notEqual(await node.bootID(), before);
    await inService(world, name);
    assert.equal(failed.status.hardware?.kexecFailure?.id, order?.id);

    const spared = await waitFor('the other node to be told', { seconds: SOON }, async () => {
      const { status } = await getKernelPatch(world, 'fix');
      return status?.attention?.find(({ node: each, verdict, message }) => each === other.options.name && verdict === 'Blocked' && /the same kind of machine, came back by the firmware/.test(message));
    }, () => getKernelPatch(world, 'fix'));
    assert.ok(spared.message.includes(name), spared.message);
    assert.deepEqual((await getNodeKernels(world)).filter(({ spec }) => spec.reboot !== undefined).map(({ metadata }) => metadata.name), [name]);
    assert.equal(await other.bootID(), otherBefore);
    world.say(await plane.mustKubectl(['get', 'kernelpatches,nodekernels', '-o', 'wide']));
    for (const each of nodes) await assertHealthyKernel(each);
  },
};
