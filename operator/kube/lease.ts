/**
 * Leader election as client-go does it: a Lease that its holder renews, judged by each contender's own clock since it last saw it change.
 * There is no fencing in it. What protects nodes is that a leader asks isHeld() before every write and that every write which starts
 * something carries a resourceVersion (apply.ts).
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { OwnerReference } from '../../crds/common.ts';
import { KernelPatchError, kindOf } from '../errors.ts';
import type { ErrorCode } from '../errors.ts';
import type { Client } from './client.ts';
import type { KubeObject, Resource } from './resources.ts';

/** client-go's durations (15 s, 10 s, 2 s), but for a renewal every 5 s, which is 12 requests a minute instead of 30. */
export const LEASE_TIMES = {
  /** A lease that has not changed for so long may be taken. */
  durationMs: 15_000,
  /** A leader that has not renewed for so long is one no more: well before others may take over. */
  renewDeadlineMs: 10_000,
  renewEveryMs: 5_000,
  /** How often a standby looks, and a leader tries again after a failed renewal. */
  retryMs: 2_000,
};
export type LeaseTimes = typeof LEASE_TIMES;

export interface LeaseRecord {
  readonly holder: string;
  readonly transitions: number;
  readonly acquiredAt: string;
  readonly resourceVersion: string;
  /** Carried along by every write, since a PUT without them takes them away. */
  readonly owners: readonly OwnerReference[];
}

/** The version of the lease we saw last, and when we first saw it, on our own clock. */
export interface Sighting {
  readonly resourceVersion: string;
  readonly at: number;
}

export type LeaseDecision = 'Create' | 'Renew' | 'Take' | 'Wait';

/** What `self` does about the lease. An empty holder has released it; another's is taken once it has not changed for durationMs. */
export function decideLease(lease: LeaseRecord | undefined, self: string, seen: Sighting | undefined, now: { readonly at: number; readonly durationMs: number }): LeaseDecision {
  if (!lease) return 'Create';
  if (lease.holder === self) return 'Renew';
  if (lease.holder === '') return 'Take';
  const unchanged = seen?.resourceVersion === lease.resourceVersion;
  return unchanged && now.at - seen.at >= now.durationMs ? 'Take' : 'Wait';
}

export interface LeaseOptions {
  readonly client: Pick<Client, 'get' | 'create' | 'replace'>;
  readonly resource: Resource;
  readonly name: string;
  /** Unlike any other contender's, also than that of the same pod's previous container. */
  readonly self: string;
  readonly times: LeaseTimes;
  /** Milliseconds that only go forward. */
  readonly elapsed: () => number;
  /** The wall clock, for the fields that people read. */
  readonly now: () => number;
  /** The lease can not be read or written, once for each reason in a row. */
  readonly onTrouble: (error: unknown) => void;
  /** Whose end is the end of a lease that we create. When it throws there is no lease. */
  readonly owner: () => Promise<OwnerReference>;
}

export interface Lease {
  /** Resolves when this process leads; rejects with LeaseLost when stopped before. */
  acquire(): Promise<void>;
  /** True as long as nobody else can have taken over. */
  isHeld(): boolean;
  /** Rejects with LeaseLost when the lease was lost; never resolves. */
  readonly lost: Promise<never>;
  /** Releases the lease if it is held, so that a standby takes over at once. */
  release(): Promise<void>;
}

export function makeLease(options: LeaseOptions): Lease {
  const { client, resource, name, self, times } = options;
  const stopping = new AbortController();
  let seen: Sighting | undefined;
  /** Undefined while we do not lead. */
  let renewedAt: number | undefined;
  const loss = Promise.withResolvers<never>();
  // Whoever awaits it still sees the rejection; nobody may be awaiting it yet.
  loss.promise.catch(() => undefined);
  let trouble: ErrorCode | undefined;
  let acquiring: Promise<void> | undefined;
  let keeping: Promise<void> | undefined;

  const isHeld = () => renewedAt !== undefined && options.elapsed() - renewedAt < times.renewDeadlineMs;

  async function read(): Promise<KubeObject | undefined> {
    try {
      return await client.get(resource, name);
    } catch (error) {
      if (kindOf(error) === 'NotFound') return undefined;
      throw error;
    }
  }

  function body(lease: LeaseRecord | undefined, holder: string, owners: readonly OwnerReference[]): { metadata: { name: string; ownerReferences: readonly OwnerReference[]; resourceVersion?: string }; spec: object } {
    // metav1.MicroTime wants six digits.
    const at = new Date(options.now()).toISOString().replace('Z', '000Z');
    const taken = lease?.holder !== holder;
    return {
      metadata: { name, ownerReferences: owners, ...(lease && { resourceVersion: lease.resourceVersion }) },
      spec: {
        holderIdentity: holder,
        leaseDurationSeconds: times.durationMs / 1000,
        leaseTransitions: (lease?.transitions ?? 0) + (taken && holder !== '' ? 1 : 0),
        renewTime: at,
        acquireTime: taken ? at : lease.acquiredAt,
      },
    };
  }

  /** One look at the lease and at most one write. True when we hold it afterwards. Conflict: somebody was faster. */
  async function attempt(): Promise<boolean> {
    const startedAt = options.elapsed();
    const lease = recordOf(await read());
    const decision = decideLease(lease, self, seen, { at: startedAt, durationMs: times.durationMs });
    if (lease && seen?.resourceVersion !== lease.resourceVersion) seen = { resourceVersion: lease.resourceVersion, at: startedAt };
    if (decision === 'Wait') return false;
    await (lease ? client.replace(resource, body(lease, self, lease.owners)) : client.create(resource, body(undefined, self, [await options.owner()])));
    // Counted from before the request: others judge by when they saw the write, which is later.
    renewedAt = startedAt;
    return true;
  }

  async function pause(ms: number): Promise<void> {
    // The only rejection is the abort by release().
    await delay(ms, undefined, { signal: stopping.signal }).catch(() => undefined);
  }

  async function tryOnce(): Promise<boolean | undefined> {
    try {
      const held = await attempt();
      trouble = undefined;
      return held;
    } catch (error) {
      const code = kindOf(error);
      if (code !== 'Conflict' && code !== trouble) options.onTrouble(error);
      trouble = code;
      return undefined;
    }
  }

  async function wait(): Promise<void> {
    while (!stopping.signal.aborted) {
      if ((await tryOnce()) === true) return;
      await pause(times.retryMs);
    }
  }

  async function keep(): Promise<void> {
    let renewed = true;
    while (!stopping.signal.aborted) {
      await pause(renewed ? times.renewEveryMs : times.retryMs);
      if (stopping.signal.aborted) return;
      const outcome = await tryOnce();
      renewed = outcome === true;
      if (outcome === false || !isHeld()) {
        renewedAt = undefined;
        loss.reject(new KernelPatchError('LeaseLost', outcome === false ? `Lease ${name} is held by another` : `Lease ${name} was not renewed for ${times.renewDeadlineMs / 1000} s`));
        return;
      }
    }
  }

  return {
    isHeld,
    lost: loss.promise,
    async acquire() {
      acquiring ??= wait();
      await acquiring;
      if (!isHeld()) throw new KernelPatchError('LeaseLost', `stopped before Lease ${name} was acquired`);
      keeping ??= keep();
    },
    async release() {
      stopping.abort();
      await acquiring;
      await keeping;
      if (!isHeld()) return;
      renewedAt = undefined;
      const lease = recordOf(await read());
      if (lease?.holder === self) await client.replace(resource, body(lease, '', lease.owners));
    },
  };
}

function recordOf(object: KubeObject | undefined): LeaseRecord | undefined {
  if (!object) return undefined;
  const spec = (object['spec'] ?? {}) as { readonly holderIdentity?: string; readonly leaseTransitions?: number; readonly acquireTime?: string };
  return { holder: spec.holderIdentity ?? '', transitions: spec.leaseTransitions ?? 0, acquiredAt: spec.acquireTime ?? '', resourceVersion: object.metadata.resourceVersion ?? '', owners: object.metadata.ownerReferences ?? [] };
}
