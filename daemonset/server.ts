/** /healthz and /metrics. */
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { Server, ServerResponse } from 'node:http';
import type { Registry } from 'prom-client';

export interface ServerOptions {
  readonly port: number;
  readonly registry: Registry;
  /** undefined: alive; else what is wrong. */
  readonly findIllness: () => string | undefined;
}

/** The server answers. Rejects when the port is taken. */
export async function serve({ port, registry, findIllness }: ServerOptions): Promise<Server> {
  const server = createServer((request, response) => {
    if (request.url === '/healthz') answerHealth(response, findIllness());
    else if (request.url === '/metrics') void answerMetrics(response, registry);
    else response.writeHead(404).end();
  });
  await once(server.listen(port), 'listening');
  return server;
}

function answerHealth(response: ServerResponse, illness: string | undefined): void {
  response.writeHead(illness === undefined ? 200 : 503, { 'content-type': 'text/plain' }).end(`${illness ?? 'ok'}\n`);
}

async function answerMetrics(response: ServerResponse, registry: Registry): Promise<void> {
  response.writeHead(200, { 'content-type': registry.contentType }).end(await registry.metrics());
}
