/** The keys of the ConfigMap that the chart makes, as the kubelet shows it in the agent's own file system. */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { errnoOf } from '../../kernel/errors.ts';
import type { KeyFile } from '../../trust/keys.ts';

/** The files, or why they can not be read. A directory that is not there holds none. The kubelet's own entries begin with a dot. */
export async function readKeyFiles(directory: string): Promise<readonly KeyFile[] | string> {
  try {
    const names = (await readdir(directory)).filter((name) => !name.startsWith('.')).sort();
    return await Promise.all(names.map(async (name) => ({ name, text: await readFile(join(directory, name), 'utf8') })));
  } catch (error) {
    return errnoOf(error) === 'ENOENT' ? [] : `${directory} can not be read: ${errnoOf(error) ?? String(error)}`;
  }
}
