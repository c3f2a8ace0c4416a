/** What scenarios of reboots share. */
import { waitFor } from '../wait.ts';
import { SOON, apply, kernelPatch, runningRelease, untilNode } from './world.ts';
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

/** The node's cordon is the order's; '': there is none, and no note of one of ours. */
export async function untilCordonedFor(world: World, name: string, id: string): Promise<void> {
  const ask = () => world.fleet.plane.mustKubectl(['get', 'node', name, '-o', 'jsonpath={.spec.unschedulable}|{.metadata.annotations.kernelpatch\\.dev/cordoned-for}']);
  await waitFor(`${name} to be cordoned for ${id || 'nobody'}`, { seconds: SOON }, async () => (await ask()) === (id ? `true|${id}` : '|') || undefined, ask);
}

/** A drain of the node is not over as long as this pod is there: it asks not to be evicted, and nobody makes it again elsewhere. */
export async function holdDrain(world: World, name: string): Promise<void> {
  const metadata = { name: holderOf(name), namespace: 'default', annotations: { 'karpenter.sh/do-not-disrupt': 'true' } };
  const spec = { nodeName: name, hostNetwork: true, terminationGracePeriodSeconds: 1, tolerations: [{ operator: 'Exists' }], containers: [{ name: 'holder', image: 'localhost/pause:1', imagePullPolicy: 'Never' }] };
  await apply(world, { apiVersion: 'v1', kind: 'Pod', metadata, spec });
  await world.fleet.plane.mustKubectl(['wait', 'pod', metadata.name, '-n', 'default', '--for=condition=Ready', `--timeout=${SOON}s`]);
}

export async function letDrain(world: World, name: string): Promise<void> {
  await world.fleet.plane.mustKubectl(['delete', 'pod', holderOf(name), '-n', 'default', '--wait=false']);
}

const holderOf = (name: string) => `holder-${name}`;
/** Of a policy: lets the pods that hold a drain go once they may. */
export const LETTING_BARE_PODS_GO = { drain: { force: true, timeoutSeconds: 3600 } };

/** It is written on its disk that the node was told to go down; systemd stops its services now, or is about to. */
export async function untilGoingDown(node: Machine, seconds: number): Promise<void> {
  await waitFor(`${node.options.name} to be told to go down`, { seconds, every: 50 }, async () => (await node.run('grep -q GoingDown /var/lib/misc/kernelpatch.journal')).code === 0 || undefined);
}
