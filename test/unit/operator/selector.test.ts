import assert from 'node:assert/strict';
import { test } from 'node:test';
import { selects } from '../../../operator/selector.ts';

const labels = { pool: 'gpu', zone: 'a' };
const expression = (key: string, operator: 'In' | 'NotIn' | 'Exists' | 'DoesNotExist', values?: string[]) => ({ matchExpressions: [{ key, operator, ...(values && { values }) }] });

for (const [sentence, selector, selected] of [
  ['the empty selector selects everything', {}, true],
  ['all pairs must be there', { matchLabels: { pool: 'gpu', zone: 'a' } }, true],
  ['one pair that differs is enough', { matchLabels: { pool: 'gpu', zone: 'b' } }, false],
  ['In is one of the values', expression('zone', 'In', ['a', 'b']), true],
  ['In needs the label', expression('rack', 'In', ['a']), false],
  ['NotIn is none of the values', expression('zone', 'NotIn', ['a']), false],
  ['NotIn does not need the label', expression('rack', 'NotIn', ['a']), true],
  ['Exists needs the label', expression('rack', 'Exists'), false],
  ['DoesNotExist needs it to be absent', expression('rack', 'DoesNotExist'), true],
  ['pairs and expressions must both hold', { matchLabels: { pool: 'gpu' }, ...expression('zone', 'DoesNotExist') }, false],
] as const) {
  test(sentence, () => assert.equal(selects(selector, labels), selected));
}
