/**
 * Whether a load may still be begun on what was read of the intent. An intent that was fresh when it was read may be withdrawn meanwhile, and one that the API server shows may be an old one: written before the node was
 * cut off, for an earlier boot, or taken from a backup. Pure.
 */
import type { ObjectMeta } from '../crds/common.ts';
import { STALE_INTENT } from '../crds/nodekernel.ts';
import type { NodeKernel } from '../crds/nodekernel.ts';
import type { EntryView } from './rules.ts';

/** What was heard of the NodeKernel so far. */
export interface Heard {
  readonly uid: string | undefined;
  readonly generation: number;
  /** The generation to which it has gone back: what it asks for is not begun before there is a newer one. */
  readonly rewoundTo: number | undefined;
}

export function hear(earlier: Heard | undefined, { uid, generation = 0 }: ObjectMeta): Heard {
  const same = earlier !== undefined && earlier.uid === uid;
  if (!same) return { uid, generation, rewoundTo: undefined };
  const rewound = generation < earlier.generation || generation === earlier.rewoundTo;
  return { uid, generation, rewoundTo: rewound ? generation : undefined };
}

/** Both ask for the same. */
export function isSameIntent(a: NodeKernel, b: NodeKernel | undefined): boolean {
  return b !== undefined && a.metadata.uid === b.metadata.uid && a.metadata.generation === b.metadata.generation;
}

export interface Present {
  readonly bootID: string;
  /** Wall time. */
  readonly date: Date;
}

/** Why a load is not begun on this intent; undefined: it may be. A reload of what the node had in an earlier boot does not expire: a node that comes back is to be as it was. */
export function refuseStale({ spec: { start } }: NodeKernel, { wanted: { name }, memory }: Pick<EntryView, 'wanted' | 'memory'>, heard: Heard | undefined, { bootID, date }: Present): { readonly reason: string; readonly message: string } | undefined {
  if (heard?.rewoundTo !== undefined) {
    return stale(`the API server has gone back to generation ${heard.rewoundTo} of this node's intent, as after a restore of its backup. ${name} is not loaded before the operator has written a newer one`);
  }
  if (start === undefined) return undefined;
  if (start.bootID !== bootID) {
    if (memory.hadBefore) return undefined;
    return stale(`${name} was to be loaded in boot ${start.bootID} of the node, and this is ${bootID}: it is not loaded before the operator has decided anew`);
  }
  if (date.getTime() <= Date.parse(start.notAfter)) return undefined;
  return stale(`${name} was to be loaded until ${start.notAfter}, and by the clock of the node that is over: it is not loaded before the operator has decided anew. If this comes back, compare that clock with the operator's`);
}

function stale(message: string) {
  return { reason: STALE_INTENT, message };
}
