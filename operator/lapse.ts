/** Loads that a node was asked for and can not tell any more to be meant. Pure. */
import { STALE_INTENT } from '../crds/nodekernel.ts';
import type { NodeKernel, WantedLivePatch } from '../crds/nodekernel.ts';
import { isCurrent, reportOf } from './progress.ts';
import type { Slot } from './progress.ts';

/** The node may begin what is published under a slot as long as it holds that. */
export function startUnder({ deadline }: Slot, bootID: string): NonNullable<NodeKernel['spec']['start']> {
  return { bootID, notAfter: deadline };
}

/**
 * The NodeKernel as if a load that its agent has refused as stale had not been published: it leaves the list, or is started anew under a slot, where nothing has halted it meanwhile. One that may still be begun by our clock
 * stays: the node's clock is wrong, and would refuse the next one, too.
 */
export function withoutLapsed(nodeKernel: NodeKernel, now: number): NodeKernel {
  const { livePatches } = nodeKernel.spec;
  if (livePatches === undefined || !isOver(nodeKernel, now)) return nodeKernel;
  const kept = livePatches.filter((wanted) => !isStale(wanted, nodeKernel));
  return kept.length === livePatches.length ? nodeKernel : { ...nodeKernel, spec: { ...nodeKernel.spec, livePatches: kept } };
}

/** When a load that is refused as stale lapses, in milliseconds since 1970; undefined: there is none, or it has. */
export function lapsesAt(nodeKernel: NodeKernel, now: number): number | undefined {
  const { start, livePatches = [] } = nodeKernel.spec;
  return start === undefined || isOver(nodeKernel, now) || !livePatches.some((wanted) => isStale(wanted, nodeKernel)) ? undefined : Date.parse(start.notAfter) + 1;
}

function isOver({ spec: { start }, status }: NodeKernel, now: number): boolean {
  return start === undefined || start.bootID !== status?.bootID || now > Date.parse(start.notAfter);
}

function isStale(wanted: WantedLivePatch, nodeKernel: NodeKernel): boolean {
  return wanted.desired === 'Loaded' && isCurrent(nodeKernel) && reportOf(wanted, nodeKernel)?.reason === STALE_INTENT;
}
