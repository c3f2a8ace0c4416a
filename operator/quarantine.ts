/** Files of live patches that a node went down or oopsed with, pure. They are started on no other node. */
import type { NodeKernel, WantedLivePatch } from '../crds/nodekernel.ts';

export interface Quarantined {
  readonly node: string;
  readonly sha256: string;
  /** The word of the KernelPatch under which the node holds it back; empty: none. */
  readonly lift: string;
}

export type Quarantines = readonly Quarantined[];

/** What all nodes hold back, of whatever policy they are. A report of an earlier intent counts too: nothing was lifted by what came after it. */
export function quarantinesOf(nodeKernels: Iterable<NodeKernel>): Quarantines {
  return [...nodeKernels].flatMap(({ metadata, status }) =>
    (status?.livePatches ?? []).flatMap(({ state, sha256, liftQuarantine = '' }) => (state === 'Quarantined' && sha256 !== undefined ? [{ node: metadata.name, sha256, lift: liftQuarantine }] : [])),
  );
}

/** The first node that holds the file back; undefined: none does, or a word that it has not seen yet lifts it. */
export function quarantiner({ sha256, liftQuarantine = '' }: WantedLivePatch, quarantines: Quarantines): string | undefined {
  return quarantines.find((each) => each.sha256 === sha256 && (liftQuarantine === '' || each.lift === liftQuarantine))?.node;
}
