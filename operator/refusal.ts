/** Refusals of a node that are about kexec alone, pure. */
import type { RebootOrder } from '../crds/nodekernel.ts';

/**
 * As the agent names them (docs/actions.md). After any other one a boot by the firmware is no way out: the image or its initrd is damaged, missing or just being written, so that the firmware would not come up with it either; or
 * it is the shutdown that is refused; or the order came too late, and nothing was refused at all.
 */
const ABOUT_KEXEC: ReadonlySet<string> = new Set([
  'CapabilityMissing', 'CommandLineTooLong', 'CommandLineUnreadable', 'KexecBusy', 'KexecLoadDisabled', 'KexecLoadLimit', 'KexecUnsupported', 'LockedDown', 'NotEnoughMemory', 'PermissionDenied', 'SecureBoot', 'SignatureRejected',
]);

/** Why the node has refused a kexec in this boot, when it may boot by its firmware instead: the order was refused, or is the one that came in its place. */
export function kexecRefusalOf(order: RebootOrder | undefined, bootID: string | undefined): string | undefined {
  if (order === undefined || order.bootID !== bootID) return undefined;
  if (order.method === 'Firmware') return order.kexecRefused;
  return order.phase === 'Refused' && ABOUT_KEXEC.has(order.reason) ? order.reason : undefined;
}
