import assert from 'node:assert/strict';
import type { Machine } from '../../node/machine.ts';
import type { Scenario } from '../scenario.ts';
import { AGENT_START, SOON, apply, isCurrent, kernelPatch, livePatch, place, policy, runningRelease, untilNodes } from '../world.ts';
import type { World } from '../world.ts';

export const plan: Scenario = {
  name: 'plan',
  title: 'a kernel that is not listed is Unknown, a fixed one None, an affected one without a live patch Kexec; mode Plan touches nothing',
  async run(world) {
    const release = runningRelease(world);
    const newer = world.fleet.image.kernels[1];
    const patch = await place(world, 'kp_first');
    const before = await Promise.all(world.fleet.nodes.map(kernelState));

    await apply(world, policy({ mode: 'Plan', maxDisruption: 'Kexec' }), livePatch(world, 'live', patch));
    const planned = await untilNodes(world, 'both nodes planned', AGENT_START, (node) => isCurrent(node) && node.spec.plan?.action === 'LivePatch');
    for (const node of planned) {
      assert.deepEqual(node.spec.livePatches ?? [], []);
      const ready = node.status?.conditions?.find((condition) => condition.type === 'Ready');
      assert.equal(ready?.status, 'False', 'a node that would have to be patched is not Ready');
    }
    assert.deepEqual(await Promise.all(world.fleet.nodes.map(kernelState)), before, 'mode Plan changes nothing on the node');
    await world.fleet.plane.mustKubectl(['delete', 'kernelpatch', 'live']);

    await oneRow(world, { release: '5.10.0-1-amd64', state: 'Affected' }, 'Unknown', /not list/i);
    await oneRow(world, { release, state: 'Fixed' }, 'None', /has the fix/);
    await oneRow(world, { release, state: 'Affected', rebootInto: newer }, 'Kexec', new RegExp(newer.replaceAll('.', String.raw`\.`).replaceAll('+', String.raw`\+`)));
    await oneRow(world, { release, state: 'Affected', rebootInto: '6.12.999+deb13-cloud-amd64' }, 'Blocked', /6\.12\.999/);
    await apply(world, policy({ mode: 'Plan', maxDisruption: 'LivePatch' }));
    await oneRow(world, { release, state: 'Affected', rebootInto: newer }, 'Blocked', /maxDisruption|allows/);
    assert.deepEqual(await Promise.all(world.fleet.nodes.map(kernelState)), before, 'mode Plan changes nothing on the node');
  },
};

/** What a node's kernel would show if anything had been loaded, unloaded or tried. Modules that are not Debian's own carry their taint in brackets. */
function kernelState(node: Machine): Promise<string> {
  return node.must("cat /proc/sys/kernel/tainted; grep '(' /proc/modules; ls /sys/kernel/livepatch; cat /proc/version; dmesg | grep -ic livepatch || true; cat /sys/kernel/kexec_loaded");
}

async function oneRow(world: World, kernel: object, action: string, message: RegExp): Promise<void> {
  await apply(world, kernelPatch('row', { kernels: [kernel] }));
  const nodes = await untilNodes(world, `${JSON.stringify(kernel)} is ${action}`, SOON, (node) => node.spec.plan?.action === action && node.spec.plan.patches.length === 1);
  for (const node of nodes) assert.match(node.spec.plan?.message ?? '', message);
  await world.fleet.plane.mustKubectl(['delete', 'kernelpatch', 'row']);
  await untilNodes(world, 'the row is gone', SOON, (node) => node.spec.plan?.patches.length === 0);
}
