import assert from 'node:assert/strict';
import { test } from 'node:test';
import { wakeable } from '../../../daemonset/wake.ts';
import { simulatedClock } from '../../simulated/clock.ts';

test('a pause lasts as long as it was asked for', async () => {
  const clock = simulatedClock();
  await wakeable(clock).sleep(5000);
  assert.equal(clock.monotonic(), 5000);
});

test('what happens before a pause or in it ends it, and only that one', async () => {
  const clock = simulatedClock();
  const wake = wakeable(clock);
  wake.up();
  await wake.sleep(5000);
  assert.equal(clock.monotonic(), 0);
  void clock.sleep(1000).then(() => wake.up());
  await wake.sleep(5000);
  assert.equal(clock.monotonic(), 1000);
  await wake.sleep(5000);
  assert.equal(clock.monotonic(), 6000);
});
