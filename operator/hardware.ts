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
  for (const { metadata, status } of nodeKernels) {
    const failure = status?.hardware?.kexecFailure;
    const machine = status && classOf(status);
    if (failure && machine !== undefined && !failures.has(machine)) failures.set(machine, { node: metadata.name, release: failure.release });
  }
  return failures;
}

/** undefined: a machine that does not tell what it is stands for itself only. */
export function kexecFailureOf(status: NodeKernelStatus, failures: KexecFailures): KexecFailed | undefined {
  const machine = classOf(status);
  return machine === undefined ? undefined : failures.get(machine);
}

function classOf({ hardware }: NodeKernelStatus): string | undefined {
  const names = hardware && [hardware.vendor, hardware.product, hardware.firmware];
  return names === undefined || names.includes('unknown') ? undefined : JSON.stringify(names);
}
