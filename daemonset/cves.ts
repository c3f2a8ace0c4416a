/** How the node stands towards each CVE of its plan, and which kernel it is as good as. Pure. */
import { CVE_STATES, KERNEL_FIXED } from '../crds/nodekernel.ts';
import type { CveState, Cves, Plan } from '../crds/nodekernel.ts';
import type { KernelFacts } from '../kernel/facts.ts';
import { isNewer } from '../kernel/release.ts';

type PatchDecision = Plan['patches'][number];

/** What counts where several KernelPatches name one CVE: an active live patch closes it whatever the others say; else the worst of them is believed. */
const FIRST_COUNTS: readonly CveState[] = ['fixedLive', 'open', 'withheld', 'unknown', 'fixedByKernel', 'notAffected'];

const CLOSED: ReadonlySet<CveState> = new Set(['fixedLive', 'fixedByKernel', 'notAffected']);

/** `active` are the names of the live patches that are wanted and active. */
export function describeCves(plan: Plan | undefined, active: ReadonlySet<string>, { bootID, release }: Pick<KernelFacts, 'bootID' | 'release'>): { readonly cves: Cves; readonly effectiveRelease: string } {
  const states = new Map<string, CveState>();
  for (const patch of plan?.patches ?? []) {
    const state = plan?.bootID === bootID ? stateOf(patch, plan.mode, active) : 'unknown';
    for (const cve of patch.cves ?? []) states.set(cve, firstToCount(state, states.get(cve) ?? state));
  }
  return { cves: listed(states), effectiveRelease: effectiveRelease(release, plan?.patches ?? [], states) };
}

function stateOf({ action, reason, livePatch = '', needs }: PatchDecision, mode: Plan['mode'], active: ReadonlySet<string>): CveState {
  switch (action) {
    case 'None':
      return reason === KERNEL_FIXED ? 'fixedByKernel' : 'notAffected';
    case 'Unknown':
      return 'unknown';
    case 'Blocked':
      return needs === undefined ? 'open' : 'withheld';
    case 'LivePatch':
      return active.has(livePatch) ? 'fixedLive' : notCarriedOut(mode);
    case 'Kexec':
    case 'Reboot':
      return notCarriedOut(mode);
    default:
      return action satisfies never;
  }
}

function notCarriedOut(mode: Plan['mode']): CveState {
  return mode === 'Plan' ? 'withheld' : 'open';
}

function firstToCount(a: CveState, b: CveState): CveState {
  return FIRST_COUNTS.indexOf(a) < FIRST_COUNTS.indexOf(b) ? a : b;
}

function listed(states: ReadonlyMap<string, CveState>): Cves {
  const cves = [...states.keys()].sort();
  const lists = Object.fromEntries(CVE_STATES.map((state) => [state, cves.filter((cve) => states.get(cve) === state)])) as Record<CveState, string[]>;
  return { closed: `${cves.filter((cve) => isClosed(states, cve)).length}/${cves.length}`, ...lists };
}

function isClosed(states: ReadonlyMap<string, CveState>, cve: string): boolean {
  return CLOSED.has(states.get(cve) ?? 'unknown');
}

/**
 * The newest kernel R that a patch names as fixed (fixedIn) for which every patch with a fix in R or before, or in a kernel that can not be
 * compared with R, has all its CVEs closed here; the running one when there is none. A patch that names no fixed kernel says nothing about any R.
 */
function effectiveRelease(running: string, patches: readonly PatchDecision[], states: ReadonlyMap<string, CveState>): string {
  const named = patches.flatMap(({ fixedIn, cves }) => (fixedIn === undefined ? [] : [{ fixedIn, closed: cves?.every((cve) => isClosed(states, cve)) ?? false }]));
  const missing = named.filter(({ closed }) => !closed);
  const reached = named.filter(({ fixedIn }) => isNewer(fixedIn, running) && missing.every((other) => isNewer(other.fixedIn, fixedIn)));
  return reached.reduce((newest, { fixedIn }) => (isNewer(fixedIn, newest) ? fixedIn : newest), running);
}
