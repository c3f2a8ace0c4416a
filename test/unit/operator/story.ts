/** A story of one cluster that is told again and again, its operator killed once: before or after each of its writes in turn. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Killed, Leader } from './leader.ts';
import type { Machine, MachineFields } from './machine.ts';
import { World } from './world.ts';
import type { PodNature } from './world.ts';

export type Kill = { readonly at: number; readonly when: 'before' | 'after' } | undefined;

/** How often a pass is made, and for how long. */
interface Time {
  readonly passes: number;
  /** Between two of them; 1 unless told. */
  readonly seconds?: number;
}

/** One operator after the other on one cluster. */
export class Cluster {
  readonly world = new World();
  /** The writes that were made, in their order. */
  readonly made: string[] = [];
  killed = false;
  readonly #leader: Leader;
  #isDead = false;

  constructor(nodes: Story['nodes'], kill: Kill) {
    nodes.forEach((node, index) => this.world.addNode(`n${index}`, node));
    this.#leader = new Leader(this.world, async (make, what) => this.#write(make, what, kill));
  }

  #write<T>(make: () => T, what: string, kill: Kill): T {
    const isLast = !this.killed && this.made.length === kill?.at;
    if (isLast && kill?.when === 'before') this.#die();
    if (this.#isDead) throw new Killed();
    this.made.push(what);
    const object = make();
    if (isLast) this.#die();
    return object;
  }

  #die(): void {
    this.#isDead = true;
    this.killed = true;
  }

  /** A dead operator is followed by the next one. */
  #succeed(): void {
    if (this.#isDead) this.#leader.die();
    this.#isDead = false;
  }

  async run({ passes, seconds = 1 }: Time): Promise<void> {
    for (let pass = 0; pass < passes; pass += 1) {
      await this.#leader.lead();
      this.#succeed();
      await this.#leader.drain();
      this.#succeed();
      for (const name of this.world.places.keys()) {
        this.world.runAgent(name);
        // It is down for a while, long enough to be missed.
        if (this.world.machine(name).isDown && pass % 5 === 4) this.world.boot(name);
        this.world.runKubelet(name);
      }
      this.world.now += seconds * 1000;
    }
  }

  machine(name: string): Machine {
    return this.world.machine(name);
  }

  loaded(name: string): readonly string[] {
    return [...this.machine(name).loaded].sort();
  }
}

export interface Story {
  readonly nodes: readonly (MachineFields & { readonly pods?: PodNature })[];
  readonly tell: (cluster: Cluster) => Promise<void>;
  readonly assertEnd: (cluster: Cluster) => void;
}

async function play({ nodes, tell, assertEnd }: Story, kill: Kill): Promise<Cluster> {
  const cluster = new Cluster(nodes, kill);
  await tell(cluster);
  const when = kill ? `killed ${kill.when} write ${kill.at}, ${cluster.made[kill.at]}` : 'not killed';
  assert.deepEqual(cluster.world.violations, [], when);
  try {
    assertEnd(cluster);
  } catch (error) {
    throw new Error(when, { cause: error });
  }
  return cluster;
}

/** Each story, told without a kill and once for each moment of a kill: its end is always the same. Prints the moments. */
export function tellAll(stories: Readonly<Record<string, Story>>): void {
  for (const [what, story] of Object.entries(stories)) {
    test(`an operator killed before or after any of its writes in ${what} changes nothing about its end`, async (t) => {
      const { made } = await play(story, undefined);
      t.diagnostic(`effects: ${made.join(', ')}`);
      for (let at = 0; at < made.length; at += 1) {
        for (const when of ['before', 'after'] as const) assert.ok((await play(story, { at, when })).killed, `write ${at} was reached`);
      }
    });
  }
}
