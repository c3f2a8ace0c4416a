/** Whether the claims of a file, its KernelPatch, the running kernel and the file itself say the same. Pure; the first reason wins. */
import type { ModuleInfo } from '../kernel/elf.ts';
import { releaseOf } from '../kernel/elf.ts';
import type { PatchedFunction } from '../kernel/functions.ts';
import type { Claims } from './claims.ts';
import type { TrustRefusal, TrustRefusalReason } from './refusal.ts';

/** What is asked for, as far as claims speak of it. */
export interface ClaimedOrder {
  readonly name: string;
  readonly release: string;
  readonly replace: boolean;
  readonly reversible: boolean;
  /** undefined: nobody says which it closes. */
  readonly cves?: readonly string[] | undefined;
}

export interface RunningKernel {
  readonly release: string;
  /** or unknown */
  readonly buildID: string;
}

/** The KernelPatch says nothing that the signer did not say. */
export function refuseOrder(order: ClaimedOrder, claims: Claims): TrustRefusal | undefined {
  if (order.name !== claims.name) return refusal('ClaimedNameMismatch', `the live patch is signed as ${claims.name}, the KernelPatch says ${order.name}: set livePatch.name to ${claims.name}`);
  if (order.release !== claims.kernel.release) {
    return refusal('ClaimedKernelMismatch', `the live patch is signed for kernel ${claims.kernel.release}, the KernelPatch lists it for ${order.release}: list it for ${claims.kernel.release}`);
  }
  if (order.replace !== claims.replace) return refusal('ClaimedReplaceMismatch', `the live patch is signed with replace: ${claims.replace}, the KernelPatch says ${order.replace}: correct replace there`);
  if (order.reversible !== claims.reversible) {
    return refusal('ClaimedReversibleMismatch', `the live patch is signed with reversible: ${claims.reversible}, the KernelPatch says ${order.reversible}: correct reversible there`);
  }
  const unclaimed = (order.cves ?? []).filter((cve) => !claims.cves.includes(cve));
  if (unclaimed.length === 0) return undefined;
  return refusal('ClaimedCVEsMismatch', `the KernelPatch says that the live patch closes ${listed(unclaimed)}, and its signer does not: remove them from cves, or have it signed for them`);
}

/** It is signed for the very kernel that runs. */
export function refuseRunning(running: RunningKernel, { kernel }: Claims): TrustRefusal | undefined {
  if (running.release !== kernel.release) return refusal('ClaimedKernelMismatch', `the live patch is signed for kernel ${kernel.release}, the node runs ${running.release}: list one for ${running.release} in the KernelPatch`);
  if (kernel.buildID === undefined || kernel.buildID === running.buildID) return undefined;
  return refusal('ClaimedKernelMismatch', `the live patch is signed for the build ${kernel.buildID} of kernel ${kernel.release}, the node runs the build ${running.buildID}: list one for this build in the KernelPatch`);
}

/** The module is what its signer says, as far as the file shows it. */
export function refuseContent(module: ModuleInfo, claims: Claims): TrustRefusal | undefined {
  const built = releaseOf(module);
  if (module.name !== claims.name) return wrong('ClaimedNameMismatch', `the module ${claims.name}`, module.name);
  if (built !== claims.kernel.release) return wrong('ClaimedKernelMismatch', `built for kernel ${claims.kernel.release}`, built);
  if (module.buildID !== claims.buildID) return wrong('ClaimedBuildIDMismatch', `the build ${claims.buildID}`, module.buildID ?? 'without a build id');
  if (module.replace !== 'unknown' && module.replace !== claims.replace) return wrong('ClaimedReplaceMismatch', `replace: ${claims.replace}`, `replace: ${module.replace}`);
  return module.functions === 'unknown' ? undefined : refuseFunctions(module.functions, claims.functions);
}

function refuseFunctions(functions: readonly PatchedFunction[], claimed: readonly string[]): TrustRefusal | undefined {
  const found = labelsOf(functions);
  const unclaimed = found.filter((label) => !claimed.includes(label));
  if (unclaimed.length > 0) return refusal('ClaimedFunctionsMismatch', `the file patches ${listed(unclaimed)}, which its signer does not name: have it signed again, with all its functions`);
  const absent = claimed.filter((label) => !found.includes(label));
  if (absent.length > 0) return refusal('ClaimedFunctionsMismatch', `its signer says that the file patches ${listed(absent)}, and it does not: have it signed again, with its own functions`);
  return undefined;
}

/** As claims name them, in their order and each once. */
export function labelsOf(functions: readonly PatchedFunction[]): readonly string[] {
  return [...new Set(functions.map(({ object, name, position }) => `${object}:${name}${position > 1 ? `,${position}` : ''}`))].sort();
}

const MAX_LISTED = 5;

function listed(words: readonly string[]): string {
  const more = words.length - MAX_LISTED;
  return `${words.slice(0, MAX_LISTED).join(', ')}${more > 0 ? ` and ${more} more` : ''}`;
}

function wrong(reason: TrustRefusalReason, signed: string, found: string): TrustRefusal {
  return refusal(reason, `the live patch is signed as ${signed}, and the file is ${found}: have the file signed again`);
}

function refusal(reason: TrustRefusalReason, message: string): TrustRefusal {
  return { reason, message };
}
