/** An operator on a World: its passes and its drains as reconcile.ts makes them, one call at a time. */
import { applyDecisions } from '../../../operator/apply.ts';
import { decide } from '../../../operator/decide.ts';
import { makeDrains } from '../../../operator/drains.ts';
import type { Drains } from '../../../operator/drains.ts';
import { KernelPatchError } from '../../../operator/errors.ts';
import { makeWrites } from '../../../operator/kube/writes.ts';
import type { Writes } from '../../../operator/kube/writes.ts';
import type { Cache } from '../../../operator/kube/store.ts';
import type { View } from '../../../operator/observe.ts';
import { makePace } from '../../../operator/pace.ts';
import type { Pace } from '../../../operator/pace.ts';
import type { Around, World } from './world.ts';

/** What a write throws once the process that makes it is dead. */
export class Killed extends Error {}

const QUIET = { info: () => undefined, warn: () => undefined };

/** What a leader sees that is not as it is now: nothing, all of it, or the NodeKernels, whose watch lags behind. */
export type Stale = 'Nothing' | 'All' | 'NodeKernels';

/** Each view shows what is there, so nothing has to be remembered of a write. */
export const NO_CACHE: Cache<never> = {
  get: () => undefined,
  values: () => [],
  async writing(_name, write) {
    await write();
  },
};

export class Leader {
  readonly #world: World;
  readonly #client: ReturnType<World['client']>;
  readonly #writes: Writes;
  #view: View | undefined;
  #pace: Pace = makePace();
  #drains: Drains;

  constructor(world: World, around: Around) {
    this.#world = world;
    this.#client = world.client(around);
    this.#writes = makeWrites({ client: this.#client, isLeader: () => true, namespace: 'ns', caches: { nodes: NO_CACHE, policies: NO_CACHE, kernelPatches: NO_CACHE, nodeKernels: NO_CACHE } });
    this.#drains = this.#makeDrains();
  }

  #makeDrains(): Drains {
    return makeDrains({ client: this.#client, writes: this.#writes, now: () => this.#world.now, nodeOf: (name) => (this.#world.nodes.has(name) ? this.#world.node(name) : undefined), onChange: () => undefined });
  }

  /** It comes back knowing nothing. */
  die(): void {
    this.#view = undefined;
    this.#pace = makePace();
    this.#drains = this.#makeDrains();
  }

  /** Decides and applies once. */
  async lead(stale: Stale = 'Nothing'): Promise<void> {
    const now = this.#world.view(this.#drains.values());
    const before = this.#view ?? now;
    const view = { Nothing: now, All: before, NodeKernels: { ...now, nodeKernels: before.nodeKernels } }[stale];
    if (stale === 'Nothing' || this.#view === undefined) this.#view = now;
    const decisions = decide({ ...view, now: this.#world.now });
    this.#drains.assign(decisions.drains);
    await this.#surviving(applyDecisions(decisions, this.#world.now, { writes: this.#writes, pace: this.#pace, log: QUIET, instance: 'test' }));
  }

  /** One look at each drain that is under way. */
  async drain(): Promise<void> {
    for (const { task } of Array.from(this.#drains.values())) await this.#surviving(this.#drains.advance(task.node));
  }

  async #surviving(work: Promise<unknown>): Promise<void> {
    try {
      await work;
    } catch (error) {
      if (!(error instanceof KernelPatchError || error instanceof Killed)) throw error;
    }
  }
}
