/** A registry with a good certificate and bad intentions: what it answers is told by the first part of the repository's name. */
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Authority } from '../cluster/certificates.ts';

export interface HostileRegistry {
  readonly address: string;
  readonly stop: () => Promise<void>;
}

type Answer = (request: IncomingMessage, response: ServerResponse) => void;

const DIGEST = /sha256:[0-9a-f]{64}/;

const ANSWERS: Readonly<Record<string, Answer>> = {
  // It promises what was asked for, in type, length and digest.
  wrong: (request, response) => {
    const body = Buffer.from('{"schemaVersion":2}');
    response.writeHead(200, { 'content-type': 'application/vnd.oci.image.manifest.v1+json', 'content-length': body.length, 'docker-content-digest': DIGEST.exec(request.url ?? '')?.[0] ?? '' });
    response.end(request.method === 'HEAD' ? undefined : body);
  },
  endless: (request, response) => {
    response.writeHead(200, { 'content-type': 'application/vnd.oci.image.manifest.v1+json', 'content-length': 1024 ** 4, 'docker-content-digest': DIGEST.exec(request.url ?? '')?.[0] ?? '' });
    if (request.method === 'HEAD') response.end();
    else pour(response);
  },
  circle: (request, response) => {
    response.writeHead(307, { location: request.url });
    response.end();
  },
  elsewhere: (_request, response) => {
    response.writeHead(307, { location: 'http://127.0.0.1:1/' });
    response.end();
  },
  silent: () => undefined,
  denied: (_request, response) => {
    response.writeHead(403, { 'content-type': 'application/json' });
    response.end('{"errors":[{"code":"DENIED","message":"\\u001b[31mno"}]}');
  },
};

function pour(response: ServerResponse): void {
  const block = Buffer.alloc(64 * 1024, ' ');
  const more = (): void => {
    while (!response.destroyed && response.write(block));
  };
  response.on('drain', more).on('error', () => undefined);
  more();
}

export async function startHostileRegistry(authority: Authority): Promise<HostileRegistry> {
  const { cert, key } = await authority.issue({ name: 'hostile', commonName: 'hostile', altNames: ['IP:127.0.0.1'] });
  const server = createServer({ cert: readFileSync(cert), key: readFileSync(key) }, (request, response) => {
    const [, , behaviour = ''] = (request.url ?? '').split('/');
    ANSWERS[behaviour]?.(request, response);
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  const { port } = server.address() as AddressInfo;
  return {
    address: `127.0.0.1:${port}`,
    stop: () =>
      new Promise((resolve) => {
        server.closeAllConnections();
        server.close(() => resolve());
      }),
  };
}
