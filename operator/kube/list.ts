/** A list that is read once, where no informer is kept. */
import type { Client, Query } from './client.ts';
import type { KubeObject, Resource } from './resources.ts';

/** Objects of a page: what is parsed at once. */
const PAGE_SIZE = '500';

/** 15 s: as for any other request. */
const PAGE_TIMEOUT_MS = 15_000;

/** All objects of the query, only what `project` keeps of them held in memory; what it returns nothing for is left out. */
export async function listAll<T>(client: Pick<Client, 'listPage'>, resource: Resource, query: Query, project: (object: KubeObject) => T | undefined): Promise<readonly T[]> {
  const all: T[] = [];
  let next = '';
  do {
    const page = await client.listPage(resource, { ...query, limit: PAGE_SIZE, ...(next && { continue: next }) }, AbortSignal.timeout(PAGE_TIMEOUT_MS));
    for (const object of page.items) {
      const value = project(object as KubeObject);
      if (value !== undefined) all.push(value);
    }
    ({ next } = page);
  } while (next !== '');
  return all;
}
