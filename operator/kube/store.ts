/** The objects of one kind as last seen, our own writes included at once. */
import { isDeepStrictEqual } from 'node:util';
import type { KubeObject } from './resources.ts';

export interface Cache<T> {
  get(name: string): T | undefined;
  values(): Iterable<T>;
  /**
   * Runs a write of the object `name` and shows its result from then on, so that the next decision does not act on what was before it.
   * Older events that are still on their way are passed over until the watch has delivered that very version.
   */
  writing(name: string, write: () => Promise<KubeObject>): Promise<void>;
}

interface Entry<T> {
  readonly resourceVersion: string;
  readonly value: T;
}

/** An object that `project` throws on is left out and told to `onUnreadable`. */
export interface StoreOptions<T> {
  readonly project: (object: KubeObject) => T;
  readonly onUnreadable: (name: string, error: unknown) => void;
}

/** resourceVersions are compared for equality only: the API promises no order for all the versions we support. */
export class Store<T> implements Cache<T> {
  #entries = new Map<string, Entry<T>>();
  /** The version of our own last write that the watch has not delivered yet. */
  readonly #awaited = new Map<string, string>();
  /** Versions that the watch delivered while a write of the same object was under way: its answer may come later than its event. */
  readonly #seenWhileWriting = new Map<string, Set<string>>();
  readonly #options: StoreOptions<T>;

  constructor(options: StoreOptions<T>) {
    this.#options = options;
  }

  get(name: string): T | undefined {
    return this.#entries.get(name)?.value;
  }

  *values(): Iterable<T> {
    for (const entry of this.#entries.values()) yield entry.value;
  }

  async writing(name: string, write: () => Promise<KubeObject>): Promise<void> {
    const seen = new Set<string>();
    this.#seenWhileWriting.set(name, seen);
    try {
      const written = await write();
      const version = versionOf(written);
      const known = seen.has(version) || this.#entries.get(name)?.resourceVersion === version;
      if (known) return;
      this.#awaited.set(name, version);
      this.#put(this.#entries, written);
    } finally {
      this.#seenWhileWriting.delete(name);
    }
  }

  /** The object is as given. True when that changes what readers see. */
  upsert(object: KubeObject): boolean {
    const { name } = object.metadata;
    const version = versionOf(object);
    this.#seenWhileWriting.get(name)?.add(version);
    const awaited = this.#awaited.get(name);
    if (awaited !== undefined && awaited !== version) return false;
    this.#awaited.delete(name);
    return this.#put(this.#entries, object);
  }

  /** The object is gone. True when it was there. */
  remove(name: string): boolean {
    this.#awaited.delete(name);
    return this.#entries.delete(name);
  }

  /** Exactly these objects are there. True when that changes what readers see. */
  replaceAll(objects: ReadonlyMap<string, Entry<T>>): boolean {
    const before = this.#entries;
    this.#entries = new Map(objects);
    this.#awaited.clear();
    if (before.size !== objects.size) return true;
    for (const [name, entry] of objects) if (!isDeepStrictEqual(before.get(name)?.value, entry.value)) return true;
    return false;
  }

  /** As upsert, into a list that is not complete yet. */
  collect(list: Map<string, Entry<T>>, object: KubeObject): void {
    this.#put(list, object);
  }

  #put(entries: Map<string, Entry<T>>, object: KubeObject): boolean {
    const { name } = object.metadata;
    const before = entries.get(name);
    try {
      const value = this.#options.project(object);
      entries.set(name, { resourceVersion: versionOf(object), value });
      return !isDeepStrictEqual(before?.value, value);
    } catch (error) {
      this.#options.onUnreadable(name, error);
      return entries.delete(name);
    }
  }
}

export type Collected<T> = Map<string, Entry<T>>;

function versionOf(object: KubeObject): string {
  return object.metadata.resourceVersion ?? '';
}
