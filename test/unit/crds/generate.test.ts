import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { DIRECTORIES, driftOf, renderCrds } from '../../../crds/generate.ts';

/** A directory that holds exactly what is generated; removed after the test. */
function generated(t: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'kernelpatch-crds-'));
  t.after(() => rmSync(directory, { recursive: true }));
  for (const [name, text] of renderCrds()) writeFileSync(join(directory, name), text);
  return directory;
}
const FILE = 'kernelpatch.dev_kernelpatches.yaml';

test('the committed CustomResourceDefinitions, and the copies of the chart, are those of the zod source', () => {
  assert.deepEqual(DIRECTORIES.flatMap((directory) => driftOf(directory, renderCrds())), []);
});

test('files just written do not differ', (t) => {
  assert.deepEqual(driftOf(generated(t), renderCrds()), []);
});

test('an edited file is named with its first differing line', (t) => {
  const directory = generated(t);
  const text = renderCrds().get(FILE) ?? '';
  writeFileSync(join(directory, FILE), text.replace('scope: Cluster', 'scope: Namespaced'));
  const line = text.split('\n').findIndex((each) => each.includes('scope: Cluster')) + 1;
  assert.deepEqual(driftOf(directory, renderCrds()), [`${join(directory, FILE)}: line ${line} is "  scope: Namespaced", should be "  scope: Cluster"`]);
});

test('a line too many at the end is found', (t) => {
  const directory = generated(t);
  writeFileSync(join(directory, FILE), `${renderCrds().get(FILE)}more: true\n`);
  assert.match(driftOf(directory, renderCrds()).join(), /is "more: true", should be ""/);
});

test('a missing file and one of a kind that is gone are named', (t) => {
  const directory = generated(t);
  rmSync(join(directory, FILE));
  writeFileSync(join(directory, 'kernelpatch.dev_olds.yaml'), '');
  assert.deepEqual(driftOf(directory, renderCrds()), [`${join(directory, 'kernelpatch.dev_olds.yaml')}: belongs to no kind`, `${join(directory, FILE)}: is missing`]);
});
