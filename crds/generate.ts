/**
 * Writes the CustomResourceDefinitions, for people and for the chart. `--check` writes nothing and exits 1 when a file is not what would
 * be written, so that the committed YAML can not drift from the zod source.
 */
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { stringify } from 'yaml';
import { GROUP } from './common.ts';
import type { KindDefinition } from './common.ts';
import { kernelPatchDefinition } from './kernelpatch.ts';
import { nodeKernelDefinition } from './nodekernel.ts';
import { patchPolicyDefinition } from './patchpolicy.ts';
import { customResourceDefinition } from './structural.ts';

export const KINDS: readonly KindDefinition[] = [kernelPatchDefinition, patchPolicyDefinition, nodeKernelDefinition];

const ROOT = join(import.meta.dirname, '..');
/** The chart can only read files inside itself, so it has copies. */
export const DIRECTORIES = [join(ROOT, 'crds/generated'), join(ROOT, 'charts/kernelpatch/files/crds')];

const HEADER = '# Written by crds/generate.ts from the zod schemas in crds/. Change those, then run it again.\n';

/** File name to text, one for each kind. */
export function renderCrds(): ReadonlyMap<string, string> {
  return new Map(
    KINDS.map((kind) => [
      `${GROUP}_${kind.plural}.yaml`,
      HEADER + stringify(customResourceDefinition(kind), { lineWidth: 0, aliasDuplicateObjects: false, sortMapEntries: true }),
    ]),
  );
}

function firstDifference(have: string, want: string): string {
  const haveLines = have.split('\n');
  const wantLines = want.split('\n');
  const at = wantLines.findIndex((line, index) => line !== haveLines[index]);
  const line = at === -1 ? wantLines.length : at;
  return `line ${line + 1} is ${JSON.stringify(haveLines[line] ?? '')}, should be ${JSON.stringify(wantLines[line] ?? '')}`;
}

/** What differs between a directory and the files it should hold, a line each; empty when nothing does. */
export function driftOf(directory: string, files: ReadonlyMap<string, string>): string[] {
  const present = existsSync(directory) ? readdirSync(directory) : [];
  const foreign = present.filter((name) => !files.has(name)).map((name) => `${join(directory, name)}: belongs to no kind`);
  const differing = [...files].flatMap(([name, want]) => {
    const path = join(directory, name);
    if (!present.includes(name)) return [`${path}: is missing`];
    const have = readFileSync(path, 'utf8');
    return have === want ? [] : [`${path}: ${firstDifference(have, want)}`];
  });
  return [...foreign, ...differing];
}

/** Leaves exactly the given files in the directory. */
function write(directory: string, files: ReadonlyMap<string, string>): void {
  rmSync(directory, { recursive: true, force: true });
  mkdirSync(directory, { recursive: true });
  for (const [name, text] of files) writeFileSync(join(directory, name), text);
}

function main(): void {
  const files = renderCrds();
  if (process.argv.includes('--check')) {
    const drift = DIRECTORIES.flatMap((directory) => driftOf(directory, files));
    if (drift.length === 0) return;
    process.stderr.write(`the generated CustomResourceDefinitions are not those of crds/*.ts; run: node crds/generate.ts\n`);
    for (const line of drift) process.stderr.write(`  ${relative(process.cwd(), line)}\n`);
    process.exitCode = 1;
    return;
  }
  for (const directory of DIRECTORIES) {
    write(directory, files);
    process.stdout.write(`${files.size} files in ${relative(process.cwd(), directory)}\n`);
  }
}

if (import.meta.main) main();
