/** Kexecs that came back by the firmware, by the class of the machine: what one of a class does, all may. Pure. */
import type { NodeKernel, NodeKernelStatus } from '../crds/nodekernel.ts';

export interface KexecFailed {
  readonly node: string;
  readonly release: string;
}

/** By class of hardware, the first node of each. */
export type KexecFailures = ReadonlyMap<string, KexecFailed>;

export function kexecFailuresOf(nodeKernels: Iterable<NodeKernel>): KexecFailures {
  const failures = new Map<string, KexecFailed>();
  for (const { metadata: { name: node }, status } of nodeKernels) {
    const failure = status?.hardware?.kexecFailure;
    const machine = status && classOf(node, status);
    if (failure && machine !== undefined && !failures.has(machine)) failures.set(machine, { node, release: failure.release });
  }
  return failures;
}

export function kexecFailureOf(node: string, status: NodeKernelStatus, failures: KexecFailures): KexecFailed | undefined {
  return failures.get(classOf(node, status));
}

/** A machine that does not tell what it is stands for itself only. */
function classOf(node: string, { hardware }: NodeKernelStatus): string {
  const names = hardware && [hardware.vendor, hardware.product, hardware.firmware];
  return names === undefined || names.includes('unknown') ? `node ${node}` : JSON.stringify(names);
}
