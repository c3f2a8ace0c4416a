import assert from 'node:assert/strict';
import { test } from 'node:test';
import { KernelPatchError, kindOf } from '../../../operator/errors.ts';
import { decideLease, makeLease } from '../../../operator/kube/lease.ts';
import type { LeaseRecord, Sighting } from '../../../operator/kube/lease.ts';
import type { KubeObject, Resource } from '../../../operator/kube/resources.ts';
import { waitFor } from '../../wait.ts';

const lease = (holder: string, resourceVersion = '5'): LeaseRecord => ({ holder, transitions: 1, acquiredAt: '', resourceVersion, owners: [] });
const seen = (resourceVersion: string, at: number): Sighting => ({ resourceVersion, at });

for (const [sentence, record, sighting, decision] of [
  ['a lease that is not there is created', undefined, undefined, 'Create'],
  ['our own is renewed', lease('self'), undefined, 'Renew'],
  ['our own is renewed however old it is', lease('self'), seen('5', 0), 'Renew'],
  ['a released one is taken', lease(''), undefined, 'Take'],
  ["another's that we see for the first time is waited for", lease('other'), undefined, 'Wait'],
  ["another's that has just changed is waited for", lease('other'), seen('4', 0), 'Wait'],
  ["another's that has not changed for long is taken", lease('other'), seen('5', 85_000), 'Take'],
  ["another's is waited for until the last millisecond", lease('other'), seen('5', 85_001), 'Wait'],
] as const) {
  test(sentence, () => assert.equal(decideLease(record, 'self', sighting, { at: 100_000, durationMs: 15_000 }), decision));
}

/** The one Lease of a server that compares resourceVersions. */
class LeaseServer {
  object: KubeObject | undefined;
  reachable = true;
  #version = 0;

  readonly client = {
    get: async () => {
      this.#reach();
      if (!this.object) throw new KernelPatchError('NotFound', 'no lease');
      return this.object;
    },
    create: async (_resource: Resource, object: object) => {
      this.#reach();
      if (this.object) throw new KernelPatchError('Conflict', 'there is one');
      return this.#store(object);
    },
    replace: async (_resource: Resource, object: { readonly metadata: { readonly name: string; readonly resourceVersion?: string } }) => {
      this.#reach();
      if (object.metadata.resourceVersion !== this.object?.metadata.resourceVersion) throw new KernelPatchError('Conflict', 'changed');
      return this.#store(object);
    },
  };

  #reach(): void {
    if (!this.reachable) throw new KernelPatchError('Network', 'no route');
  }

  #store(object: object): KubeObject {
    this.#version += 1;
    const given = object as KubeObject;
    this.object = { ...given, metadata: { ...given.metadata, resourceVersion: String(this.#version) } };
    return this.object;
  }

  spec(): { readonly holderIdentity?: string; readonly leaseTransitions?: number } {
    return this.object?.['spec'] ?? {};
  }

  holder(): string | undefined {
    return this.spec().holderIdentity;
  }
}

const OWNER = { apiVersion: 'apps/v1', kind: 'Deployment', name: 'operator', uid: 'u' };
const TIMES = { durationMs: 150, renewDeadlineMs: 100, renewEveryMs: 20, retryMs: 10 };
/** For what has nothing to do with time: on a busy machine the event loop is late by more than 100 ms now and then. */
const PATIENT = { ...TIMES, durationMs: 60_000, renewDeadlineMs: 40_000 };

function aContender(server: LeaseServer, self: string, times = TIMES) {
  const troubles: unknown[] = [];
  const contender = makeLease({
    client: server.client,
    resource: { kind: 'Lease', apiVersion: 'coordination.k8s.io/v1', path: '/leases' },
    name: 'operator',
    self,
    times,
    elapsed: () => performance.now(),
    now: () => Date.now(),
    onTrouble: (error) => troubles.push(error),
    owner: async () => OWNER,
  });
  return { ...contender, troubles };
}

test('of two contenders one leads, and the other follows at once when it releases', async (t) => {
  const server = new LeaseServer();
  const [a, b] = [aContender(server, 'a', PATIENT), aContender(server, 'b', PATIENT)];
  t.after(() => Promise.all([a.release(), b.release()]));
  await a.acquire();
  const second = b.acquire();
  await waitFor('a renewal', { seconds: 60, every: 5 }, () => (Number(server.object?.metadata.resourceVersion) >= 3 ? true : undefined));
  assert.deepEqual([a.isHeld(), b.isHeld(), server.holder()], [true, false, 'a']);
  await a.release();
  assert.equal(a.isHeld(), false);
  await second;
  assert.deepEqual([b.isHeld(), server.holder()], [true, 'b']);
  await b.release();
  assert.equal(server.holder(), '');
  assert.deepEqual(server.object?.metadata.ownerReferences, [OWNER], 'whoever writes it, it keeps the owner it was created with');
});

test('a leader that can not renew leads no more before anybody else may', async () => {
  const server = new LeaseServer();
  const a = aContender(server, 'a');
  await a.acquire();
  server.reachable = false;
  await assert.rejects(a.lost, (error) => kindOf(error) === 'LeaseLost');
  assert.equal(a.isHeld(), false);
  assert.equal(a.troubles.length, 1, 'the same trouble is told once');
  server.reachable = true;
  await a.release();
  assert.equal(server.holder(), 'a', 'what is not held is not released');
});

test('a standby takes over from a leader that died', async () => {
  const server = new LeaseServer();
  await server.client.create({ kind: 'Lease', apiVersion: '', path: '' }, { metadata: { name: 'operator' }, spec: { holderIdentity: 'dead', leaseTransitions: 3 } });
  const b = aContender(server, 'b');
  const startedAt = performance.now();
  await b.acquire();
  assert.ok(performance.now() - startedAt >= TIMES.durationMs);
  assert.equal(server.spec().leaseTransitions, 4);
  await b.release();
});

test('a leader that finds another in its place has lost', async () => {
  const server = new LeaseServer();
  const a = aContender(server, 'a');
  await a.acquire();
  server.object = { metadata: { name: 'operator', resourceVersion: '99' }, spec: { holderIdentity: 'usurper' } };
  await assert.rejects(a.lost, (error) => kindOf(error) === 'LeaseLost');
  await a.release();
  assert.equal(server.holder(), 'usurper');
});

test('stopped before it leads, it never leads', async () => {
  const server = new LeaseServer();
  await server.client.create({ kind: 'Lease', apiVersion: '', path: '' }, { metadata: { name: 'operator' }, spec: { holderIdentity: 'other' } });
  const b = aContender(server, 'b');
  const acquired = assert.rejects(b.acquire(), (error) => kindOf(error) === 'LeaseLost');
  await b.release();
  await acquired;
  assert.equal(server.holder(), 'other');
});
