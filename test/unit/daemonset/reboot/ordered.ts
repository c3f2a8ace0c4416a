/** A node that is to be rebooted, for the tests of the agent's loop. */
import type { RebootOrder, RebootReport } from '../../../../crds/nodekernel.ts';
import { JOURNAL_PATH } from '../../../../daemonset/journal.ts';
import { parseJournal } from '../../../../kernel/journal.ts';
import { aNode } from '../../../simulated/node.ts';
import type { SimulatedNode } from '../../../simulated/node.ts';
import { TARGET, anOrder } from '../../../simulated/reboot.ts';

/** As systemd-logind writes one that blocks a shutdown. */
export const INHIBITOR = 'WHAT=shutdown:sleep\nMODE=block\nUID=0\nPID=812\nWHO="Package Manager"\nWHY="a package is being installed"';

export function aNodeWithTarget(): SimulatedNode {
  const node = aNode();
  node.machine.installKernel(TARGET);
  return node;
}

export function reportOf(node: SimulatedNode): RebootReport | undefined {
  return node.object.status?.reboot;
}

export const saysOf = (node: SimulatedNode): readonly unknown[] => [reportOf(node)?.state, reportOf(node)?.reason];

/** The order is published, and the agent has come to rest with it. */
export async function order(node: SimulatedNode, changes: Partial<RebootOrder> = {}): Promise<void> {
  node.want([], { reboot: anOrder(changes) });
  await node.settle();
}

/** The node goes down for the order, and what it has led to is reported. */
export async function reboot(node: SimulatedNode, changes: Partial<RebootOrder> = {}): Promise<void> {
  node.want([], { reboot: anOrder({ phase: 'Rebooting', ...changes }) });
  const bootID = node.object.status?.bootID;
  await node.until('a report of the next boot', () => node.object.status?.bootID !== bootID);
  await node.settle();
}

export const kinds = (node: SimulatedNode): readonly string[] => parseJournal(node.machine.files.get(JOURNAL_PATH) ?? Buffer.alloc(0)).records.map(({ kind }) => kind);

export async function staged(changes: Partial<RebootOrder> = {}): Promise<SimulatedNode> {
  const node = aNodeWithTarget();
  node.start();
  await order(node, changes);
  return node;
}
