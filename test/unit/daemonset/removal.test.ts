import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pino } from 'pino';
import type { Listed } from '../../../daemonset/api.ts';
import { isRemoved } from '../../../daemonset/removal.ts';
import { KernelPatchError } from '../../../kernel/errors.ts';
import { simulatedClock } from '../../simulated/clock.ts';

type Answer = 'There' | 'None' | 'ApiForbidden' | 'ApiNotFound' | 'ApiUnreachable' | 'ApiBusy';

const CASES: readonly (readonly [what: string, answers: readonly Answer[], removed: boolean, seconds: number])[] = [
  ['the NodeKernel is gone', ['None'], true, 0],
  ['the kind is gone', ['ApiNotFound'], true, 0],
  ['the rights are gone', ['ApiForbidden'], true, 0],
  ['the API server can not be reached', ['ApiUnreachable'], false, 0],
  ['the API server is busy', ['ApiBusy'], false, 0],
  ['the NodeKernel is there: only the pod is replaced', ['There', 'There'], false, 5],
  ['an uninstall has only begun', ['There', 'ApiForbidden'], true, 5],
  ['the NodeKernel is there, and then nobody answers', ['There', 'ApiUnreachable'], false, 5],
];

for (const [what, answers, removed, seconds] of CASES) {
  test(`an agent that ends while ${what}: the product is ${removed ? 'removed' : 'kept'}`, async () => {
    const clock = simulatedClock();
    const left = [...answers];
    const list = async (): Promise<Listed> => {
      const answer = left.shift();
      assert.ok(answer, 'not asked more often');
      if (answer !== 'There' && answer !== 'None') throw new KernelPatchError(answer, 'as the API server says');
      return { object: answer === 'There' ? { metadata: { name: 'node-1' }, spec: {} } : undefined, resourceVersion: '1' };
    };
    assert.equal(await isRemoved({ list }, clock, pino({ level: 'silent' })), removed);
    assert.deepEqual([left, clock.monotonic()], [[], seconds * 1000]);
  });
}
