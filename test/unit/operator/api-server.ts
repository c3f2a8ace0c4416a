/** One collection served over HTTP as kube-apiserver serves it: pages, watches from a resourceVersion, WatchList. The next answers can be spoilt. */
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { KubeConfig } from '@kubernetes/client-node';
import { makeClient } from '../../../operator/kube/client.ts';
import type { Client } from '../../../operator/kube/client.ts';
import { makeTransport } from '../../../operator/kube/transport.ts';

interface Stored {
  readonly metadata: { readonly name: string; readonly resourceVersion: string };
  readonly value: string;
}

/** Answers a request in its own way, or leaves it to the server by returning false. */
export type Spoiler = (response: ServerResponse, query: URLSearchParams, api: ApiServer) => boolean;

export class ApiServer {
  readonly objects = new Map<string, Stored>();
  /** Used up one by one, in this order. */
  readonly spoilers: Spoiler[] = [];
  /** The queries of all requests. */
  readonly requests: URLSearchParams[] = [];
  #version = 10;
  #oldest = 0;
  readonly #history: { readonly version: number; readonly line: string }[] = [];
  readonly #watchers = new Set<ServerResponse>();
  readonly #server: Server;

  private constructor() {
    this.#server = createServer((request, response) => this.#answer(request, response));
  }

  static async start(): Promise<ApiServer> {
    const api = new ApiServer();
    api.#server.listen(0, '127.0.0.1');
    await once(api.#server, 'listening');
    return api;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }

  client(): Client {
    const { port } = this.#server.address() as AddressInfo;
    const kubeConfig = new KubeConfig();
    kubeConfig.loadFromClusterAndUser({ name: 'test', server: `http://127.0.0.1:${port}`, skipTLSVerify: true }, { name: 'test' });
    return makeClient(makeTransport(kubeConfig), () => undefined);
  }

  /** Stored and, unless lost on the way, sent to every watch. */
  set(name: string, value: string, { lost = false } = {}): void {
    const type = this.objects.has(name) ? 'MODIFIED' : 'ADDED';
    this.#version += 1;
    const object = { metadata: { name, resourceVersion: String(this.#version) }, value };
    this.objects.set(name, object);
    if (!lost) this.#publish(type, object);
  }

  delete(name: string): void {
    const object = this.objects.get(name);
    if (!object) return;
    this.objects.delete(name);
    this.#version += 1;
    this.#publish('DELETED', { ...object, metadata: { name, resourceVersion: String(this.#version) } });
  }

  openWatches(): number {
    return this.#watchers.size;
  }

  /** The connections of all watches end with a TCP reset. */
  reset(): void {
    for (const response of this.#watchers) response.socket?.resetAndDestroy();
  }

  /** No watch can resume from before now. */
  compact(): void {
    this.#version += 1;
    this.#oldest = this.#version;
  }

  send(text: string): void {
    for (const response of this.#watchers) response.write(text);
  }

  #publish(type: string, object: Stored): void {
    const line = `${JSON.stringify({ type, object })}\n`;
    this.#history.push({ version: this.#version, line });
    this.send(line);
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const query = new URL(request.url ?? '', 'http://localhost').searchParams;
    this.requests.push(query);
    if (this.spoilers.shift()?.(response, query, this)) return;
    if (query.get('watch') === 'true') this.#watch(response, query);
    else this.#page(response, query);
  }

  #watch(response: ServerResponse, query: URLSearchParams): void {
    response.writeHead(200, { 'Content-Type': 'application/json' });
    response.flushHeaders();
    if (query.get('sendInitialEvents') === 'true') {
      for (const object of this.objects.values()) response.write(`${JSON.stringify({ type: 'ADDED', object })}\n`);
      response.write(bookmark(this.#version, true));
    } else if (Number(query.get('resourceVersion')) < this.#oldest) {
      response.end(`${JSON.stringify({ type: 'ERROR', object: { kind: 'Status', metadata: {}, code: 410, message: 'too old resource version' } })}\n`);
      return;
    } else {
      for (const { version, line } of this.#history) if (version > Number(query.get('resourceVersion'))) response.write(line);
      response.write(bookmark(this.#version, false));
    }
    this.#watchers.add(response);
    response.on('close', () => this.#watchers.delete(response));
  }

  /** Pages of two objects, whatever the limit. */
  #page(response: ServerResponse, query: URLSearchParams): void {
    const from = Number(query.get('continue') ?? 0);
    const rest = [...this.objects.values()].slice(from);
    const metadata = { resourceVersion: String(this.#version), ...(rest.length > 2 && { continue: String(from + 2) }) };
    response.writeHead(200, { 'Content-Type': 'application/json' }).end(JSON.stringify({ metadata, items: rest.slice(0, 2) }));
  }
}

function bookmark(version: number, endsList: boolean): string {
  const annotations = endsList ? { annotations: { 'k8s.io/initial-events-end': 'true' } } : {};
  return `${JSON.stringify({ type: 'BOOKMARK', object: { metadata: { resourceVersion: String(version), ...annotations } } })}\n`;
}

/** An HTTP status instead of an answer. */
export function failsWith(status: number, headers: Readonly<Record<string, string>> = {}): Spoiler {
  return (response) => {
    response.writeHead(status, headers).end(JSON.stringify({ kind: 'Status', code: status, message: `spoilt with ${status}` }));
    return true;
  };
}

/** A watch that says this and ends, or stays open and silent. */
export function says(text: string, { ends }: { readonly ends: boolean }): Spoiler {
  return (response) => {
    response.writeHead(200);
    response.flushHeaders();
    response.write(text);
    if (ends) response.end();
    return true;
  };
}

/** The request is read and never answered. */
export const hangs: Spoiler = () => true;

export const resets: Spoiler = (response) => {
  response.socket?.resetAndDestroy();
  return true;
};
