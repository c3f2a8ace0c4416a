import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { after, before, test } from 'node:test';
import { KubeConfig } from '@kubernetes/client-node';
import { KernelPatchError, kindOf } from '../../../operator/errors.ts';
import { makeClient } from '../../../operator/kube/client.ts';
import type { Client } from '../../../operator/kube/client.ts';
import { makeTransport } from '../../../operator/kube/transport.ts';

const THINGS = { kind: 'Thing', apiVersion: 'example.com/v1', path: '/apis/example.com/v1/things' };
const OBJECT = { metadata: { name: 'a', resourceVersion: '7' }, spec: { x: 1 } };

interface Request {
  readonly line: string;
  readonly contentType: string | undefined;
  readonly authorization: string | undefined;
  readonly body: unknown;
}

let server: Server;
let client: Client;
let requests: Request[] = [];
let writes: string[] = [];
let ports = new Set<number | undefined>();
let answer: (response: ServerResponse) => void;

async function receive(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const body = await text(request);
  requests.push({ line: `${request.method} ${request.url}`, contentType: request.headers['content-type'], authorization: request.headers.authorization, body: body && JSON.parse(body) });
  ports.add(request.socket.remotePort);
  answer(response);
}

before(async () => {
  server = createServer((request, response) => void receive(request, response));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const kubeConfig = new KubeConfig();
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/prefix`;
  kubeConfig.loadFromClusterAndUser({ name: 'test', server: url, skipTLSVerify: true }, { name: 'test', token: 'secret' });
  client = makeClient(makeTransport(kubeConfig), (...write) => writes.push(write.join(' ')));
});

after(async () => {
  server.closeAllConnections();
  server.close();
  await once(server, 'close');
});

function says(status: number, body: unknown, headers: Readonly<Record<string, string>> = {}): void {
  requests = [];
  writes = [];
  answer = (response) => response.writeHead(status, headers).end(typeof body === 'string' ? body : JSON.stringify(body));
}

for (const [sentence, act, line, contentType, body] of [
  ['a status is replaced with the version it was judged on', () => client.replaceStatus(THINGS, OBJECT), 'PUT /prefix/apis/example.com/v1/things/a/status?fieldManager=kernelpatch-operator', 'application/json', { apiVersion: 'example.com/v1', kind: 'Thing', ...OBJECT }],
  ['a merge sends the given fields only', () => client.merge(THINGS, 'a', { spec: { x: 2 } }), 'PATCH /prefix/apis/example.com/v1/things/a?fieldManager=kernelpatch-operator', 'application/merge-patch+json', { spec: { x: 2 } }],
  ['an apply takes over fields of others', () => client.apply(THINGS, OBJECT), 'PATCH /prefix/apis/example.com/v1/things/a?fieldManager=kernelpatch-operator&force=true', 'application/apply-patch+yaml', { apiVersion: 'example.com/v1', kind: 'Thing', ...OBJECT }],
  ['a delete is of one object and not of its namesake', () => client.delete(THINGS, 'a', 'uid-1'), 'DELETE /prefix/apis/example.com/v1/things/a', 'application/json', { preconditions: { uid: 'uid-1' } }],
] as const) {
  test(sentence, async () => {
    says(200, OBJECT);
    await act();
    assert.deepEqual(requests, [{ line, contentType, authorization: 'Bearer secret', body }]);
  });
}

for (const [status, code] of [[400, 'Invalid'], [401, 'Forbidden'], [403, 'Forbidden'], [404, 'NotFound'], [409, 'Conflict'], [410, 'Gone'], [422, 'Invalid'], [429, 'TooMany'], [500, 'ServerError'], [503, 'ServerError']] as const) {
  test(`${status} is ${code}, with what the API server said`, async () => {
    says(status, { kind: 'Status', message: 'because' }, { 'Retry-After': '3' });
    const error = await client.create(THINGS, OBJECT).catch((thrown: unknown) => thrown);
    assert.ok(error instanceof KernelPatchError);
    assert.deepEqual([error.code, error.retryAfterSeconds], [code, 3]);
    assert.match(error.message, /POST .*because/);
    assert.deepEqual(writes, [`Thing create ${code}`]);
  });
}

test('what the API server says of the causes is said too, and once', async () => {
  const causes = [{ reason: 'DisruptionBudget', message: 'The disruption budget web needs 2 healthy pods and has 2 currently' }, { message: 'budget' }];
  says(429, { kind: 'Status', message: 'it would violate the disruption budget.', details: { causes } });
  const error = await client.create(THINGS, OBJECT).catch((thrown: unknown) => thrown);
  assert.ok(error instanceof KernelPatchError);
  assert.equal(error.said, 'it would violate the disruption budget. The disruption budget web needs 2 healthy pods and has 2 currently');
});

test("a load balancer's page is said in part", async () => {
  says(502, `<html>${'x'.repeat(1000)}`);
  await assert.rejects(client.get(THINGS, 'a'), (error) => error instanceof KernelPatchError && error.message.includes('<html>') && error.message.length < 400);
});

test('an answer that is not JSON is a bad answer', async () => {
  says(200, 'hello');
  await assert.rejects(client.get(THINGS, 'a'), (error) => kindOf(error) === 'BadAnswer');
});

test('a list that is none is a bad answer', async () => {
  says(200, { items: 'none' });
  await assert.rejects(client.listPage(THINGS, {}, AbortSignal.timeout(1000)), (error) => kindOf(error) === 'BadAnswer');
});

test('no answer is a matter of the network', async () => {
  answer = (response) => response.socket?.resetAndDestroy();
  await assert.rejects(client.get(THINGS, 'a'), (error) => kindOf(error) === 'Network');
});

test('requests one after the other use one connection', async () => {
  says(200, OBJECT);
  ports = new Set();
  for (let count = 0; count < 5; count += 1) await client.get(THINGS, 'a');
  assert.equal(ports.size, 1);
});
