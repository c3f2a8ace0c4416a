import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as z from 'zod/mini';
import { FAIL_SAMPLES, GOOD_SAMPLES, definitionOf } from './samples.ts';

for (const sample of GOOD_SAMPLES) {
  test(`our own parser reads ${sample.file} and loses nothing that is written in it`, () => {
    const parsed = z.parse(definitionOf(sample).spec, sample.object.spec);
    assert.partialDeepStrictEqual(parsed, sample.object.spec);
  });
}

test('there is a good sample of every kind and at least 24 faulty ones', () => {
  assert.deepEqual(new Set(GOOD_SAMPLES.map((sample) => sample.object.kind)), new Set(['KernelPatch', 'NodeKernel', 'PatchPolicy']));
  assert.ok(FAIL_SAMPLES.length >= 24, `${FAIL_SAMPLES.length}`);
});
