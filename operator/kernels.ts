/** Which entry of a KernelPatch speaks about a running kernel. */
import type { KernelEntry, KernelPatchSpec } from '../crds/kernelpatch.ts';
import type { Kernel } from '../crds/nodekernel.ts';

export type KernelMatch =
  | { readonly kind: 'Entry'; readonly entry: KernelEntry }
  | { readonly kind: 'None'; readonly reason: 'KernelNotListed' | 'BuildIDMismatch' | 'BuildIDUnknown'; readonly message: string };

/**
 * The entry for the kernel: those of its exact release first, the first pattern that fits otherwise. Of several entries for one release the
 * one with the node's build id is taken, then the one without any. An exact release whose build ids all differ is another kernel of the
 * same name: no pattern is asked then.
 */
export function matchKernel(spec: KernelPatchSpec, kernel: Pick<Kernel, 'release' | 'buildID'>): KernelMatch {
  const exact = spec.kernels.filter((entry) => entry.release === kernel.release);
  if (exact.length > 0) return matchBuild(exact, kernel);
  const entry = spec.kernels.find(({ releasePattern }) => releasePattern !== undefined && fits(releasePattern, kernel.release));
  if (entry) return { kind: 'Entry', entry };
  return { kind: 'None', reason: 'KernelNotListed', message: `kernel ${kernel.release} is not listed: add it to spec.kernels with what is true for it` };
}

function matchBuild(exact: readonly KernelEntry[], { release, buildID }: Pick<Kernel, 'release' | 'buildID'>): KernelMatch {
  const known = buildID !== 'unknown';
  const entry = exact.find((candidate) => known && candidate.buildID === buildID) ?? exact.find((candidate) => candidate.buildID === undefined);
  const listed = exact.flatMap((candidate) => candidate.buildID ?? []).join(', ');
  if (!known && listed !== '') {
    return { kind: 'None', reason: 'BuildIDUnknown', message: `kernel ${release} is listed with build id ${listed}, and the node can not tell its own` };
  }
  if (entry) return { kind: 'Entry', entry };
  return { kind: 'None', reason: 'BuildIDMismatch', message: `kernel ${release} of the node has build id ${buildID}, listed is ${listed}: it is another kernel of that name; list it too` };
}

/** True when the release is the pattern with each * replaced by some characters. Each part is looked for once, so no pattern is slow. */
function fits(pattern: string, release: string): boolean {
  const [first = '', ...parts] = pattern.split('*');
  const last = parts.pop();
  if (last === undefined) return pattern === release;
  if (!release.startsWith(first)) return false;
  let at = first.length;
  for (const part of parts) {
    const found = release.indexOf(part, at);
    if (found < 0) return false;
    at = found + part.length;
  }
  return release.length - last.length >= at && release.endsWith(last);
}
