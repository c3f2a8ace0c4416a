/** Looks at all that can be known of a load before it is tried. Reads only; the judgements are those of kernel/preflight.ts. */
import type { WantedLivePatch } from '../crds/nodekernel.ts';
import { readAvailableMemory, readFacts } from '../kernel/facts.ts';
import type { KernelFacts } from '../kernel/facts.ts';
import type { PatchedFunction } from '../kernel/functions.ts';
import type { Host } from '../kernel/host.ts';
import { readModuleFile } from '../kernel/livepatch.ts';
import type { ReadModule } from '../kernel/livepatch.ts';
import { functionsOf, isObjectLoaded, readPatches } from '../kernel/patches.ts';
import { refuseFunctions, refuseHiding, refuseLoad, refuseMemory } from '../kernel/preflight.ts';
import type { ForeignLivePatch, Refusal } from '../kernel/preflight.ts';
import { readFunctions } from '../kernel/tracing.ts';
import type { FunctionFindings } from '../kernel/tracing.ts';
import { voucherOf } from './trust/vouch.ts';
import type { Verification } from './trust/vouch.ts';

export interface LoadCheck extends ReadModule {
  readonly facts: KernelFacts;
  /** Why the kernel is not asked; undefined: it may be. */
  readonly refusal: Refusal | undefined;
  /** What could not be looked at, in words. */
  readonly unchecked: readonly string[];
}

export interface Verified {
  readonly host: Host;
  readonly verification: Verification;
}

/**
 * Everything is checked on fresh facts, and on the very bytes that are then given to the kernel. The kernel makes up its lists of functions while
 * they are read, which takes it longer than all else here: so they are read for a module that has passed the rest.
 */
export async function checkLoad({ host, verification }: Verified, wanted: WantedLivePatch, foreign: readonly ForeignLivePatch[]): Promise<LoadCheck> {
  const facts = await readFacts(host);
  const { bytes, finding } = await readModuleFile(host, wanted.hostPath, voucherOf(host, verification, wanted, facts));
  const refusal = refuseLoad(wanted, facts, finding) ?? refuseMemory(wanted, bytes.length, await readAvailableMemory(host)) ?? refuseHiding(wanted, listedFunctions(finding), foreign);
  if (refusal !== undefined) return { facts, bytes, finding, refusal, unchecked: [] };
  const { functions, unchecked } = await lookAtFunctions(host, finding);
  return { facts, bytes, finding, refusal: refuseFunctions(wanted, facts.release, functions), unchecked };
}

function listedFunctions(finding: ReadModule['finding']): readonly PatchedFunction[] {
  const listed = finding.kind === 'Read' ? finding.module?.functions : undefined;
  return listed === undefined || listed === 'unknown' ? [] : listed;
}

/** Functions of a module that is not loaded are left out: the kernel patches them when it comes. */
async function lookAtFunctions(host: Host, finding: ReadModule['finding']): Promise<FunctionFindings> {
  const listed = finding.kind === 'Read' ? finding.module?.functions : undefined;
  if (listed === undefined) return { functions: [], unchecked: [] };
  if (listed === 'unknown') return { functions: [], unchecked: ['which functions it patches (the module lists them in no form that is known)'] };
  const there = new Map<string, boolean>();
  for (const { object } of listed) if (!there.has(object)) there.set(object, await isObjectLoaded(host, object));
  const patches = [...(await readPatches(host, [])).values()];
  const livePatched = new Set(patches.flatMap(functionsOf).map((name) => name.replace(/,\d+$/, '')));
  return readFunctions(host, listed.filter(({ object }) => there.get(object)), livePatched);
}
