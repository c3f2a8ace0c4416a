import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import { setTimeout as delay } from 'node:timers/promises';
import { makeInformer } from '../../../operator/kube/informer.ts';
import type { Informer, InformerOptions, Restart } from '../../../operator/kube/informer.ts';
import { waitFor } from '../../wait.ts';
import { ApiServer, failsWith, hangs, resets, says } from './api-server.ts';
import type { Spoiler } from './api-server.ts';

let api: ApiServer;
let informer: Informer<string> | undefined;
let restarts: Restart[];

beforeEach(async () => {
  api = await ApiServer.start();
  restarts = [];
  for (const name of ['a', 'b', 'c']) api.set(name, 'first');
});

afterEach(async () => {
  await informer?.stop();
  await api.stop();
});

function start(options: Partial<InformerOptions<string>> = {}): Informer<string> {
  informer = makeInformer<string>({
    client: api.client(),
    resource: { kind: 'Thing', apiVersion: 'v1', path: '/things' },
    project: ({ metadata, value }) => `${metadata.name}=${String(value)}`,
    onChange: () => undefined,
    onRestart: (restart) => restarts.push(restart),
    onUnreadable: () => undefined,
    timing: { idleMs: 200, relistMs: 60_000, backoff: { firstMs: 2, capMs: 20 } },
    random: () => 1,
    ...options,
  });
  informer.start();
  return informer;
}

function shown(): readonly string[] {
  return [...(informer?.cache.values() ?? [])].sort();
}

/** Waits until the cache shows exactly what the server has. */
async function untilEqual(): Promise<void> {
  const isEqual = () => isDeepStrictEqual(shown(), [...api.objects.values()].map(({ metadata, value }) => `${metadata.name}=${value}`).sort());
  await waitFor('the cache to be what the server has', { seconds: 60, every: 2 }, () => (informer?.hasSynced() && isEqual()) || undefined, shown);
}

/** The informer follows every kind of change. */
async function proveAlive(): Promise<void> {
  await untilEqual();
  api.set('a', 'changed');
  api.delete('b');
  api.set('d', 'new');
  await untilEqual();
}

const added = (name: string) => `${JSON.stringify({ type: 'ADDED', object: { metadata: { name, resourceVersion: '1' }, value: 'half' } })}\n`;
const errorEvent = (code: number) => `${JSON.stringify({ type: 'ERROR', object: { kind: 'Status', metadata: {}, code, message: 'spoilt' } })}\n`;

test('a list and its changes come over one connection', async () => {
  start();
  await proveAlive();
  assert.deepEqual(api.requests.map((query) => query.get('sendInitialEvents')), ['true']);
  assert.deepEqual(restarts, []);
});

const atStart: Readonly<Record<string, readonly Spoiler[]>> = {
  'a list that fails with 500': [failsWith(500)],
  'a list that fails five times in a row': [500, 503, 500, 500, 502].map((status) => failsWith(status)),
  'a page that fails with 500': [failsWith(400), failsWith(500)],
  'a watch that fails with 500 after its pages': [failsWith(400), () => false, () => false, failsWith(500)],
  'pages that have become too old halfway': [failsWith(400), () => false, failsWith(410)],
  'a server that does not know WatchList': [failsWith(422)],
  'a server that does not serve the kind yet': [failsWith(404), failsWith(404)],
  'a server that asks for patience': [failsWith(429)],
  'a connection that is reset at once': [resets],
  'a request that is never answered': [hangs],
  'a list that stops halfway and stays silent': [says(added('a'), { ends: false })],
  'a list that ends halfway': [says(added('half'), { ends: true })],
  'a list that breaks off in the middle of a line': [says(added('half').slice(0, 30), { ends: true })],
  'a list with a line that is not JSON': [says(`${added('half')}{"type":`.concat('\n'), { ends: true })],
  'a list with a line that is no event': [says('{"kind":"Status"}\n', { ends: true })],
  'a list with an event nobody knows': [says('{"type":"SURPRISE","object":{"metadata":{}}}\n', { ends: true })],
  'a list that ends with an error': [says(errorEvent(500), { ends: true })],
};
for (const [trouble, spoilers] of Object.entries(atStart)) {
  test(`${trouble} is overcome, and nobody sees half a list`, async () => {
    api.spoilers.push(...spoilers);
    const seen: string[] = [];
    start({ onChange: () => seen.push(shown().join()) });
    await proveAlive();
    assert.ok(restarts.length > 0);
    assert.equal(seen[0], 'a=first,b=first,c=first');
  });
}

const later: Readonly<Record<string, (server: ApiServer) => void>> = {
  'a connection that is reset': (server) => server.reset(),
  'a line that is not JSON': (server) => server.send('{"type":"MODI\n'),
  'an error that says the version is gone': (server) => server.send(errorEvent(410)),
  'an error that says nothing': (server) => server.send(errorEvent(500)),
  'a reset, then a version that is gone': (server) => {
    server.compact();
    server.reset();
  },
  'a reset, then a refusal that says the version is gone': (server) => {
    server.spoilers.push(failsWith(410));
    server.reset();
  },
  'a reset, then a watch that fails with 500': (server) => {
    server.spoilers.push(failsWith(500));
    server.reset();
  },
  'a reset, then silence': (server) => {
    server.spoilers.push(hangs);
    server.reset();
  },
};
for (const [trouble, make] of Object.entries(later)) {
  test(`${trouble} in a running watch is overcome, and nothing that happened meanwhile is missed`, async () => {
    start();
    await untilEqual();
    make(api);
    api.set('c', 'meanwhile');
    api.delete('b');
    await untilEqual();
    await proveAlive();
    assert.ok(restarts.length > 0);
  });
}

test('a connection that falls silent is given up', async () => {
  start();
  await untilEqual();
  await waitFor('a restart', { seconds: 60, every: 5 }, () => restarts[0]);
  assert.equal(restarts[0]?.code, 'Silent');
  await proveAlive();
});

test('an event that was lost is made good by the next list', async () => {
  start({ timing: { idleMs: 5000, relistMs: 100, backoff: { firstMs: 2, capMs: 20 } } });
  await untilEqual();
  api.set('a', 'unheard', { lost: true });
  await untilEqual();
  assert.deepEqual(restarts, [], 'a list that is due is no trouble');
});

test('a watch that resumes does not list again', async () => {
  start();
  await untilEqual();
  api.reset();
  await proveAlive();
  assert.deepEqual(api.requests.map((query) => query.get('sendInitialEvents')), ['true', null]);
});

test('a listener that throws breaks nothing', async () => {
  start({
    onChange: () => {
      throw new Error('listener');
    },
  });
  await proveAlive();
});

test('an object that can not be read is left out, and the others are there', async () => {
  const unreadable: string[] = [];
  start({
    project: ({ metadata }) => {
      if (metadata.name === 'b') throw new Error('not understood');
      return metadata.name;
    },
    onUnreadable: (_kind, name) => unreadable.push(name),
  });
  await waitFor('the list', { seconds: 60, every: 2 }, () => (informer?.hasSynced() ? true : undefined));
  assert.deepEqual(shown(), ['a', 'c']);
  assert.deepEqual(unreadable, ['b']);
});

test('the wait grows with the failures in a row, and Retry-After is honoured', async () => {
  api.spoilers.push(failsWith(500), failsWith(500), failsWith(429, { 'Retry-After': '1' }));
  const startedAt = performance.now();
  // A connection that lasts longer than the cap begins the count anew, and on a busy machine each lasts some time.
  start({ timing: { idleMs: 60_000, relistMs: 60_000, backoff: { firstMs: 2, capMs: 30_000 } } });
  await untilEqual();
  assert.deepEqual(restarts.map(({ failures }) => failures), [1, 2, 3]);
  assert.ok(performance.now() - startedAt >= 1000);
});

for (const [moment, prepare] of [
  ['in the middle of a watch', () => undefined],
  ['while it waits to try again', () => api.spoilers.push(...Array.from({ length: 1000 }, () => failsWith(500)))],
  ['while a request hangs', () => api.spoilers.push(hangs)],
] as const) {
  test(`stopped ${moment}, it opens no connection any more`, async () => {
    prepare();
    const stopped = start({ timing: { idleMs: 60_000, relistMs: 60_000, backoff: { firstMs: 30, capMs: 30 } } });
    await waitFor('a request', { seconds: 60, every: 2 }, () => (api.requests.length > 0 ? true : undefined));
    await stopped.stop();
    await waitFor('the watches to be closed', { seconds: 60, every: 2 }, () => (api.openWatches() === 0 ? true : undefined));
    const before = api.requests.length;
    // Nothing to wait for: it is the absence of a request for three times its backoff that is shown.
    await delay(100);
    api.set('a', 'unseen');
    assert.equal(api.requests.length, before);
    assert.notEqual(stopped.cache.get('a'), 'a=unseen');
  });
}
