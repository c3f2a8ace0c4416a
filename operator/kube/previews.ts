/** Looks at drains ahead of time. Holds what was seen and reads pods of single nodes, so that no informer has to hold all pods of the cluster. */
import { describeForecast, simulateDrain } from '../drain.ts';
import type { BudgetView } from '../pods.ts';
import { dueInMs } from '../preview.ts';
import type { DrainAsk, Preview } from '../preview.ts';
import { readAllBudgets, readPodsOf } from './drains.ts';
import type { Reader } from './drains.ts';
import { inParallel } from './parallel.ts';

/** At once: a list of one node's pods takes the API server 4 ms, and others need it too. */
const READS_AT_ONCE = 4;
/** Nodes in one go: the budgets of the cluster are read once for them, and the decisions are made anew once after them. */
const NODES_AT_ONCE = 50;

export interface Previews {
  /** As last seen. */
  values(): Iterable<Preview>;
  /**
   * Looks at what is due of these, forgets all others, and returns in how many milliseconds more is due. Throws the first error after the rest was looked at; what could not be is
   * still due then.
   */
  refresh(asks: readonly DrainAsk[]): Promise<number | undefined>;
}

export interface PreviewsOptions {
  readonly client: Reader;
  readonly now: () => number;
  /** Something was looked at. */
  readonly onChange: () => void;
}

export function makePreviews({ client, now, onChange }: PreviewsOptions): Previews {
  const known = new Map<string, Preview>();

  async function look({ node, key, options }: DrainAsk, budgets: ReadonlyMap<string, readonly BudgetView[]>): Promise<void> {
    const pods = await readPodsOf(client, node);
    const own = [...new Set(pods.map(({ namespace }) => namespace))].flatMap((namespace) => budgets.get(namespace) ?? []);
    known.set(node, { node, key, at: now(), drain: describeForecast(simulateDrain({ pods, budgets: own, options, now: now() })) });
  }

  function nextInMs(asks: readonly DrainAsk[]): number | undefined {
    const waits = asks.map((ask) => dueInMs(ask, known, now()));
    return waits.length === 0 ? undefined : waits.reduce((a, b) => Math.min(a, b));
  }

  return {
    values: () => known.values(),
    async refresh(asks) {
      const asked = new Set(asks.map(({ node }) => node));
      for (const node of known.keys()) if (!asked.has(node)) known.delete(node);
      const due = asks.filter((ask) => dueInMs(ask, known, now()) === 0);
      if (due.length === 0) return nextInMs(asks);
      const budgets = Map.groupBy(await readAllBudgets(client), ({ namespace }) => namespace);
      const [error] = await inParallel(due.slice(0, NODES_AT_ONCE), READS_AT_ONCE, (ask) => look(ask, budgets));
      onChange();
      if (error !== undefined) throw error;
      return nextInMs(asks);
    },
  };
}
