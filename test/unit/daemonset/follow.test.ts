import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pino } from 'pino';
import type { NodeKernel } from '../../../crds/nodekernel.ts';
import type { Api, WatchEvent } from '../../../daemonset/api.ts';
import { follow } from '../../../daemonset/follow.ts';
import { createMetrics } from '../../../daemonset/metrics.ts';
import { KernelPatchError } from '../../../kernel/errors.ts';
import { simulatedClock, until } from '../../simulated/clock.ts';

const objectOf = (generation: number): NodeKernel => ({ metadata: { name: 'node-1', generation }, spec: {} });
const lost = () => new KernelPatchError('ApiUnreachable', 'the connection is gone');

interface Script {
  readonly list: NodeKernel | 'fails' | undefined;
  readonly events?: readonly WatchEvent[];
  /** How the watch goes on after its events. */
  readonly end?: 'ends' | 'fails' | 'stays';
}

function following(scripts: readonly Script[]) {
  const clock = simulatedClock();
  const seen: (number | undefined)[] = [];
  const listedAt: number[] = [];
  let script: Script = { list: undefined };
  const api: Pick<Api, 'list' | 'watch'> = {
    async list() {
      script = scripts[Math.min(listedAt.length, scripts.length - 1)] ?? script;
      listedAt.push(clock.monotonic());
      if (script.list === 'fails') throw lost();
      return { object: script.list, resourceVersion: '1' };
    },
    async *watch(_, signal) {
      yield* script.events ?? [];
      if (script.end === 'fails') throw lost();
      if (script.end !== 'ends') await clock.sleep(600_000, signal);
    },
  };
  const stop = new AbortController();
  const ended = follow({ api, clock, random: () => 1, log: pino({ level: 'silent' }), metrics: createMetrics() }, (object) => seen.push(object?.metadata.generation), stop.signal);
  const dispose = async () => {
    stop.abort();
    await ended;
    clock.stop();
  };
  return { clock, seen, listedAt, [Symbol.asyncDispose]: dispose };
}

test('the agent is told of what the list has and of each change', async () => {
  await using followed = following([{ list: objectOf(1), events: [{ type: 'Changed', object: objectOf(2) }, { type: 'Deleted' }] }]);
  await until(followed.clock, 'all three', () => followed.seen.length === 3);
  assert.deepEqual(followed.seen, [1, 2, undefined]);
});

test('after every failure of list and watch the object is listed again', async () => {
  await using followed = following([{ list: 'fails' }, { list: objectOf(1), end: 'fails' }, { list: objectOf(2), end: 'ends' }, { list: objectOf(3) }]);
  await until(followed.clock, 'the last list', () => followed.seen.length === 3);
  assert.deepEqual(followed.seen, [1, 2, 3]);
});

test('pauses double up to half a minute, and a watch that ends at once is no success', async () => {
  await using followed = following([{ list: objectOf(1), end: 'ends' }]);
  await until(followed.clock, 'ten lists', () => followed.listedAt.length === 10);
  const pauses = followed.listedAt.map((at, index) => at - (followed.listedAt[index - 1] ?? 0)).slice(1);
  assert.deepEqual(pauses, [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]);
});

test('after a watch that lasted the pause is short again', async () => {
  await using followed = following([{ list: 'fails' }, { list: 'fails' }, { list: 'fails' }, { list: objectOf(1) }, { list: objectOf(2) }]);
  await until(followed.clock, 'the list after the watch', () => followed.listedAt.length === 5, 1000);
  assert.equal((followed.listedAt[4] ?? 0) - (followed.listedAt[3] ?? 0), 600_000 + 500);
});
