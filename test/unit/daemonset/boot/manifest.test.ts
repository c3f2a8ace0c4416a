import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { encodeManifest, parseManifest } from '../../../../daemonset/boot/manifest.ts';

const hex = (bytes: number) => fc.uint8Array({ minLength: bytes, maxLength: bytes }).map((value) => Buffer.from(value).toString('hex'));
const module = fc.record({ name: fc.constantFrom('livepatch_fix', 'kp_2'), sha256: hex(32), buildID: hex(20), lift: fc.string({ unit: 'binary', maxLength: 64 }) }, { noNullPrototype: true });

test('what was written is read, whatever the lifting word is', () => {
  fc.assert(
    fc.property(hex(20), fc.array(module, { maxLength: 5 }), (kernelBuildID, modules) => {
      const text = encodeManifest({ kernelBuildID, modules });
      assert.deepEqual(parseManifest(text), { kernelBuildID, modules });
      assert.equal(text.split('\n').length, modules.length + 2, 'one line each');
    }),
    { numRuns: 10_000, examples: [['ab'.repeat(20), [{ name: 'kp_2', sha256: 'cd'.repeat(32), buildID: 'ef'.repeat(20), lift: '\u2028 \n "' }]]] },
  );
});

test('whatever the text is, reading it never throws, and a line that is no module names none', () => {
  fc.assert(fc.property(fc.string({ unit: 'binary' }), (text) => parseManifest(text).modules.length <= text.split('\n').length), { numRuns: 2000 });
  assert.deepEqual(parseManifest('ab\nno module\na b c "\\x"\n'), { kernelBuildID: 'ab', modules: [] });
});
