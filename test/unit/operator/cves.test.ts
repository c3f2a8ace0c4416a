import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { NodeKernel, NodeKernelStatus } from '../../../crds/nodekernel.ts';
import { countCves } from '../../../operator/cves.ts';
import { makeMetrics } from '../../../operator/metrics.ts';
import { describePlan } from '../../../operator/plan.ts';
import { aKernelPatch, aNode, aNodeKernel, aPlan, aPolicy, aReport } from './builders.ts';

const fix = aKernelPatch({ cves: ['CVE-2026-1001', 'CVE-2026-1002'] });
const deleted = aKernelPatch({ name: 'deleted', cves: ['CVE-2026-1003'] });
const lists = (changes: Partial<NonNullable<NodeKernelStatus['cves']>>) => ({ closed: '', fixedLive: [], fixedByKernel: [], notAffected: [], open: [], withheld: [], unknown: [], ...changes });

function planned(name: string, status: NodeKernelStatus | 'none'): NodeKernel {
  const plan = describePlan(aPlan(aNode(name), undefined, aPolicy(), [fix, deleted]));
  return aNodeKernel(name, { spec: { plan, livePatches: [] }, status });
}

const nodeKernels = [
  planned('n1', aReport({ cves: lists({ fixedLive: ['CVE-2026-1001'], open: ['CVE-2026-1002', 'CVE-2026-1003'] }) })),
  planned('n2', aReport({ cves: lists({ fixedLive: ['CVE-2026-1001'] }) })),
  planned('n3', aReport({ bootID: 'an earlier one', cves: lists({ fixedLive: ['CVE-2026-1001', 'CVE-2026-1002'] }) })),
  planned('n4', 'none'),
];
const caches = { kernelPatches: [fix], nodeKernels };

test('nodes are counted by CVE and state; what is not reported of this boot is unknown, and a deleted KernelPatch is gone', () => {
  const none = { fixedLive: 0, fixedByKernel: 0, notAffected: 0, open: 0, withheld: 0, unknown: 0 };
  assert.deepEqual(Object.fromEntries(countCves(caches)), { 'CVE-2026-1001': { ...none, fixedLive: 2, unknown: 2 }, 'CVE-2026-1002': { ...none, open: 1, unknown: 3 } });
});

test('a CVE without nodes is shown with zeros, and a scrape forgets what is gone', async () => {
  const metrics = makeMetrics();
  let kernelPatches = [fix, deleted];
  metrics.countCvesBy(() => countCves({ kernelPatches, nodeKernels: [] }));
  assert.match(await metrics.registry.metrics(), /kernelpatch_cve_nodes\{cve="CVE-2026-1003",state="open"\} 0\n/);
  kernelPatches = [fix];
  assert.doesNotMatch(await metrics.registry.metrics(), /CVE-2026-1003/);
});
