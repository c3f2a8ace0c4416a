/** When things happened in a node's boot, as its kernel and its systemd tell. */
import { waitFor } from '../wait.ts';
import type { Machine } from '../node/machine.ts';
import { SOON } from './world.ts';

/** Seconds after the kernel began. */
export interface BootTimes {
  /** kernelpatch-boot.service began and ended; undefined when it was skipped. */
  readonly unit: { readonly from: number; readonly to: number } | undefined;
  readonly network: number;
  readonly kubelet: number;
}

/** Known once kubelet has been started. */
export async function bootTimes(node: Machine): Promise<BootTimes> {
  const kubelet = await waitFor(`kubelet of ${node.options.name} to be started`, { seconds: SOON * 2 }, async () => (await momentOf(node, 'kubelet', 'ExecMainStart')) || undefined);
  const [from, to] = [await momentOf(node, 'kernelpatch-boot', 'InactiveExit'), await momentOf(node, 'kernelpatch-boot', 'ActiveEnter')];
  return { unit: to === 0 ? undefined : { from, to }, network: await momentOf(node, 'node-network', 'ExecMainStart'), kubelet };
}

/** When the kernel was asked to enable the live patch, in seconds since the boot. */
export async function enabledAt(node: Machine, name: string): Promise<number> {
  return Number(await node.must(`dmesg | sed -n "s/^\\[ *\\([0-9.]*\\)\\] livepatch: enabling patch '${name}'.*/\\1/p"`));
}

/** 0: it has not happened in this boot. */
async function momentOf(node: Machine, unit: string, moment: string): Promise<number> {
  return Number(await node.must(`systemctl show --value -p ${moment}TimestampMonotonic ${unit}.service`)) / 1e6;
}
