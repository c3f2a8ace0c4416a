/** Where slow products live between runs: outside the checkout, in folders named after what they were made from. */
import { mkdirSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';

/** The cache's folder, there afterwards: KERNELPATCH_CACHE, else kernelpatch below XDG_CACHE_HOME or ~/.cache. */
export function cacheDir(...below: string[]): string {
  const root = process.env['KERNELPATCH_CACHE'] ?? join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'kernelpatch');
  const dir = join(root, ...below);
  mkdirSync(dir, { recursive: true });
  return dir;
}

/** The checkout's root. */
export const ROOT = new URL('..', import.meta.url).pathname;
