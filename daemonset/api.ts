/**
 * The agent's own client of the API server: list and watch one NodeKernel, patch its status. client-node would cost 35 MiB for these three
 * requests.
 */
import { readFile } from 'node:fs/promises';
import { Agent as HttpsAgent, request } from 'node:https';
import type { IncomingMessage } from 'node:http';
import * as z from 'zod/mini';
import { GROUP, VERSION } from '../crds/common.ts';
import type { ObjectMeta } from '../crds/common.ts';
import { NodeKernelSpec, NodeKernelStatus, nodeKernelDefinition } from '../crds/nodekernel.ts';
import type { NodeKernel } from '../crds/nodekernel.ts';
import { KernelPatchError } from '../kernel/errors.ts';
import { codeOfStatus } from './errors.ts';

export interface ApiOptions {
  /** https://HOST:PORT */
  readonly baseURL: string;
  readonly caFile: string;
  readonly tokenFile: string;
  readonly nodeName: string;
}

export interface Listed {
  readonly object: NodeKernel | undefined;
  readonly resourceVersion: string;
}

export type WatchEvent = { readonly type: 'Changed'; readonly object: NodeKernel } | { readonly type: 'Deleted' };

export interface Api {
  /** Throws KernelPatchError with an ApiErrorCode, as all of these do. */
  list(signal?: AbortSignal): Promise<Listed>;
  /** Ends when the API server ends the watch. */
  watch(resourceVersion: string, signal: AbortSignal): AsyncIterable<WatchEvent>;
  /** The status is this one, and nothing of an earlier one is left in it. */
  patchStatus(status: NodeKernelStatus): Promise<void>;
}

/** How long nothing may come. */
export interface Patience {
  readonly answerMilliseconds: number;
  readonly watchMilliseconds: number;
}

/**
 * A request that has not been answered in 10 s is lost. The API server sends a bookmark every minute: after two missed ones the connection
 * is dead, whatever TCP says.
 */
const PATIENCE: Patience = { answerMilliseconds: 10_000, watchMilliseconds: 150_000 };
/** The API server ends a watch then, and the list that follows repairs whatever was missed: 10 min, as others re-list. */
const WATCH_SECONDS = 600;
/** etcd's own limit for an object is 1.5 MiB. */
const MAX_BODY_BYTES = 4 * 1024 * 1024;
const FIELD_MANAGER = 'kernelpatch-agent';

const Metadata = z.looseObject({
  name: z.string(),
  uid: z.optional(z.string()),
  resourceVersion: z.optional(z.string()),
  generation: z.optional(z.int()),
});
const Item = z.object({ metadata: Metadata, spec: NodeKernelSpec, status: z.optional(z.unknown()) });
const List = z.object({ metadata: z.object({ resourceVersion: z.string() }), items: z.array(Item) });
const Event = z.object({ type: z.string(), object: z.looseObject({}) });
const Status = z.object({ code: z.int(), message: z.optional(z.string()) });

interface Call {
  readonly method: 'GET' | 'PATCH';
  readonly path: string;
  readonly body?: string;
  readonly signal?: AbortSignal;
}

export function createApi({ baseURL, caFile, tokenFile, nodeName }: ApiOptions, patience: Patience = PATIENCE): Api {
  const collection = `/apis/${GROUP}/${VERSION}/${nodeKernelDefinition.plural}`;
  const selection = new URLSearchParams({ fieldSelector: `metadata.name=${nodeName}` });
  let connections: { readonly ca: string; readonly agent: HttpsAgent } | undefined;

  /** The kubelet replaces both files while the agent runs; a connection belongs to the CA it was made with. */
  async function connect(): Promise<{ agent: HttpsAgent; token: string }> {
    const [ca, token] = await Promise.all([readText(caFile), readText(tokenFile)]);
    if (connections?.ca !== ca) {
      connections?.agent.destroy();
      connections = { ca, agent: new HttpsAgent({ ca, keepAlive: true, maxSockets: 4 }) };
    }
    return { agent: connections.agent, token: token.trim() };
  }

  async function call({ method, path, body, signal }: Call): Promise<IncomingMessage> {
    const { agent, token } = await connect();
    const headers = {
      authorization: `Bearer ${token}`,
      accept: 'application/json',
      'user-agent': FIELD_MANAGER,
      ...(body !== undefined && { 'content-type': 'application/json-patch+json', 'content-length': Buffer.byteLength(body) }),
    };
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      const outgoing = request(new URL(path, baseURL), { method, agent, headers, timeout: patience.answerMilliseconds, ...(signal && { signal }) });
      outgoing.on('response', resolve);
      outgoing.on('error', (error) => reject(unreachable(`${method} ${path}`, error)));
      outgoing.on('timeout', () => outgoing.destroy(new Error('nothing came for too long')));
      outgoing.end(body);
    });
    const status = response.statusCode ?? 0;
    if (status >= 200 && status < 300) return response;
    const text = await readBody(response);
    throw new KernelPatchError(codeOfStatus(status), `${method} ${path} was answered with ${status}: ${text.slice(0, 500)}`);
  }

  return {
    async list(signal) {
      const body = await readBody(await call({ method: 'GET', path: `${collection}?${selection.toString()}`, ...(signal && { signal }) }));
      const { items, metadata } = parse(List, () => JSON.parse(body));
      const object = items.find((item) => item.metadata.name === nodeName);
      return { object: object && nodeKernelOf(object), resourceVersion: metadata.resourceVersion };
    },
    async *watch(resourceVersion, signal) {
      const query = new URLSearchParams({ watch: 'true', allowWatchBookmarks: 'true', resourceVersion, timeoutSeconds: String(WATCH_SECONDS) });
      const response = await call({ method: 'GET', path: `${collection}?${selection.toString()}&${query.toString()}`, signal });
      response.socket.setTimeout(patience.watchMilliseconds);
      for await (const line of readLines(response)) {
        const event = parseEvent(line, nodeName);
        if (event !== undefined) yield event;
      }
    },
    async patchStatus(status) {
      // A merge would leave what the earlier status had and this one has not.
      const body = JSON.stringify([{ op: 'add', path: '/status', value: status }]);
      const response = await call({ method: 'PATCH', path: `${collection}/${nodeName}/status?fieldManager=${FIELD_MANAGER}`, body });
      await readBody(response);
    },
  };
}

function unreachable(what: string, cause: unknown): KernelPatchError {
  return new KernelPatchError('ApiUnreachable', `${what} failed: ${cause instanceof Error ? cause.message : String(cause)}`, cause);
}

async function readText(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    throw unreachable(`reading ${path}`, error);
  }
}

async function readBody(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let total = 0;
  try {
    for await (const chunk of response as AsyncIterable<Buffer>) {
      total += chunk.length;
      if (total > MAX_BODY_BYTES) throw new KernelPatchError('ApiGarbled', `an answer has more than ${MAX_BODY_BYTES} bytes`);
      chunks.push(chunk);
    }
  } catch (error) {
    throw error instanceof KernelPatchError ? error : unreachable('reading an answer', error);
  }
  return Buffer.concat(chunks).toString('utf8');
}

async function* readLines(response: IncomingMessage): AsyncGenerator<string> {
  let pending = '';
  response.setEncoding('utf8');
  try {
    for await (const chunk of response as AsyncIterable<string>) {
      const lines = (pending + chunk).split('\n');
      pending = lines.pop() ?? '';
      if (pending.length > MAX_BODY_BYTES) throw new KernelPatchError('ApiGarbled', `an event has more than ${MAX_BODY_BYTES} bytes`);
      yield* lines;
    }
  } catch (error) {
    throw error instanceof KernelPatchError ? error : unreachable('reading the watch', error);
  }
}

function parse<T extends z.ZodMiniType>(schema: T, read: () => unknown): z.infer<T> {
  try {
    return z.parse(schema, read());
  } catch (error) {
    throw new KernelPatchError('ApiGarbled', `an answer can not be understood: ${error instanceof Error ? error.message : String(error)}`, error);
  }
}

/** A status that an agent of another version wrote and this one does not understand is as good as none. */
function nodeKernelOf({ metadata, spec, status }: z.infer<typeof Item>): NodeKernel {
  const { data } = z.safeParse(NodeKernelStatus, status);
  return { metadata: metadata as ObjectMeta, spec, ...(data && { status: data }) };
}

/** Throws ApiGarbled for the intent of another node, which was not asked for. */
function parseOwn(object: object, nodeName: string): z.infer<typeof Item> {
  const item = parse(Item, () => object);
  if (item.metadata.name !== nodeName) throw new KernelPatchError('ApiGarbled', `the watch of NodeKernel ${nodeName} has told of ${item.metadata.name}`);
  return item;
}

/** undefined: a bookmark, or a type that a later API server may have. */
function parseEvent(line: string, nodeName: string): WatchEvent | undefined {
  const { type, object } = parse(Event, () => JSON.parse(line));
  switch (type) {
    case 'ADDED':
    case 'MODIFIED':
      return { type: 'Changed', object: nodeKernelOf(parseOwn(object, nodeName)) };
    case 'DELETED':
      parseOwn(object, nodeName);
      return { type: 'Deleted' };
    case 'ERROR': {
      const { code, message } = parse(Status, () => object);
      throw new KernelPatchError(codeOfStatus(code), `the watch was ended with ${code}: ${message ?? ''}`);
    }
    default:
      return undefined;
  }
}
