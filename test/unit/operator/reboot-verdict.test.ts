/** What the KernelPatch says of a node that is booted for it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RebootOrder } from '../../../crds/nodekernel.ts';
import type { Reboots, Wait } from '../../../operator/reboots.ts';
import type { Candidate } from '../../../operator/rollout.ts';
import { judgeNode } from '../../../operator/verdict.ts';
import { FIXED_RELEASE, NOW, RELEASE, aKernelPatch, aLivePatch, aNode, aNodeKernel, aPlan, aPolicy, aReport, anOrder } from './builders.ts';

const PATCH = aKernelPatch({ kernels: [{ release: RELEASE, state: 'Affected', rebootInto: FIXED_RELEASE }, { release: FIXED_RELEASE, state: 'Fixed' }] });

interface Given {
  readonly order?: RebootOrder;
  /** The order is decided to go, and that is not stored yet. */
  readonly ends?: boolean;
  readonly wait?: Wait;
  readonly report?: Parameters<typeof aReport>[0];
  readonly node?: Parameters<typeof aNode>[1];
  readonly policy?: object;
  readonly patch?: ReturnType<typeof aKernelPatch>;
}

function judged({ order, ends = false, wait, report, node, policy, patch = PATCH }: Given) {
  const nodeKernel = aNodeKernel('n1', { spec: { ...(order && { reboot: order }) }, status: aReport({ installedKernels: [RELEASE, FIXED_RELEASE], ...report }) });
  const candidate: Candidate = { plan: aPlan(aNode('n1', node), nodeKernel, aPolicy({ maxDisruption: 'Kexec', ...policy }), [patch]), nodeKernel, slot: undefined };
  const reboots: Reboots = { orders: new Map(order && !ends ? [['n1', order]] : []), slots: [], failures: [], waits: new Map(wait && [['n1', wait]]), nextDeadline: undefined };
  const [verdict] = judgeNode(candidate, { slots: new Map(), granted: new Set(), halts: new Map(), quarantines: [], nextDeadline: undefined, reboots }, NOW);
  assert.ok(verdict);
  return verdict;
}

const inPhase = (phase: RebootOrder['phase'], fields: Partial<RebootOrder> = {}) => anOrder({ phase, ...fields });
/** Of the boot before: the node is down, or just up. */
const silent = { node: { bootID: 'boot-2' } };
const fixed = { report: { kernel: { release: FIXED_RELEASE } } };
const forbidden = { report: { kernel: { kexec: 'Unavailable' } } } as const;

const cases: readonly (readonly [sentence: string, given: Given, verdict: string])[] = [
  ['a node that is made ready is InProgress', { order: inPhase('Staging') }, 'InProgress RebootUnderWay moves'],
  ['one that is drained is', { order: inPhase('Draining') }, 'InProgress RebootUnderWay moves'],
  ['one that goes down is', { order: inPhase('Rebooting') }, 'InProgress RebootUnderWay moves'],
  ['one that is down is, or just up, of which nothing else is known', { order: inPhase('Rebooting'), ...silent }, 'InProgress RebootUnderWay moves'],
  ['one that has the kernel is not Closed before it is in service', { order: inPhase('Rebooting'), ...fixed }, 'InProgress RebootUnderWay moves'],
  ['one that is in service with the kernel is Closed once it is stored that its order is over', { order: inPhase('Rebooting'), ends: true, ...fixed }, 'InProgress RebootUnderWay moves'],
  ['one that failed and has the kernel after all is Closed at once', { order: inPhase('Failed'), ends: true, ...fixed }, 'Closed KernelFixed'],
  ['one that was put off is Waiting, for a person too', { order: inPhase('Parked', { reason: 'DrainParked' }) }, 'Waiting DrainParked'],
  ['one that refuses is Blocked', { order: inPhase('Refused', { reason: 'KexecLoadDisabled' }) }, 'Blocked KexecLoadDisabled'],
  ['one that was given up is Failed', { order: inPhase('Failed', { reason: 'KexecFailed' }) }, 'Failed KexecFailed'],
  ['it is Failed although it may not be booted any more', { order: inPhase('Failed', { reason: 'KexecFailed' }), ...forbidden }, 'Failed KexecFailed'],
  ['it is Failed while it is down', { order: inPhase('Failed', { reason: 'NotBack' }), ...silent }, 'Failed NotBack'],
  ['it is Failed with the right kernel while it is not in service', { order: inPhase('Failed', { reason: 'NotReady' }), ...fixed }, 'Failed NotReady'],
  ['one that was put off and may not be booted any more is Blocked by that', { order: inPhase('Parked'), ...forbidden }, 'Blocked BootLoaderStartsOtherKernel'],
  ['one that has booted by itself and is silent is Unknown', silent, 'Unknown ReportOfOtherBoot'],
  ['one that is silent is not judged by the order of another KernelPatch', { order: inPhase('Rebooting', { kernelPatch: 'fix-b' }), ...silent }, 'Unknown ReportOfOtherBoot'],
  ['one that is booted for another KernelPatch is under way for all that ask for it', { order: inPhase('Draining', { kernelPatch: 'fix-b' }) }, 'InProgress RebootUnderWay moves'],
  ['one that is closed is Closed', fixed, 'Closed KernelFixed'],
  ['in mode Plan it waits for a person', { policy: { mode: 'Plan' } }, 'Waiting PlanMode'],
  ['it waits for a slot', { wait: { kind: 'Slot' } }, 'Waiting WaitingForSlot moves'],
  ['it waits for its live patches', { wait: { kind: 'LivePatches' } }, 'Waiting WaitingForLivePatches moves'],
  ['it waits to be in service', { wait: { kind: 'Ready' } }, 'Waiting NodeNotReady'],
  ['it waits for a person when too many have failed', { wait: { kind: 'Halted', halt: { failed: ['n2'], kernelPatches: ['fix-b'] } } }, 'Waiting RolloutHalted'],
  ['a live patch that came out meanwhile is told once the order is over', { patch: aKernelPatch({ kernels: [{ release: RELEASE, state: 'Affected', livePatch: aLivePatch(), rebootInto: FIXED_RELEASE }] }), order: inPhase('Parked') }, 'Waiting WaitingForSlot moves'],
];
for (const [sentence, given, expected] of cases) {
  test(sentence, () => {
    const { verdict, reason, moves } = judged(given);
    assert.equal(`${verdict} ${reason}${moves ? ' moves' : ''}`, expected);
  });
}

test('what is waited for is said, with what to do', () => {
  assert.match(judged({ wait: { kind: 'Slot' } }).message, /; waits until fewer than 1 nodes of PatchPolicy workers \(maxUnavailable\) are drained and booting$/);
  assert.match(judged({ wait: { kind: 'Ready' } }).message, /; waits until node n1 is Ready: see its kubelet$/);
  const halt = { failed: ['n2', 'n3'], kernelPatches: ['fix-b'] };
  assert.equal(judged({ wait: { kind: 'Halted', halt } }).message, 'the reboot failed on n2, n3, as many as PatchPolicy workers has failureBudget: see why there, then set a new word as spec.retryReboot of KernelPatch fix-b to try it once more, or raise the budget');
  assert.equal(judged({ order: inPhase('Draining') }).message, `boots into kernel ${FIXED_RELEASE}: spec.reboot of NodeKernel n1 says how far that is`);
  assert.equal(judged({ order: inPhase('Parked', { message: 'default/web-1: PodDisruptionBudget default/web allows 0' }) }).message, 'default/web-1: PodDisruptionBudget default/web allows 0');
});
