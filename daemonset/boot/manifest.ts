/** What a node loads by itself at its next boot of the running kernel: which live patches, and the file that tells load.sh. Pure. */
import type { Entry } from '../decide.ts';
import { STEPS } from '../steps.ts';

export interface BootModule {
  readonly name: string;
  readonly sha256: string;
  /** Of the module: by it the agent knows it again after the boot. */
  readonly buildID: string;
  /** The word under which it was loaded after a quarantine; empty: none. */
  readonly lift: string;
}

export interface Manifest {
  /** Of the kernel that the modules were seen to work on; unknown when it does not tell. */
  readonly kernelBuildID: string;
  /** In the order they are loaded. */
  readonly modules: readonly BootModule[];
}

/**
 * Those that are active, ours and committed. One that is there stays while its state is still being found out or repaired, so that an agent
 * that starts does not take out what it puts back a moment later. What is to be absent, held back, replaced, failed or refused goes.
 */
export function chooseModules(entries: readonly Entry[], kept: readonly BootModule[]): readonly BootModule[] {
  return entries.flatMap(({ view, step }) => {
    const { wanted, kernel, quarantine, uncommitted } = view;
    if (wanted.desired === 'Absent' || quarantine !== undefined) return [];
    if (STEPS[step.name].kind !== 'Final') return kept.filter(({ name, sha256 }) => name === wanted.name && sha256 === wanted.sha256);
    const buildID = kernel.module?.buildID ?? 'unknown';
    if (step.reason !== 'Active' || uncommitted !== undefined || buildID === 'unknown') return [];
    return [{ name: wanted.name, sha256: wanted.sha256, buildID, lift: wanted.liftQuarantine ?? '' }];
  });
}

/** The kernel's build id, then a line for each module: digest, name, build id, and the lifting word as JSON, since it may have any character. */
export function encodeManifest({ kernelBuildID, modules }: Manifest): string {
  return [kernelBuildID, ...modules.map(({ name, sha256, buildID, lift }) => `${sha256} ${name} ${buildID} ${JSON.stringify(lift)}`), ''].join('\n');
}

/** Lines that are no module's are left out. Never throws. */
export function parseManifest(text: string): Manifest {
  const [kernelBuildID = '', ...lines] = text.split('\n');
  return { kernelBuildID, modules: lines.flatMap(parseLine) };
}

function parseLine(line: string): readonly BootModule[] {
  const [, sha256 = '', name = '', buildID = '', json = ''] = /^(\S+) (\S+) (\S+) (".*")$/s.exec(line) ?? [];
  try {
    return [{ name, sha256, buildID, lift: String(JSON.parse(json)) }];
  } catch {
    return [];
  }
}
