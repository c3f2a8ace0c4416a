import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { KernelPatchError } from '../../../operator/errors.ts';
import { backoffMs } from '../../../operator/kube/backoff.ts';
import { makeQueue } from '../../../operator/kube/queue.ts';
import type { QueueOptions } from '../../../operator/kube/queue.ts';
import { waitFor } from '../../wait.ts';

function aQueue(run: QueueOptions<string>['run'], retries: number[] = []) {
  return makeQueue({ run, onError: (_key, _error, retryInMs) => retries.push(retryInMs), backoff: { firstMs: 2, capMs: 16 }, random: () => 1 });
}

/** A run that lasts until it is let go. */
function aGate() {
  const { promise, resolve } = Promise.withResolvers<void>();
  return { promise, open: resolve };
}

test('a key added many times while it runs runs once more, and never beside itself', async () => {
  const gate = aGate();
  let runs = 0;
  let atOnce = 0;
  const queue = aQueue(async () => {
    runs += 1;
    atOnce += 1;
    assert.equal(atOnce, 1);
    if (runs === 1) await gate.promise;
    atOnce -= 1;
    return undefined;
  });
  for (let count = 0; count < 100; count += 1) queue.add('a');
  gate.open();
  await waitFor('the second run', { seconds: 60, every: 1 }, () => (runs === 2 ? true : undefined));
  await queue.stop();
  assert.equal(runs, 2);
});

test('different keys run beside each other', async () => {
  const gate = aGate();
  const running = new Set<string>();
  const queue = aQueue(async (key) => {
    running.add(key);
    await gate.promise;
    return undefined;
  });
  queue.add('a');
  queue.add('b');
  assert.deepEqual([...running], ['a', 'b']);
  gate.open();
  await queue.stop();
});

test('a failing key comes back after a growing wait, which a success resets', async () => {
  const retries: number[] = [];
  let runs = 0;
  const queue = aQueue(async () => {
    runs += 1;
    if (runs < 6) throw new Error('not yet');
    return undefined;
  }, retries);
  queue.add('a');
  await waitFor('a success', { seconds: 60, every: 1 }, () => (runs === 6 ? true : undefined));
  assert.deepEqual(retries, [2, 4, 8, 16, 16]);
  await queue.stop();
});

test('what the API server asks for with Retry-After is waited for, whatever changes meanwhile', async () => {
  const ranAt: number[] = [];
  const queue = aQueue(async () => {
    ranAt.push(performance.now());
    if (ranAt.length === 1) throw new KernelPatchError('TooMany', 'slow down', { retryAfterSeconds: 0.1 });
    return undefined;
  });
  queue.add('a');
  await turn();
  queue.add('a');
  queue.addAfter('a', 1);
  await waitFor('the second run', { seconds: 60, every: 1 }, () => (ranAt.length === 2 ? true : undefined));
  assert.ok((ranAt[1] ?? 0) - (ranAt[0] ?? 0) >= 95);
  await queue.stop();
});

test('of two appointments the earlier one is kept, and a run may ask for the next', async () => {
  let runs = 0;
  const queue = aQueue(async () => {
    runs += 1;
    return runs < 3 ? 1 : undefined;
  });
  queue.addAfter('a', 5);
  queue.addAfter('a', 60_000);
  await waitFor('three runs', { seconds: 60, every: 1 }, () => (runs === 3 ? true : undefined));
  await queue.stop();
});

test('nothing runs after stop, and stop waits for what runs', async () => {
  const gate = aGate();
  let runs = 0;
  const queue = aQueue(async () => {
    runs += 1;
    await gate.promise;
    return 1;
  });
  queue.add('a');
  queue.add('a');
  const stopped = queue.stop();
  gate.open();
  await stopped;
  queue.add('a');
  queue.add('b');
  await turn();
  assert.equal(runs, 1);
});

test('a wait is doubled up to its cap and lies in its upper half', () => {
  const backoff = { firstMs: 100, capMs: 1000 };
  assert.deepEqual([1, 2, 3, 4, 5, 100].map((failures) => backoffMs(backoff, failures, () => 1)), [100, 200, 400, 800, 1000, 1000]);
  assert.equal(backoffMs(backoff, 1, () => 0), 50);
});
