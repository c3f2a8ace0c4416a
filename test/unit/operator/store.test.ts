import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { KubeObject } from '../../../operator/kube/resources.ts';
import { Store } from '../../../operator/kube/store.ts';

const object = (name: string, resourceVersion: string, value: unknown): KubeObject => ({ metadata: { name, resourceVersion }, value });

function aStore() {
  const unreadable: string[] = [];
  const store = new Store<unknown>({
    project: ({ value }) => {
      if (value === 'broken') throw new Error('not understood');
      return value;
    },
    onUnreadable: (name) => unreadable.push(name),
  });
  return { store, unreadable };
}

test('only what changes the projection is a change', () => {
  const { store } = aStore();
  assert.equal(store.upsert(object('a', '1', { x: 1 })), true);
  assert.equal(store.upsert(object('a', '2', { x: 1 })), false);
  assert.equal(store.upsert(object('a', '3', { x: 2 })), true);
  assert.equal(store.remove('a'), true);
  assert.equal(store.remove('a'), false);
});

test('a write of ours is seen at once, and older events do not undo it', async () => {
  const { store } = aStore();
  store.upsert(object('a', '1', 'old'));
  await store.writing('a', async () => object('a', '3', 'ours'));
  assert.equal(store.get('a'), 'ours');
  assert.equal(store.upsert(object('a', '2', 'older')), false);
  assert.equal(store.get('a'), 'ours');
  assert.equal(store.upsert(object('a', '3', 'ours')), false);
  assert.equal(store.upsert(object('a', '4', 'newer')), true);
  assert.equal(store.get('a'), 'newer');
});

test('an answer that comes after its own event and a newer one changes nothing', async () => {
  const { store } = aStore();
  await store.writing('a', async () => {
    store.upsert(object('a', '3', 'ours'));
    store.upsert(object('a', '4', 'newer'));
    return object('a', '3', 'ours');
  });
  assert.equal(store.get('a'), 'newer');
  assert.equal(store.upsert(object('a', '5', 'newest')), true);
});

test('a write that changed nothing does not hide what comes later', async () => {
  const { store } = aStore();
  store.upsert(object('a', '1', 'same'));
  await store.writing('a', async () => object('a', '1', 'same'));
  assert.equal(store.upsert(object('a', '2', 'later')), true);
});

test('a write that failed leaves what was there', async () => {
  const { store } = aStore();
  store.upsert(object('a', '1', 'old'));
  await assert.rejects(store.writing('a', () => Promise.reject(new Error('409'))));
  assert.equal(store.get('a'), 'old');
  assert.equal(store.upsert(object('a', '2', 'new')), true);
});

test('a whole list replaces everything, and says whether it differs', () => {
  const { store } = aStore();
  const list = (...objects: KubeObject[]) => {
    const collected = new Map();
    for (const each of objects) store.collect(collected, each);
    return store.replaceAll(collected);
  };
  assert.equal(list(object('a', '1', 'x'), object('b', '1', 'y')), true);
  assert.equal(list(object('a', '7', 'x'), object('b', '9', 'y')), false);
  assert.equal(list(object('a', '7', 'x')), true);
  assert.deepEqual([...store.values()], ['x']);
});

test('an object that is not understood is left out and named', () => {
  const { store, unreadable } = aStore();
  store.upsert(object('a', '1', 'fine'));
  assert.equal(store.upsert(object('a', '2', 'broken')), true);
  assert.equal(store.get('a'), undefined);
  assert.deepEqual(unreadable, ['a']);
});
