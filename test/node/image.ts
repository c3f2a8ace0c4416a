/** The node's disk image: built once by image/build.sh, kept in the cache, never written to. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { cacheDir, ROOT } from '../cache.ts';
import { clusterTools } from '../cluster/tools.ts';
import { must, stream } from '../process.ts';

export interface NodeImage {
  readonly dir: string;
  /** Raw, starts the older kernel by its own boot loader; the backing file of each node's own overlay. */
  readonly disk: string;
  /** The two installed kernels, older first, as `uname -r` prints them. */
  readonly kernels: readonly [string, string];
}

/** `archives` (OCI) are in the node's containerd afterwards, besides the sandbox image. */
export async function nodeImage(archives: readonly string[]): Promise<NodeImage> {
  const { bin } = await clusterTools();
  const pause = join(cacheDir(), 'pause-1.tar');
  if (!existsSync(pause)) await must([join(ROOT, 'test/node/image/pause/build.sh'), pause], { seconds: 300 });
  const dir = await stream([join(ROOT, 'test/node/image/build.sh'), bin, pause, ...archives]);
  const [older, newer] = readFileSync(join(dir, 'kernels.txt'), 'utf8').trim().split('\n');
  if (!older || !newer) throw new Error(`${dir}/kernels.txt does not name two kernels`);
  return { dir, disk: join(dir, 'disk.img'), kernels: [older, newer] };
}
