/** The drains that reboot orders ask for: each is carried on by itself, and the decisions see how far it is. Nothing here outlives a leader: the next one looks again. */
import { isDeepStrictEqual } from 'node:util';
import type { DrainOptions } from '../crds/patchpolicy.ts';
import { advanceDrain, forecastDrain } from './advance.ts';
import type { DrainEffects } from './advance.ts';
import { holds } from './cordon.ts';
import { obstaclesToBegin, sayObstacle } from './drain.ts';
import type { DrainMemory } from './evict.ts';
import { saySome } from './names.ts';
import type { NodeView } from './observe.ts';
import type { DrainState } from './reboot.ts';

export interface DrainTask {
  readonly node: string;
  /** Of the reboot order. */
  readonly id: string;
  /** Simulate: nothing is touched. */
  readonly kind: 'Simulate' | 'Drain';
  /** When the drain began, in milliseconds since 1970. */
  readonly since: number;
  readonly options: DrainOptions;
}

/** How far a task is; `state` is undefined until it was looked at. */
export interface DrainReport {
  readonly task: DrainTask;
  readonly state: DrainState | undefined;
}

export interface Drains {
  values(): Iterable<DrainReport>;
  /** These are to be carried on, and no others. Returns the nodes whose task is new. */
  assign(tasks: readonly DrainTask[]): readonly string[];
  /** One look at the node's task. Returns in how many milliseconds it is due again; undefined: not by itself. Throws what a read or a write throws; repeating is safe. */
  advance(node: string): Promise<number | undefined>;
}

export interface DrainsOptions extends DrainEffects {
  readonly nodeOf: (name: string) => NodeView | undefined;
  /** A state has changed. */
  readonly onChange: () => void;
}

interface Entry extends DrainReport {
  readonly memory: DrainMemory | undefined;
}

/** 30 s: whoever makes room for a drain sees it go on soon, and a look at a node costs two lists. */
const SIMULATE_AGAIN_MS = 30_000;
/** 5 s: an answer that is not acted on, as when its write fails, grows old. */
const LOOK_AGAIN_MS = 5000;

export function makeDrains(options: DrainsOptions): Drains {
  const { client, now, nodeOf, onChange } = options;
  const entries = new Map<string, Entry>();

  function isOf(task: DrainTask): boolean {
    return entries.get(task.node)?.task === task;
  }

  /** What was found out about a task that is still the node's. */
  function note(task: DrainTask, state: DrainState, memory?: DrainMemory): void {
    const entry = entries.get(task.node);
    if (entry?.task !== task) return;
    entries.set(task.node, { task, state, memory });
    if (!isDeepStrictEqual(entry.state, state)) onChange();
  }

  /** One look at a drain. No watch tells of the cordon that it may have made, also for an order that has gone meanwhile. */
  async function carryOn({ task, memory }: Entry, node: NodeView): Promise<number | undefined> {
    try {
      const progress = await advanceDrain({ ...task, node, memory }, options);
      if (progress.kind === 'Draining') note(task, { kind: 'Draining', message: progress.message }, progress.memory);
      else note(task, progress);
      return progress.kind === 'Draining' ? progress.againInMs : LOOK_AGAIN_MS;
    } finally {
      if (!holds(node, task.id) || !isOf(task)) onChange();
    }
  }

  return {
    values: () => entries.values(),
    assign(tasks) {
      const wanted = new Map(tasks.map((task) => [task.node, task]));
      for (const node of entries.keys()) if (!wanted.has(node)) entries.delete(node);
      const fresh = tasks.filter((task) => !isDeepStrictEqual(entries.get(task.node)?.task, task));
      for (const task of fresh) entries.set(task.node, { task, state: undefined, memory: undefined });
      return fresh.map(({ node }) => node);
    },
    async advance(name) {
      const entry = entries.get(name);
      const node = nodeOf(name);
      if (entry === undefined || node === undefined) return undefined;
      if (entry.task.kind === 'Drain') return carryOn(entry, node);
      const state = await simulate(entry.task);
      note(entry.task, state);
      return state.kind === 'Blocked' ? SIMULATE_AGAIN_MS : LOOK_AGAIN_MS;
    },
  };

  async function simulate({ node, options: drain }: DrainTask): Promise<DrainState> {
    const obstacles = obstaclesToBegin(await forecastDrain(client, node, drain, now()), drain);
    return obstacles.length === 0 ? { kind: 'Possible' } : { kind: 'Blocked', message: saySome(obstacles.map(sayObstacle)) };
  }
}
