import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { mergePatch } from '../../../operator/kube/merge.ts';
import { merge } from './world.ts';

type Fields = Readonly<Record<string, unknown>>;

const leaf = fc.oneof(fc.constantFrom('a', 'b', 1, true), fc.array(fc.oneof(fc.constantFrom<unknown>('x', 2), fc.record({ y: fc.constant(1) })), { maxLength: 2 }));
/** Objects as a spec is one: without nulls, and with fields that may be absent. */
const { fields } = fc.letrec<{ fields: Fields; value: unknown }>((tie) => ({
  fields: fc.dictionary(fc.constantFrom('p', 'q', 'r'), fc.option(tie('value'), { nil: undefined }), { maxKeys: 3, noNullPrototype: true }),
  value: fc.oneof({ depthSize: 'medium' }, leaf, tie('fields')),
}));

const asJSON = (value: unknown): unknown => JSON.parse(JSON.stringify(value));

test('what is merged is exactly what was to be, whatever was there', () => {
  fc.assert(fc.property(fields, fields, (from, to) => assert.deepEqual(merge(asJSON(from), asJSON(mergePatch(from, to))), asJSON(to))), { numRuns: 1000 });
});

test('of two that are the same nothing is sent but what both have', () => {
  assert.deepEqual(mergePatch({ a: { b: 1 }, c: [1] }, { a: { b: 1 }, c: [1] }), { a: { b: 1 }, c: [1] });
});

test('a field that is no more is taken out, at any depth, and a list is replaced as a whole', () => {
  assert.deepEqual(mergePatch({ reboot: { id: 'a', deadline: 'now' }, plan: {}, list: [1, 2] }, { reboot: { id: 'b' }, list: [2] }), { plan: null, reboot: { deadline: null, id: 'b' }, list: [2] });
});
