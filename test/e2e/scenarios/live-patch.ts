import assert from 'node:assert/strict';
import type { NodeKernel } from '../../../crds/nodekernel.ts';
import { waitFor } from '../../wait.ts';
import type { Scenario } from '../scenario.ts';
import { AGENT_START, SOON, apply, assertHealthyKernel, effect, getKernelPatch, isCurrent, livePatch, patchOf, place, policy, timesEnabled, untilNodes } from '../world.ts';
import type { World } from '../world.ts';

export const livePatchScenario: Scenario = {
  name: 'live-patch',
  title: 'a KernelPatch and a PatchPolicy close a CVE on both nodes; the effect is read on the node and the state in kubectl get',
  async run(world) {
    const { plane, nodes } = world.fleet;
    for (const node of nodes) assert.doesNotMatch(await effect(node), /closed by/);

    const patch = await place(world, 'kp_first');
    await apply(world, livePatch(world, 'first', patch), policy());
    const reports = await untilNodes(world, 'both nodes Active', AGENT_START, (node) => isCurrent(node) && node.status?.state === 'Active');

    for (const node of nodes) {
      assert.match(await effect(node), /\[closed by kp_first\]$/);
      assert.equal(await node.must('cat /sys/kernel/livepatch/kp_first/enabled /sys/kernel/livepatch/kp_first/transition'), '1\n0\n');
      assert.equal(await timesEnabled(node, 'kp_first'), 1);
      await assertHealthyKernel(node);
    }
    for (const report of reports) await assertTellsTheTruth(world, report);
    await waitFor('the KernelPatch to count both nodes as closed', { seconds: SOON }, async () => (await getKernelPatch(world, 'first')).status?.closed === '2/2' || undefined);
    const screen = await plane.mustKubectl(['get', 'kernelpatches,patchpolicies,nodekernels']);
    world.say(`kubectl get kernelpatches,patchpolicies,nodekernels\n${screen}`);
    assert.match(screen, /node-1 .*LivePatch +Active +kp_first +1\/1 +True/);
  },
};

/** The report says what the node itself says. */
async function assertTellsTheTruth(world: World, { metadata, spec, status }: NodeKernel): Promise<void> {
  const node = world.fleet.nodes.find((machine) => machine.options.name === metadata.name);
  assert.ok(node && status, 'a NodeKernel is named after its node and has a report');
  assert.equal(status.bootID, (await node.must('cat /proc/sys/kernel/random/boot_id')).trim());
  assert.equal(status.kernel.release, (await node.must('uname -r')).trim());
  assert.equal(status.kernel.taint, Number(await node.must('cat /proc/sys/kernel/tainted')));
  assert.deepEqual(status.installedKernels.toSorted(), [...world.fleet.image.kernels].toSorted());
  assert.equal(spec.plan?.action, 'LivePatch');
  assert.deepEqual(patchOf(status, 'kp_first')?.functions, ['vmlinux:version_proc_show']);
  assert.deepEqual([status.cves?.closed, status.cves?.fixedLive], ['1/1', spec.plan.patches[0]?.cves]);
  assert.equal(status.conditions?.find((condition) => condition.type === 'Ready')?.status, 'True');
  assert.equal(metadata.ownerReferences?.[0]?.kind, 'Node');
}
