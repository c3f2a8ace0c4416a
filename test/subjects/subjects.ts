/** The kernel modules the tests load, built once for each kernel of the node image (build.sh). */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from '../cache.ts';
import { stream } from '../process.ts';

/**
 * kp_first, kp_second: cumulative live patches of version_proc_show. kp_held: the same, and its transition waits for the readers of
 * /proc/kp_sleeper. kp_foreign, kp_over: of version_proc_show and not cumulative; kp_beside: the same of execdomains_proc_show. kp_sleeper: makes
 * /proc/kp_sleeper; with interruptible=1 a signal ends its reader. kp_plain: a module that is no live patch. kp_prober: holds version_proc_show with a
 * kprobe. kp_panic: a live patch whose load takes the node down. The others are live patches of a function that is missing, is there several times,
 * can not be hooked, has no replacement, and one that does not link.
 */
export type SubjectName =
  | 'kp_first' | 'kp_second' | 'kp_held' | 'kp_sleeper' | 'kp_plain' | 'kp_prober' | 'kp_panic'
  | 'kp_beside' | 'kp_foreign' | 'kp_over'
  | 'kp_missing' | 'kp_ambiguous' | 'kp_untraceable' | 'kp_null' | 'kp_unlinked';

export interface Subject {
  readonly name: SubjectName;
  readonly release: string;
  /** The file on this machine. */
  readonly file: string;
  readonly sha256: string;
}

/** Built for every release: about 2 minutes the first time. */
export async function buildSubjects(releases: readonly string[]): Promise<(name: SubjectName, release: string) => Subject> {
  const dir = await stream([join(ROOT, 'test/subjects/build.sh'), ...releases]);
  return (name, release) => {
    const file = join(dir, release, `${name}.ko`);
    return { name, release, file, sha256: createHash('sha256').update(readFileSync(file)).digest('hex') };
  };
}
