/** How many nodes stand how towards each CVE, pure. */
import { CVE_STATES } from '../crds/nodekernel.ts';
import type { CveState, NodeKernel } from '../crds/nodekernel.ts';
import type { Caches } from './observe.ts';

export type CveCounts = ReadonlyMap<string, Readonly<Record<CveState, number>>>;

/** Of the CVEs of existing KernelPatches, and of them all. A node counts for the CVEs of its plan; without a report of this boot it is unknown. */
export function countCves({ kernelPatches, nodeKernels }: Pick<Caches, 'kernelPatches' | 'nodeKernels'>): CveCounts {
  const counts = new Map([...kernelPatches.values()].flatMap(({ spec }) => spec.cves).map(({ id }) => [id, noNodes()]));
  for (const nodeKernel of nodeKernels.values()) {
    const states = reportedStates(nodeKernel);
    for (const cve of new Set(nodeKernel.spec.plan?.patches.flatMap(({ cves = [] }) => cves))) {
      const count = counts.get(cve);
      if (count) count[states.get(cve) ?? 'unknown'] += 1;
    }
  }
  return counts;
}

function noNodes(): Record<CveState, number> {
  return { fixedLive: 0, fixedByKernel: 0, notAffected: 0, open: 0, withheld: 0, unknown: 0 };
}

function reportedStates({ spec, status }: NodeKernel): ReadonlyMap<string, CveState> {
  const cves = status?.bootID === spec.plan?.bootID ? status?.cves : undefined;
  return new Map(cves && CVE_STATES.flatMap((state) => cves[state].map((cve) => [cve, state] as const)));
}
