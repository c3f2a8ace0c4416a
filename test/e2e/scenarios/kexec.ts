import assert from 'node:assert/strict';
import type { Scenario } from '../scenario.ts';
import { deployWorkload, endPolling, startPolling, untilSpread } from '../workload.ts';
import { AGENT_START, SOON, apply, assertHealthyKernel, getKernelPatch, onlyNode, policy, runningRelease, untilNode } from '../world.ts';
import { waitFor } from '../../wait.ts';
import { fixedByReboot, fixedRelease, inFixedKernel, inService, savedRelease } from '../reboot.ts';

export const kexec: Scenario = {
  name: 'kexec',
  title: 'without a live patch a node is drained and kexecs into the fixed kernel, proves it and is back in service; a service that moves meanwhile answers every request',
  async run(world) {
    const [node, other] = world.fleet.nodes;
    const { name } = node.options;
    const bootID = await node.bootID();
    const address = await deployWorkload(world, { replicas: 2, minAvailable: 1 });
    await untilSpread(world);
    await startPolling(other, address);

    const started = performance.now();
    await apply(world, fixedByReboot(world, 'fix'), policy({ ...onlyNode(name), maxDisruption: 'Kexec', drain: { timeoutSeconds: 300 }, reboot: { setDefault: true } }));
    const draining = await untilNode(world, { name, what: 'being drained', seconds: AGENT_START }, ({ spec }) => spec.reboot?.phase === 'Draining');
    const order = draining.spec.reboot;
    assert.ok(order);
    assert.deepEqual([order.method, order.release, order.bootID], ['Kexec', fixedRelease(world), bootID]);
    await node.rebooted(bootID, 600);
    world.say(`in the fixed kernel ${((performance.now() - started) / 1000).toFixed(1)} s after the policy was applied`);

    const back = await inFixedKernel(world, node, AGENT_START);
    assert.equal((await node.must('uname -r')).trim(), fixedRelease(world));
    assert.match(await node.must('cat /proc/cmdline'), new RegExp(`kernelpatch\\.reboot=${order.id}\\b`));
    assert.equal(back.status?.kernel.rebootID, order.id);
    assert.notEqual(back.status?.bootID, bootID);
    assert.deepEqual([await savedRelease(node), back.status.nextBoot?.release], [fixedRelease(world), fixedRelease(world)]);
    await inService(world, name);
    const { answered, failed } = await endPolling(other);
    world.say(`${answered} requests answered, ${failed.length} failed${failed.length > 0 ? ` at ${failed.join(', ')}` : ''}`);
    assert.deepEqual(failed, [], 'every request was answered');

    const told = await waitFor('the KernelPatch to be closed', { seconds: SOON }, async () => {
      const { status } = await getKernelPatch(world, 'fix');
      return status?.closed === '1/1' ? status : undefined;
    }, () => getKernelPatch(world, 'fix'));
    assert.equal(told.nodes?.closed, 1);
    world.say(await world.fleet.plane.mustKubectl(['get', 'kernelpatches,nodekernels,nodes', '-o', 'wide']));
    assert.equal((await other.must('uname -r')).trim(), runningRelease(world), 'the node of no policy is as it was');
    for (const each of world.fleet.nodes) await assertHealthyKernel(each);
  },
};
