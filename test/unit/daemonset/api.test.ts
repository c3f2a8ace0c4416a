/** The client against a server that fails in the ways networks and API servers fail. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { test } from 'node:test';
import type { NodeKernelStatus } from '../../../crds/nodekernel.ts';
import { createApi } from '../../../daemonset/api.ts';
import type { Api, WatchEvent } from '../../../daemonset/api.ts';
import { codeOf } from '../../../kernel/errors.ts';
import { anApiServer, json, watching } from '../../simulated/apiserver.ts';
import type { Answer, SimulatedApiServer } from '../../simulated/apiserver.ts';
import { aWanted } from '../../simulated/node.ts';

const PATIENCE = { answerMilliseconds: 300, watchMilliseconds: 300 };
const object = { metadata: { name: 'node-1', uid: 'uid-1', generation: 2, resourceVersion: '7' }, spec: { livePatches: [aWanted()] } };
const list = (...items: readonly unknown[]) => ({ metadata: { resourceVersion: '9' }, items });
const status = { agentVersion: '0.1.0' } as NodeKernelStatus;

function apiOf({ baseURL, caFile, tokenFile }: Omit<SimulatedApiServer, keyof AsyncDisposable>): Api {
  return createApi({ baseURL, caFile, tokenFile, nodeName: 'node-1' }, PATIENCE);
}

const never = new AbortController().signal;
const unreachable = (error: unknown) => codeOf(error) === 'ApiUnreachable';

async function allOf(events: AsyncIterable<WatchEvent>): Promise<WatchEvent[]> {
  const all: WatchEvent[] = [];
  for await (const event of events) all.push(event);
  return all;
}

test('the list asks for one object and returns it with the version of the list', async () => {
  await using server = await anApiServer();
  server.answer(json(200, list(object)));
  const listed = await apiOf(server).list(never);
  assert.equal(listed.object?.metadata.generation, 2);
  assert.deepEqual(listed.object?.spec.livePatches, [aWanted()]);
  assert.equal(listed.resourceVersion, '9');
  assert.equal(server.received[0]?.url, '/apis/kernelpatch.dev/v1alpha1/nodekernels?fieldSelector=metadata.name%3Dnode-1');
});

test('no object is no error', async () => {
  await using server = await anApiServer();
  server.answer(json(200, list()));
  assert.equal((await apiOf(server).list(never)).object, undefined);
});

test('a status that this version does not understand is as good as none', async () => {
  await using server = await anApiServer();
  server.answer(json(200, list({ ...object, status: { state: 'FromTheFuture' } })));
  assert.equal((await apiOf(server).list(never)).object?.status, undefined);
});

test('the token is read again for each request', async () => {
  await using server = await anApiServer();
  server.answer(json(200, list()));
  const api = apiOf(server);
  await api.list(never);
  writeFileSync(server.tokenFile, 'second-token');
  await api.list(never);
  assert.deepEqual(server.received.map(({ authorization }) => authorization), ['Bearer first-token', 'Bearer second-token']);
});

test('the status is replaced as a whole, so that nothing of an earlier one stays, and nothing else is written', async () => {
  await using server = await anApiServer();
  server.answer(json(200, {}));
  await apiOf(server).patchStatus(status);
  const [request] = server.received;
  assert.deepEqual([request?.method, request?.url], ['PATCH', '/apis/kernelpatch.dev/v1alpha1/nodekernels/node-1/status?fieldManager=kernelpatch-agent']);
  assert.equal(request?.contentType, 'application/json-patch+json');
  assert.deepEqual(JSON.parse(request?.body ?? ''), [{ op: 'add', path: '/status', value: status }]);
});

test('a watch yields changes and deletions, and no bookmarks or unknown types', async () => {
  await using server = await anApiServer();
  server.answer(
    watching([{ type: 'ADDED', object }, { type: 'BOOKMARK', object: { metadata: { resourceVersion: '10' } } }, { type: 'SOMETHING', object: {} }, { type: 'DELETED', object }]),
  );
  const events = await allOf(apiOf(server).watch('9', never));
  assert.deepEqual(events.map(({ type }) => type), ['Changed', 'Deleted']);
  assert.match(server.received[0]?.url ?? '', /watch=true&allowWatchBookmarks=true&resourceVersion=9&timeoutSeconds=600$/);
});

test('an event that comes in pieces is one event', async () => {
  await using server = await anApiServer();
  const line = `${JSON.stringify({ type: 'MODIFIED', object: { ...object, metadata: { ...object.metadata, labels: { name: 'ünïcödé' } } } })}\n`;
  const bytes = Buffer.from(line);
  const cut = bytes.indexOf(0xc3) + 1;
  server.answer((response) => {
    response.writeHead(200);
    response.write(bytes.subarray(0, cut));
    setImmediate(() => response.end(bytes.subarray(cut)));
  });
  assert.equal((await allOf(apiOf(server).watch('9', never))).length, 1);
});

const silent: Answer = () => {};
const half: Answer = (response) => {
  response.writeHead(200, { 'content-length': '1000' });
  response.write('{"metadata":');
};

const LIST_FAULTS: Readonly<Record<string, { answer: Answer; code: string }>> = {
  'no answer': { answer: silent, code: 'ApiUnreachable' },
  'an answer that stops half-way': { answer: half, code: 'ApiUnreachable' },
  'a connection that is cut': { answer: (_, request) => request.socket.destroy(), code: 'ApiUnreachable' },
  'a token that is not taken': { answer: json(401, {}), code: 'ApiForbidden' },
  'a role that is missing': { answer: json(403, { message: 'forbidden' }), code: 'ApiForbidden' },
  'a CRD that is missing': { answer: json(404, {}), code: 'ApiNotFound' },
  'too many requests': { answer: json(429, {}), code: 'ApiBusy' },
  'an API server that is going down': { answer: json(503, {}), code: 'ApiBusy' },
  'an answer that is no JSON': { answer: (response) => response.writeHead(200).end('<html>'), code: 'ApiGarbled' },
  'an answer of another shape': { answer: json(200, { items: 3 }), code: 'ApiGarbled' },
  'an answer beyond all bounds': { answer: (response) => response.writeHead(200).end(Buffer.alloc(5 * 1024 * 1024, 0x20)), code: 'ApiGarbled' },
};

for (const [what, { answer, code }] of Object.entries(LIST_FAULTS)) {
  test(`${what} is ${code}`, async () => {
    await using server = await anApiServer();
    server.answer(answer);
    await assert.rejects(apiOf(server).list(never), (error) => codeOf(error) === code);
  });
}

test('a status that the API server refuses is ApiInvalid, with what it says', async () => {
  await using server = await anApiServer();
  server.answer(json(422, { message: 'status.state: Unsupported value' }));
  await assert.rejects(apiOf(server).patchStatus(status), (error) => codeOf(error) === 'ApiInvalid' && String(error).includes('Unsupported value'));
});

const WATCH_FAULTS: Readonly<Record<string, { answer: Answer; code: string }>> = {
  'a watch that falls silent': { answer: watching([{ type: 'ADDED', object }], () => {}), code: 'ApiUnreachable' },
  'a watch that is cut': { answer: watching([{ type: 'ADDED', object }], (response) => setTimeout(() => response.socket?.destroy(), 20)), code: 'ApiUnreachable' },
  'an intent of another node': { answer: watching([{ type: 'ADDED', object }, { type: 'MODIFIED', object: { ...object, metadata: { ...object.metadata, name: 'node-2' } } }]), code: 'ApiGarbled' },
  'the end of the intent of another node': { answer: watching([{ type: 'ADDED', object }, { type: 'DELETED', object: { ...object, metadata: { ...object.metadata, name: 'node-2' } } }]), code: 'ApiGarbled' },
  'a version that is too old': { answer: watching([{ type: 'ADDED', object }, { type: 'ERROR', object: { code: 410, message: 'too old resource version' } }]), code: 'ApiGone' },
  'a line that is no JSON': { answer: (response) => response.writeHead(200).end(`${JSON.stringify({ type: 'ADDED', object })}\nnot json\n`), code: 'ApiGarbled' },
};

for (const [what, { answer, code }] of Object.entries(WATCH_FAULTS)) {
  test(`${what} is ${code}, after the events before it`, async () => {
    await using server = await anApiServer();
    server.answer(answer);
    let seen = 0;
    await assert.rejects(
      async () => {
        for await (const _ of apiOf(server).watch('9', never)) seen += 1;
      },
      (error) => codeOf(error) === code,
    );
    assert.equal(seen, 1);
  });
}

test('an API server that is not there, has another certificate or whose files are missing is ApiUnreachable', async () => {
  await using server = await anApiServer();
  await assert.rejects(apiOf({ ...server, baseURL: 'https://127.0.0.1:1' }).list(never), unreachable);
  await assert.rejects(apiOf({ ...server, caFile: `${server.caFile}.none` }).list(never), unreachable);
  writeFileSync(server.caFile, '');
  await assert.rejects(apiOf(server).list(never), unreachable);
  assert.equal(server.received.length, 0);
});

test('an abort ends a watch', async () => {
  await using server = await anApiServer();
  server.answer(watching([{ type: 'ADDED', object }], () => {}));
  const stop = new AbortController();
  await assert.rejects(async () => {
    for await (const _ of apiOf(server).watch('9', stop.signal)) stop.abort();
  });
});
