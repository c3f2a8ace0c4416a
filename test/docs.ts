/** Tables of the documentation, for tests that hold them true. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from './cache.ts';

/** The rows below the first table head of `file` that begins with these columns, cell by cell. Throws when there is none. */
export function tableOf(file: string, ...columns: readonly string[]): readonly (readonly string[])[] {
  const lines = readFileSync(join(ROOT, file), 'utf8').split('\n');
  const head = lines.findIndex((line) => columns.every((column, index) => cellsOf(line)[index] === column));
  if (head === -1) throw new Error(`${file} has no table with the columns ${columns.join(', ')}`);
  const rows = lines.slice(head + 2);
  const end = rows.findIndex((line) => !line.startsWith('|'));
  return rows.slice(0, end === -1 ? undefined : end).map(cellsOf);
}

function cellsOf(line: string): readonly string[] {
  return line.startsWith('|') ? line.split('|').slice(1, -1).map((cell) => cell.trim()) : [];
}
