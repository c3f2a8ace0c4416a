/** What /metrics shows, on a registry of our own. No label names a node. */
import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import { NODE_VERDICTS } from '../crds/kernelpatch.ts';
import { CVE_STATES } from '../crds/nodekernel.ts';
import type { CveCounts } from './cves.ts';
import type { Verdict } from './verdict.ts';

export function makeMetrics() {
  const registry = new Registry();
  const registers = [registry];
  const nodes = new Gauge({ name: 'kernelpatch_nodes', help: 'Selected nodes by how they stand towards a KernelPatch. kernelpatch: its name; verdict: Closed is without the vulnerability, all others are open.', labelNames: ['kernelpatch', 'verdict'], registers });
  const leader = new Gauge({ name: 'kernelpatch_leader', help: '1 in the process that leads, 0 in a standby.', registers });
  const reconcileSeconds = new Histogram({ name: 'kernelpatch_reconcile_seconds', help: 'Time of one pass over the whole cluster, its writes included.', buckets: [0.005, 0.02, 0.1, 0.5, 2, 10], registers });
  const reconcileErrors = new Counter({ name: 'kernelpatch_reconcile_errors_total', help: 'Passes that ended with an error. code: Conflict is harmless, others are documented in operator/errors.ts.', labelNames: ['code'], registers });
  const watchRestarts = new Counter({ name: 'kernelpatch_watch_restarts_total', help: 'Watches that ended with an error and were opened anew. kind: what is watched; code: why.', labelNames: ['kind', 'code'], registers });
  const apiWrites = new Counter({ name: 'kernelpatch_api_writes_total', help: 'Writes to the Kubernetes API. kind, verb; outcome: Ok or the code of the error.', labelNames: ['kind', 'verb', 'outcome'], registers });
  let countCves: (() => CveCounts) | undefined;
  const cveNodes = new Gauge({
    name: 'kernelpatch_cve_nodes',
    help: 'Nodes by how they stand towards a CVE of a KernelPatch. state: fixedLive, fixedByKernel and notAffected are closed; open, withheld (by the policy) and unknown are not.',
    labelNames: ['cve', 'state'],
    registers,
    collect() {
      cveNodes.reset();
      for (const [cve, count] of countCves?.() ?? []) for (const state of CVE_STATES) cveNodes.set({ cve, state }, count[state]);
    },
  });
  leader.set(0);

  return {
    registry,
    leader,
    reconcileSeconds,
    reconcileErrors,
    watchRestarts,
    apiWrites,
    /** Asked at each scrape and not at each pass, since it goes through all CVEs of all nodes. */
    countCvesBy(count: () => CveCounts): void {
      countCves = count;
    },
    /** Exactly these KernelPatches are shown, each with every verdict. */
    setVerdicts(kernelPatches: readonly string[], verdicts: readonly Verdict[]): void {
      nodes.reset();
      for (const kernelpatch of kernelPatches) for (const verdict of NODE_VERDICTS) nodes.set({ kernelpatch, verdict }, 0);
      for (const { kernelPatch, verdict } of verdicts) nodes.inc({ kernelpatch: kernelPatch, verdict });
    },
  };
}
export type Metrics = ReturnType<typeof makeMetrics>;
