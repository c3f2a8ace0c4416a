/** /healthz, /readyz and /metrics. */
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Registry } from 'prom-client';

export interface HttpOptions {
  readonly port: number;
  readonly registry: Registry;
  /** What is still missing; empty when ready. */
  readonly notReady: () => readonly string[];
}

export interface HttpServer {
  readonly port: number;
  close(): Promise<void>;
}

/** Listening afterwards. Throws when the port is taken. */
export async function serveHttp({ port, registry, notReady }: HttpOptions): Promise<HttpServer> {
  async function answer(path: string): Promise<{ code: number; body: string; type?: string }> {
    switch (path) {
      case '/healthz':
        return { code: 200, body: 'ok\n' };
      case '/readyz': {
        const missing = notReady();
        return missing.length === 0 ? { code: 200, body: 'ok\n' } : { code: 503, body: `waiting for ${missing.join(', ')}\n` };
      }
      case '/metrics':
        return { code: 200, body: await registry.metrics(), type: registry.contentType };
      default:
        return { code: 404, body: 'there is /healthz, /readyz and /metrics\n' };
    }
  }
  const server = createServer((request, response) => {
    answer(request.url ?? '').then(
      ({ code, body, type = 'text/plain' }) => response.writeHead(code, { 'Content-Type': type }).end(body),
      (error: unknown) => response.writeHead(500).end(String(error)),
    );
  });
  server.listen(port);
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}
