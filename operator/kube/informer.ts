/**
 * Keeps a Store equal to what the API server has, whatever happens to the connection. A list and what follows it come over one connection
 * (WatchList: sendInitialEvents), object by object, so that memory holds what was projected and never the whole list. A server that does
 * not serve WatchList is asked for pages. Readers never see half a list.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { KernelPatchError, kindOf } from '../errors.ts';
import type { ErrorCode } from '../errors.ts';
import { backoffMs } from './backoff.ts';
import type { Backoff } from './backoff.ts';
import type { Client, Query } from './client.ts';
import { parseEvent } from './events.ts';
import type { WatchEvent } from './events.ts';
import { linesOf } from './lines.ts';
import type { KubeObject, Resource } from './resources.ts';
import { Store } from './store.ts';
import type { Cache, Collected } from './store.ts';

export interface Timing {
  /** A connection without a byte for so long is given up. */
  readonly idleMs: number;
  /** So often everything is listed anew, should an event have been lost. */
  readonly relistMs: number;
  readonly backoff: Backoff;
}

export const TIMING: Timing = {
  // 150 s: the API server sends a bookmark at least every minute (bookmarkFrequency in its cacher), so two were missed.
  idleMs: 150_000,
  // 10 min, as pepr's client does.
  relistMs: 600_000,
  // Up to 10 s: an API server is back 3-6 s after a restart, and a handful of watches is no load for it.
  backoff: { firstMs: 100, capMs: 10_000 },
};

/** Objects of a page of a list: 500 Nodes are about 5 MB of JSON, which are parsed at once. */
const PAGE_SIZE = '500';

export interface InformerOptions<T> {
  readonly client: Pick<Client, 'listPage' | 'watch'>;
  readonly resource: Resource;
  readonly query?: Query;
  readonly project: (object: KubeObject) => T;
  /** What readers see has changed. */
  readonly onChange: () => void;
  /** The connection ended with an error; the informer goes on by itself. */
  readonly onRestart: (restart: Restart) => void;
  readonly onUnreadable: (kind: string, name: string, error: unknown) => void;
  readonly timing: Timing;
  readonly random: () => number;
}

export interface Restart {
  readonly kind: string;
  readonly code: ErrorCode;
  readonly error: unknown;
  /** From 1; how many it were in a row. */
  readonly failures: number;
}

export interface Informer<T> {
  readonly kind: string;
  readonly cache: Cache<T>;
  /** True once a whole list has been taken over; it stays true. */
  hasSynced(): boolean;
  start(): void;
  /** Resolves when no connection is open and none will be opened. */
  stop(): Promise<void>;
}

/** Errors after which a WatchList that did not come to its end is not tried again at once; pages are. */
const NO_WATCH_LIST: ReadonlySet<ErrorCode> = new Set(['Invalid', 'ServerError', 'BadAnswer', 'Silent', 'Gone']);
/** Errors that leave what we have trustworthy: the watch resumes where it ended. */
const RESUMABLE: ReadonlySet<ErrorCode> = new Set(['Network', 'Silent', 'TooMany']);

export function makeInformer<T>(options: InformerOptions<T>): Informer<T> {
  const { client, resource, timing } = options;
  const store = new Store<T>({ project: options.project, onUnreadable: (name, error) => options.onUnreadable(resource.kind, name, error) });
  const stopping = new AbortController();
  let synced = false;
  /** Where a watch resumes; undefined: everything has to be listed first. */
  let resourceVersion: string | undefined;
  let listDueAt = 0;
  let pagesNext = false;
  let running: Promise<void> | undefined;

  function changed(): void {
    try {
      options.onChange();
    } catch (error) {
      // The cache is right all the same; who listens has to be told that it did not listen well.
      options.onUnreadable(resource.kind, '', error);
    }
  }

  function takeOver(list: Collected<T>, version: string): void {
    const differs = store.replaceAll(list);
    resourceVersion = version;
    listDueAt = performance.now() + timing.relistMs;
    pagesNext = false;
    const first = !synced;
    synced = true;
    if (differs || first) changed();
  }

  async function listPages(signal: AbortSignal): Promise<void> {
    const list: Collected<T> = new Map();
    let next = '';
    do {
      const page = await client.listPage(resource, { ...options.query, limit: PAGE_SIZE, ...(next && { continue: next }) }, signal);
      for (const item of page.items) store.collect(list, item as KubeObject);
      next = page.next;
      if (next === '') takeOver(list, page.resourceVersion);
    } while (next !== '');
  }

  /** What the events of one connection do: fill a list until the bookmark that ends it, then change what is there. */
  function makeReceiver(filling: boolean): (event: WatchEvent) => void {
    let list: Collected<T> | undefined = filling ? new Map() : undefined;
    function collect(into: Collected<T>, { kind, object }: Exclude<WatchEvent, { kind: 'Bookmark' }>): void {
      if (kind === 'Set') store.collect(into, object);
      else into.delete(object.metadata.name);
    }
    return (event) => {
      const { name, resourceVersion: version = '' } = event.object.metadata;
      if (!list) {
        resourceVersion = version;
        if (event.kind === 'Set' && store.upsert(event.object)) changed();
        if (event.kind === 'Deleted' && store.remove(name)) changed();
      } else if (event.kind !== 'Bookmark') collect(list, event);
      else if (event.endsList) {
        takeOver(list, version);
        list = undefined;
      }
    };
  }

  async function follow(filling: boolean, signal: AbortSignal): Promise<void> {
    const query: Query = {
      ...options.query,
      allowWatchBookmarks: 'true',
      timeoutSeconds: String(Math.ceil(timing.relistMs / 1000)),
      ...(filling ? { sendInitialEvents: 'true', resourceVersionMatch: 'NotOlderThan' } : { resourceVersion: resourceVersion ?? '' }),
    };
    const receive = makeReceiver(filling);
    const silence = new AbortController();
    const timer = setTimeout(() => silence.abort(), timing.idleMs);
    const response = await client.watch(resource, query, AbortSignal.any([signal, silence.signal])).catch((error: unknown) => {
      throw silence.signal.aborted ? new KernelPatchError('Silent', `watch of ${resource.kind}: no answer`, { cause: error }) : error;
    }).finally(() => clearTimeout(timer));
    let lines = 0;
    for await (const line of linesOf(response, timing.idleMs)) {
      lines += 1;
      receive(parseEvent(resource.kind, line));
    }
    if (filling && resourceVersion === undefined) throw new KernelPatchError('BadAnswer', `watch of ${resource.kind}: ended before its initial list was complete`);
    if (lines === 0) throw new KernelPatchError('Network', `watch of ${resource.kind}: closed before anything came`);
  }

  /** One connection, from the list that is due to the end of its watch. Ends in time for the next list. */
  async function connect(): Promise<void> {
    if (performance.now() >= listDueAt) resourceVersion = undefined;
    const filling = resourceVersion === undefined && !pagesNext;
    const listDue = new AbortController();
    const signal = AbortSignal.any([stopping.signal, listDue.signal]);
    if (resourceVersion === undefined && pagesNext) await listPages(signal);
    const timer = setTimeout(() => listDue.abort(), filling ? timing.relistMs : listDueAt - performance.now());
    try {
      await follow(filling, signal);
    } catch (error) {
      if (listDue.signal.aborted) return;
      pagesNext = filling && resourceVersion === undefined && NO_WATCH_LIST.has(kindOf(error));
      if (!RESUMABLE.has(kindOf(error))) resourceVersion = undefined;
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  async function run(): Promise<void> {
    let failures = 0;
    while (!stopping.signal.aborted) {
      const startedAt = performance.now();
      try {
        await connect();
        failures = 0;
      } catch (error) {
        if (stopping.signal.aborted) return;
        const lived = performance.now() - startedAt > timing.backoff.capMs;
        failures = lived ? 1 : failures + 1;
        options.onRestart({ kind: resource.kind, code: kindOf(error), error, failures });
        const askedMs = error instanceof KernelPatchError ? (error.retryAfterSeconds ?? 0) * 1000 : 0;
        const waitMs = Math.max(askedMs, backoffMs(timing.backoff, failures, options.random));
        // The only rejection of a delay is the abort by stop(), which ends the loop.
        await delay(waitMs, undefined, { signal: stopping.signal }).catch(() => undefined);
      }
    }
  }

  return {
    kind: resource.kind,
    cache: store,
    hasSynced: () => synced,
    start() {
      running ??= run();
    },
    async stop() {
      stopping.abort();
      await running;
    },
  };
}
