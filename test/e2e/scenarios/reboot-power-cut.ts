import assert from 'node:assert/strict';
import type { Machine } from '../../node/machine.ts';
import { waitFor } from '../../wait.ts';
import { LETTING_BARE_PODS_GO, fixedByReboot, fixedRelease, holdDrain, inFixedKernel, inService, letDrain, untilCordonedFor, untilGoingDown } from '../reboot.ts';
import type { Scenario } from '../scenario.ts';
import { AGENT_START, BOOT, SOON, apply, assertHealthyKernel, flush, policy, runningRelease, untilNodes } from '../world.ts';
import type { World } from '../world.ts';

export const rebootPowerCut: Scenario = {
  name: 'reboot-power-cut',
  title: 'a power cut while a node is drained begins its order anew; one between going down and the new kernel, or in the boot of that, is a kexec that came back by the firmware: said so, in service as before, and tried again when a person asks for it',
  async run(world) {
    const { nodes, plane } = world.fleet;
    const [first, second] = nodes;
    for (const { options: { name } } of nodes) await holdDrain(world, name);
    await apply(world, fixedByReboot(world, 'fix'), policy({ maxDisruption: 'Kexec', rollout: { maxUnavailable: '2', failureBudget: 2 }, ...LETTING_BARE_PODS_GO }));
    const before = await drained(world, 'both nodes being drained', AGENT_START);

    // Both at once, the operator among them: a kill of QEMU, so that only what the guests had synced is there.
    await Promise.all(nodes.map((node) => node.powerOff()));
    await Promise.all(nodes.map((node) => node.boot()));
    const anew = await drained(world, '[while draining] both being drained by new orders', BOOT, before);
    for (const [name, id] of anew) await untilCordonedFor(world, name, id);

    await Promise.all([cutGoingDown(world, first), cutInNewKernel(world, second)]);
    const failed = await untilNodes(world, '[between staged and kexec] [during boot] both given up', BOOT, ({ spec }) => spec.reboot?.phase === 'Failed');
    for (const { metadata: { name }, spec, status } of failed) {
      assert.equal(spec.reboot?.id, anew.get(name), 'the same order');
      assert.deepEqual([spec.reboot?.reason, status?.reboot?.state, status?.kernel.release], ['KexecFailed', 'CameBackByFirmware', runningRelease(world)]);
      await inService(world, name);
    }

    await plane.mustKubectl(['patch', 'kernelpatch', 'fix', '--type=merge', '-p', JSON.stringify({ spec: { retryReboot: 'power-is-back' } })]);
    await Promise.all(nodes.map((node) => inFixedKernel(world, node, BOOT)));
    for (const node of nodes) await inService(world, node.options.name);
    world.say(await plane.mustKubectl(['get', 'kernelpatches,nodekernels,nodes', '-o', 'wide']));
    for (const node of nodes) await assertHealthyKernel(node);
  },
};

/** All nodes are being drained, and what they have written is on their disks. The ids of their orders, by node, none of which is among `earlier`. */
async function drained(world: World, what: string, seconds: number, earlier: ReadonlyMap<string, string> = new Map()): Promise<ReadonlyMap<string, string>> {
  const seen = await untilNodes(world, what, seconds, ({ metadata: { name }, spec: { reboot } }) => reboot?.phase === 'Draining' && reboot.id !== earlier.get(name));
  await Promise.all(world.fleet.nodes.map(flush));
  return new Map(seen.map(({ metadata: { name }, spec: { reboot } }) => [name, reboot?.id ?? '']));
}

/** The power fails when systemd has been told, and is back at once. */
async function cutGoingDown(world: World, node: Machine): Promise<void> {
  const seen = node.log().length;
  await letDrain(world, node.options.name);
  await untilGoingDown(node, SOON);
  await node.powerOff();
  assert.doesNotMatch(node.log().slice(seen), /kexec_core: Starting new kernel/);
  await node.boot();
}

/** The power fails when the new kernel is about to start the first process. */
async function cutInNewKernel(world: World, node: Machine): Promise<void> {
  const seen = node.log().length;
  await letDrain(world, node.options.name);
  const inNewKernel = () => new RegExp(`Linux version ${RegExp.escape(fixedRelease(world))}[^]*Run /init`).test(node.log().slice(seen)) || undefined;
  await waitFor(`${node.options.name} to boot into the fixed kernel`, { seconds: BOOT }, inNewKernel, () => node.log().slice(-500));
  await node.powerOff();
  await node.boot();
}
