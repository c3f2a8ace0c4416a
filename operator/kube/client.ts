/** The verbs of the Kubernetes API that the operator uses, with JSON in and out and errors by code. */
import { text } from 'node:stream/consumers';
import type { IncomingMessage } from 'node:http';
import { KernelPatchError } from '../errors.ts';
import type { ErrorCode } from '../errors.ts';
import { FIELD_MANAGER } from '../labels.ts';
import type { KubeObject, Resource } from './resources.ts';
import type { HttpRequest, Transport } from './transport.ts';

/** 15 s: the API server answers a single object in milliseconds; its own limit is 60 s, and a lease of 15 s must not wait for that. */
const REQUEST_TIMEOUT_MS = 15_000;

export interface ListPage {
  readonly items: readonly unknown[];
  readonly resourceVersion: string;
  /** Token of the next page; empty on the last one. */
  readonly next: string;
}

/** Every method throws KernelPatchError with a code of the API's answers, and may be repeated. */
export interface Client {
  get(resource: Resource, name: string): Promise<KubeObject>;
  create(resource: Resource, object: object): Promise<KubeObject>;
  /** Replaces the status. With metadata.resourceVersion it is a compare-and-swap: Conflict when the object has changed. */
  replaceStatus(resource: Resource, object: { readonly metadata: { readonly name: string } }): Promise<KubeObject>;
  replace(resource: Resource, object: { readonly metadata: { readonly name: string } }): Promise<KubeObject>;
  /** Changes the given fields and no others; lists as a whole. With metadata.resourceVersion in it: Conflict when the object has changed. */
  merge(resource: Resource, name: string, fields: object): Promise<KubeObject>;
  /** Server-side apply: owns the given fields and gives up those it applied before and leaves out now. */
  apply(resource: Resource, object: { readonly metadata: { readonly name: string } }): Promise<KubeObject>;
  /** Deletes the object if it is still the one with this uid; Conflict when it is another of that name. */
  delete(resource: Resource, name: string, uid: string, options?: DeleteOptions): Promise<void>;
  listPage(resource: Resource, query: Query, signal: AbortSignal): Promise<ListPage>;
  /** The open answer of a watch; its body is one JSON event a line. */
  watch(resource: Resource, query: Query, signal: AbortSignal): Promise<IncomingMessage>;
}

/** metav1.DeleteOptions, as far as we use them. */
export interface DeleteOptions {
  readonly gracePeriodSeconds?: number;
}

export type Query = Readonly<Record<string, string>>;

/** Told of every write: the kind, the verb and Ok or the error's code. */
export type WriteObserver = (kind: string, verb: string, outcome: string) => void;

export function makeClient(transport: Transport, observeWrite: WriteObserver): Client {
  async function write(resource: Resource, verb: string, request: Omit<HttpRequest, 'signal'>): Promise<KubeObject> {
    try {
      const object = await readJson(transport, { ...request, signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS) });
      observeWrite(resource.kind, verb, 'Ok');
      return object as KubeObject;
    } catch (error) {
      observeWrite(resource.kind, verb, error instanceof KernelPatchError ? error.code : 'Network');
      throw error;
    }
  }

  return {
    async get(resource, name) {
      return (await readJson(transport, { method: 'GET', path: pathOf(resource, name), signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS) })) as KubeObject;
    },
    create: (resource, object) =>
      write(resource, 'create', { method: 'POST', path: withQuery(resource.path, owned), body: complete(resource, object), contentType: 'application/json' }),
    replace: (resource, object) =>
      write(resource, 'update', { method: 'PUT', path: pathOf(resource, object.metadata.name, owned), body: complete(resource, object), contentType: 'application/json' }),
    replaceStatus: (resource, object) =>
      write(resource, 'update-status', { method: 'PUT', path: withQuery(`${pathOf(resource, object.metadata.name)}/status`, owned), body: complete(resource, object), contentType: 'application/json' }),
    merge: (resource, name, fields) =>
      write(resource, 'patch', { method: 'PATCH', path: pathOf(resource, name, owned), body: JSON.stringify(fields), contentType: 'application/merge-patch+json' }),
    apply: (resource, object) =>
      write(resource, 'apply', { method: 'PATCH', path: pathOf(resource, object.metadata.name, { ...owned, force: 'true' }), body: complete(resource, object), contentType: 'application/apply-patch+yaml' }),
    async delete(resource, name, uid, options) {
      await write(resource, 'delete', { method: 'DELETE', path: pathOf(resource, name), body: JSON.stringify({ ...options, preconditions: { uid } }), contentType: 'application/json' });
    },
    async listPage(resource, query, signal) {
      const page = (await readJson(transport, { method: 'GET', path: withQuery(resource.path, query), signal })) as {
        readonly items?: readonly unknown[];
        readonly metadata?: { readonly resourceVersion?: string; readonly continue?: string };
      };
      if (!Array.isArray(page.items) || !page.metadata?.resourceVersion) throw new KernelPatchError('BadAnswer', `GET ${resource.path}: the answer is no list`);
      return { items: page.items, resourceVersion: page.metadata.resourceVersion, next: page.metadata.continue ?? '' };
    },
    async watch(resource, query, signal) {
      const request = { method: 'GET', path: withQuery(resource.path, { ...query, watch: 'true' }), signal } as const;
      const response = await transport(request);
      if (!isSuccess(response)) throw await failureOf(request, response);
      return response;
    },
  };
}

const owned = { fieldManager: FIELD_MANAGER };

function pathOf(resource: Resource, name: string, query: Query = {}): string {
  return withQuery(`${resource.path}/${encodeURIComponent(name)}`, query);
}

function complete({ apiVersion, kind }: Resource, object: object): string {
  return JSON.stringify({ apiVersion, kind, ...object });
}

function withQuery(path: string, query: Query): string {
  const search = new URLSearchParams(query).toString();
  return search ? `${path}?${search}` : path;
}

function isSuccess(response: IncomingMessage): boolean {
  const code = response.statusCode ?? 0;
  return code >= 200 && code < 300;
}

async function bodyOf(request: HttpRequest, response: IncomingMessage): Promise<string> {
  try {
    return await text(response);
  } catch (cause) {
    throw new KernelPatchError('Network', `${request.method} ${request.path}: the answer broke off`, { cause });
  }
}

async function readJson(transport: Transport, request: HttpRequest): Promise<unknown> {
  const response = await transport(request);
  if (!isSuccess(response)) throw await failureOf(request, response);
  const body = await bodyOf(request, response);
  try {
    return JSON.parse(body);
  } catch (cause) {
    throw new KernelPatchError('BadAnswer', `${request.method} ${request.path}: the answer is not JSON`, { cause });
  }
}

async function failureOf(request: HttpRequest, response: IncomingMessage): Promise<KernelPatchError> {
  const said = statusMessage(await bodyOf(request, response));
  const retryAfter = Number(response.headers['retry-after']);
  const status = response.statusCode ?? 0;
  return new KernelPatchError(codeOfHttp(status), `${request.method} ${request.path}: ${status} ${said}`, { said, retryAfterSeconds: retryAfter > 0 ? retryAfter : undefined });
}

interface Status {
  readonly message?: unknown;
  readonly details?: { readonly causes?: readonly { readonly message?: string }[] };
}

/** The message of a metav1.Status with the causes it does not name itself, as which budget refuses an eviction; or the first 200 characters of whatever a proxy said instead. */
function statusMessage(body: string): string {
  try {
    const { message, details } = JSON.parse(body) as Status;
    if (typeof message !== 'string') return body.slice(0, 200);
    const causes = (details?.causes ?? []).flatMap((cause) => (cause.message !== undefined && !message.includes(cause.message) ? cause.message : []));
    return [message, ...causes].join(' ');
  } catch {
    // Not a Status: a load balancer's page says something too.
  }
  return body.slice(0, 200);
}

const CODES: Readonly<Record<number, ErrorCode>> = { 400: 'Invalid', 401: 'Forbidden', 403: 'Forbidden', 404: 'NotFound', 409: 'Conflict', 410: 'Gone', 422: 'Invalid', 429: 'TooMany' };

/** The code of an HTTP status; also of the status inside a watch's ERROR event. */
export function codeOfHttp(status: number): ErrorCode {
  return CODES[status] ?? 'ServerError';
}
