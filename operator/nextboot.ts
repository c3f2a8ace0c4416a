/** What the firmware's next boot of a node starts, against the kernel that has the fix. Pure. */
import type { KernelPatchSpec, KernelState } from '../crds/kernelpatch.ts';
import type { NodeKernelStatus } from '../crds/nodekernel.ts';
import { matchKernel } from './kernels.ts';

type Report = Pick<NodeKernelStatus, 'nextBoot'>;

export type NextBootJudgement =
  | { readonly kind: 'Target' }
  | { readonly kind: 'Other'; readonly message: string }
  | { readonly kind: 'Unknown'; readonly message: string };

/** Whether the boot loader starts this kernel next. A report without it is of an older agent. */
export function judgeNextBoot(target: string, report: Report): NextBootJudgement {
  const { nextBoot } = report;
  const { release, source = 'the boot loader', message } = nextBoot ?? { release: 'unknown', message: 'the agent has not reported it' };
  if (release === target) return { kind: 'Target' };
  if (release === 'unknown') return { kind: 'Unknown', message: `which kernel the next boot by firmware starts is not known: ${message}` };
  return { kind: 'Other', message: `the next boot by firmware starts ${release} (${source}), not the fixed kernel ${target}: make ${target} the default of the boot loader there${describeUnsettable(report)}` };
}

/** That a boot by firmware undoes a fix that `target` brings, or has brought; undefined: it does not, or that is not known. */
export function describeRelapse(target: string, spec: KernelPatchSpec, report: Report): string | undefined {
  if (judgeNextBoot(target, report).kind !== 'Other') return undefined;
  const release = report.nextBoot?.release ?? '';
  const lack = LACKS[stateOf(release, spec)];
  return lack && `the next boot by firmware starts ${release}, which ${lack}: make ${target} the default of the boot loader there${describeUnsettable(report)}`;
}

/** What a person has to do first; for the end of a message. */
function describeUnsettable({ nextBoot }: Report): string {
  return nextBoot?.unsettable === undefined ? '' : ` (${nextBoot.unsettable.message})`;
}

const LACKS: Readonly<Record<KernelState | 'NotListed', string | undefined>> = {
  Affected: 'does not have the fix',
  UnderInvestigation: 'is under investigation',
  NotListed: 'is not listed as having the fix',
  Fixed: undefined,
  NotAffected: undefined,
};

/** Its build id is not known before it runs. */
function stateOf(release: string, spec: KernelPatchSpec): KernelState | 'NotListed' {
  const match = matchKernel(spec, { release, buildID: 'unknown' });
  return match.kind === 'Entry' ? match.entry.state : 'NotListed';
}
