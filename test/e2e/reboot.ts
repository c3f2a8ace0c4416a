/** What scenarios of reboots share. */
import { waitFor } from '../wait.ts';
import { SOON, kernelPatch, runningRelease, untilNode } from './world.ts';
import type { Machine } from '../node/machine.ts';
import type { NodeKernel } from '../../crds/nodekernel.ts';
import type { World } from './world.ts';

/** The newer kernel of the node image: installed, and not what the nodes run. */
export const fixedRelease = (world: World): string => world.fleet.image.kernels[1];

/** A KernelPatch that only a boot into the newer kernel closes. */
export function fixedByReboot(world: World, name: string): object {
  const fixed = fixedRelease(world);
  return kernelPatch(name, { kernels: [{ release: runningRelease(world), state: 'Affected', rebootInto: fixed }, { release: fixed, state: 'Fixed' }] });
}

/** The kernel that grub-set-default has named as the default, if nothing is to be started once. */
export async function savedRelease(node: Machine): Promise<string> {
  const variables = await node.must('grub-editenv list');
  return /^next_entry=\S/m.test(variables) ? 'another one once' : (/^saved_entry=gnulinux-advanced-\S+>gnulinux-(\S+)-advanced-\S+/m.exec(variables)?.[1] ?? variables);
}

/** The node is Ready, takes pods, and nothing of a cordon of ours is left. */
export async function inService(world: World, name: string): Promise<void> {
  const ask = () =>
    world.fleet.plane.mustKubectl(['get', 'node', name, '-o', 'jsonpath={.status.conditions[?(@.type=="Ready")].status}|{.spec.unschedulable}|{.metadata.annotations.kernelpatch\\.dev/cordoned-for}']);
  await waitFor(`${name} to be in service`, { seconds: SOON }, async () => (await ask()) === 'True||' || undefined, ask);
}

export async function isCordoned(world: World, name: string): Promise<boolean> {
  return (await world.fleet.plane.mustKubectl(['get', 'node', name, '-o', 'jsonpath={.spec.unschedulable}'])).trim() === 'true';
}

/** Its order has come to its end, and it runs the fixed kernel. */
export async function inFixedKernel(world: World, { options: { name } }: Machine, seconds: number): Promise<NodeKernel> {
  return untilNode(world, { name, what: 'in the fixed kernel, its order over', seconds }, ({ spec, status }) => spec.reboot === undefined && status?.kernel.release === fixedRelease(world));
}
