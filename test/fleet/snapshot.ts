/** Saved clusters in the cache: etcd's data, certificates and ports of the control plane, memory and disk of each node. */
import { createHash } from 'node:crypto';
import { cpSync, existsSync, readFileSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { cacheDir, ROOT } from '../cache.ts';

/** A digest of everything below the files and folders of the checkout. */
export function digestOf(paths: readonly string[], ...more: readonly string[]): string {
  const hash = createHash('sha256').update(more.join('\n'));
  for (const path of paths) {
    const whole = join(ROOT, path);
    const files = path.includes('.') ? [whole] : readdirSync(whole, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name)).sort();
    for (const file of files) hash.update(file.slice(ROOT.length)).update(readFileSync(file));
  }
  return hash.digest('hex').slice(0, 12);
}

export interface Snapshot {
  readonly dir: string;
  readonly exists: boolean;
}

/** The snapshot of `kind` made from inputs with this digest. */
export function snapshotOf(kind: string, digest: string): Snapshot {
  const dir = join(cacheDir(), `${kind}-${digest}`);
  return { dir, exists: existsSync(join(dir, 'complete')) };
}

/** Holds the files of the stopped cluster in `dir` afterwards. Snapshots of the same kind from other inputs are removed: each is 1 GB. */
export function keepSnapshot(snapshot: Snapshot, dir: string): void {
  const name = basename(snapshot.dir);
  const kind = name.slice(0, name.lastIndexOf('-') + 1);
  for (const other of readdirSync(cacheDir())) {
    if (other.startsWith(kind) && /^[0-9a-f]{12}(\.part)?$/.test(other.slice(kind.length))) rmSync(join(cacheDir(), other), { recursive: true, force: true });
  }
  const part = `${snapshot.dir}.part`;
  for (const file of readdirSync(dir)) cpSync(join(dir, file), join(part, file), { recursive: true });
  rmSync(join(part, 'control', 'log'), { recursive: true, force: true });
  writeFileSync(join(part, 'complete'), '');
  renameSync(part, snapshot.dir);
}
