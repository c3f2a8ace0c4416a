/**
 * An HTTPS server that answers as an API server does, or fails as one does: for the faults of transport only. What a real API server
 * accepts is tested against a real one.
 */
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:https';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Self-signed for 127.0.0.1, for these tests only: it protects nothing. */
const KEY = `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgZyqPUxeiu69b517P
iDesDXoPOHuQJuEBk1EycV1MgF2hRANCAAT1F27zZO1mxbXrthFLmPucItbwHLhW
M7qo3drEuBV7iSb/8F1VSyuMeXpbKyM9aW1yPhdn0obbhdbudepaUyz3
-----END PRIVATE KEY-----
`;
const CERTIFICATE = `-----BEGIN CERTIFICATE-----
MIIBjzCCATagAwIBAgIUcWlf0eS87dJk9QZT5OmoOUYTEG0wCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJMTI3LjAuMC4xMCAXDTI2MTEyNDE0MTg1NFoYDzIxMjYxMDMx
MTQxODU0WjAUMRIwEAYDVQQDDAkxMjcuMC4wLjEwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAAT1F27zZO1mxbXrthFLmPucItbwHLhWM7qo3drEuBV7iSb/8F1VSyuM
eXpbKyM9aW1yPhdn0obbhdbudepaUyz3o2QwYjAdBgNVHQ4EFgQUH9YUwhq+HbrL
+cEk4V0xuEjERiEwHwYDVR0jBBgwFoAUH9YUwhq+HbrL+cEk4V0xuEjERiEwDwYD
VR0TAQH/BAUwAwEB/zAPBgNVHREECDAGhwR/AAABMAoGCCqGSM49BAMCA0cAMEQC
IANVHaeYbIRkDgtDVX6aCd3ix34IehaagIeeQ1f4CbOfAiAq00bR0gPuMLtSf+xA
jVW+hK9Vkk7pRqk7tTrq1JeAsQ==
-----END CERTIFICATE-----
`;

export interface Received {
  readonly method: string;
  readonly url: string;
  readonly authorization: string;
  readonly contentType: string;
  readonly body: string;
}

export type Answer = (response: ServerResponse, request: IncomingMessage) => void;

export interface SimulatedApiServer extends AsyncDisposable {
  readonly baseURL: string;
  readonly caFile: string;
  readonly tokenFile: string;
  readonly received: readonly Received[];
  /** Answers the next request; the last one is kept for all that follow. */
  answer(...answers: readonly Answer[]): void;
}

export const json =
  (status: number, body: unknown): Answer =>
  (response) => {
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
  };

/** A watch with these events, and then as `end` says. */
export const watching =
  (events: readonly unknown[], end: (response: ServerResponse) => void = (response) => response.end()): Answer =>
  (response) => {
    response.writeHead(200, { 'content-type': 'application/json' }).flushHeaders();
    for (const event of events) response.write(`${JSON.stringify(event)}\n`);
    end(response);
  };

export async function anApiServer(): Promise<SimulatedApiServer> {
  const directory = mkdtempSync(join(tmpdir(), 'kernelpatch-api-'));
  const caFile = join(directory, 'ca.crt');
  const tokenFile = join(directory, 'token');
  writeFileSync(caFile, CERTIFICATE);
  writeFileSync(tokenFile, 'first-token\n');
  const received: Received[] = [];
  let answers: Answer[] = [];
  const server = createServer({ key: KEY, cert: CERTIFICATE }, (request, response) => {
    let body = '';
    request.setEncoding('utf8').on('data', (text: string) => {
      body += text;
    });
    request.on('end', () => {
      const { authorization = '', 'content-type': contentType = '' } = request.headers;
      received.push({ method: request.method ?? '', url: request.url ?? '', authorization, contentType, body });
      const answer = answers.length > 1 ? answers.shift() : answers[0];
      answer?.(response, request);
    });
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  return {
    baseURL: `https://127.0.0.1:${(server.address() as AddressInfo).port}`,
    caFile,
    tokenFile,
    received,
    answer(...next) {
      answers = [...next];
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      rmSync(directory, { recursive: true });
    },
  };
}
