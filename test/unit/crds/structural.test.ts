import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as z from 'zod/mini';
import { doc } from '../../../crds/common.ts';
import { assertStructural, structuralSchema } from '../../../crds/structural.ts';

const object = (field: z.ZodMiniType) => structuralSchema(z.object({ field }));

test('a pattern with a message becomes a CEL rule, before the other rules of the field', () => {
  const schema = object(z.string().check(z.regex(/^[a-z]+$/), doc('field is a word.', { patternMessage: 'write a word', cel: [{ rule: 'self != "no"', message: 'not no' }] })));
  assert.deepEqual(schema.properties?.['field'], {
    type: 'string',
    description: 'field is a word.',
    'x-kubernetes-validations': [
      { rule: "self.matches(r'^[a-z]+$')", message: 'write a word' },
      { rule: 'self != "no"', message: 'not no' },
    ],
  });
});

test('a pattern without a message stays a pattern', () => {
  const schema = object(z.string().check(z.regex(/^[a-z]+$/), doc('field is a word.')));
  assert.deepEqual(schema.properties?.['field'], { type: 'string', description: 'field is a word.', pattern: '^[a-z]+$' });
});

test('an integer has the bounds that were written and no others', () => {
  assert.deepEqual(object(z.int().check(doc('field counts.'))).properties?.['field'], { type: 'integer', description: 'field counts.' });
  assert.deepEqual(object(z.int().check(z.minimum(0), doc('field counts.'))).properties?.['field'], { type: 'integer', description: 'field counts.', minimum: 0 });
});

test('a default and an optional field are not required', () => {
  const schema = structuralSchema(
    z.object({ given: z.string().check(doc('given.')), filled: z._default(z.boolean(), true).check(doc('filled.')), left: z.optional(z.string().check(doc('left.'))) }),
  );
  assert.deepEqual(schema.required, ['given']);
  assert.deepEqual(schema.properties?.['filled'], { type: 'boolean', description: 'filled.', default: true });
});

const refused: readonly (readonly [string, z.ZodMiniType, RegExp])[] = [
  ['a union', z.union([z.string(), z.int()]).check(doc('field.')), /Kind\.field: anyOf is not structural/],
  [
    'a discriminated union',
    z.discriminatedUnion('type', [z.object({ type: z.literal('a') }), z.object({ type: z.literal('b') })]).check(doc('field.')),
    /Kind\.field: oneOf is not structural/,
  ],
  ['a strict object', z.strictObject({}).check(doc('field.')), /Kind\.field: additionalProperties: false/],
  ['a pattern with lookahead', z.string().check(z.regex(/^(?!a)/), doc('field.')), /Kind\.field: the pattern looks around/],
  ['a pattern with lookbehind', z.string().check(z.regex(/(?<=a)b/), doc('field.')), /Kind\.field: the pattern looks around/],
  ['a pattern with lookahead in a CEL rule', z.string().check(z.regex(/^(?!a)/), doc('field.', { patternMessage: 'no' })), /Kind\.field: the pattern looks around/],
  ['a field without a description', z.string(), /Kind\.field: has no description/],
  ['a nested field without a description', z.array(z.object({ inner: z.string() })).check(doc('field.')), /Kind\.field\[\]\.inner: has no description/],
  ['any value', z.any().check(doc('field.')), /Kind\.field: has no single type/],
  ['a pattern message without a pattern', z.string().check(doc('field.', { patternMessage: 'no' })), /Kind\.field: .*without a pattern/],
];
for (const [what, field, message] of refused) {
  test(`${what} is refused, naming the field`, () => {
    assert.throws(() => assertStructural(object(field), 'Kind'), message);
  });
}
