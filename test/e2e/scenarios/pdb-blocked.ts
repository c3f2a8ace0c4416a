import assert from 'node:assert/strict';
import { fixedByReboot, inFixedKernel, inService, isCordoned } from '../reboot.ts';
import type { Scenario } from '../scenario.ts';
import { deployWorkload, nodesOfWorkload, scaleWorkload } from '../workload.ts';
import { BOOT, SOON, apply, assertHealthyKernel, getKernelPatch, policy, untilNode } from '../world.ts';
import { waitFor } from '../../wait.ts';

export const pdbBlocked: Scenario = {
  name: 'pdb-blocked',
  title: 'a node whose pod a budget holds is parked without a cordon, pod and budget named, and follows once there is room; the other node is done meanwhile, and the cordon that a person gave it stays',
  async run(world) {
    const { nodes, plane } = world.fleet;
    await deployWorkload(world, { replicas: 1, minAvailable: 1 });
    const [held = ''] = await nodesOfWorkload(world);
    const [node, other] = nodes[0].options.name === held ? nodes : [nodes[1], nodes[0]];
    await plane.mustKubectl(['cordon', other.options.name]);
    await apply(world, fixedByReboot(world, 'fix'), policy({ maxDisruption: 'Kexec', rollout: { maxUnavailable: '1' } }));

    await inFixedKernel(world, other, BOOT);
    assert.equal(await isCordoned(world, other.options.name), true, 'the cordon was not ours');
    await plane.mustKubectl(['uncordon', other.options.name]);
    assert.notEqual((await node.must('uname -r')).trim(), (await other.must('uname -r')).trim());

    const parked = await untilNode(world, { name: held, what: 'parked', seconds: SOON }, ({ spec }) => spec.reboot?.phase === 'Parked');
    assert.match(parked.spec.reboot?.message ?? '', /^the node can not be drained: default\/web-\S+: PodDisruptionBudget default\/web allows 0 disruptions/);
    assert.equal(await isCordoned(world, held), false, 'nothing was done to it');
    const told = await waitFor('the KernelPatch to tell it', { seconds: SOON }, async () => (await getKernelPatch(world, 'fix')).status?.attention?.find(({ node: name, reason }) => name === held && reason === 'DrainParked'), () => getKernelPatch(world, 'fix'));
    assert.match(told.message, /PodDisruptionBudget default\/web/);

    await scaleWorkload(world, 2);
    await inFixedKernel(world, node, BOOT);
    await inService(world, held);
    assert.equal((await nodesOfWorkload(world)).length, 2);
    world.say(await plane.mustKubectl(['get', 'kernelpatches,nodekernels', '-o', 'wide']));
    for (const each of nodes) await assertHealthyKernel(each);
  },
};
