/** Carries a drain on, one look at a time. It may be called again at any moment and by another leader: what counts is read anew, the memory only spares requests. */
import type { DrainOptions } from '../crds/patchpolicy.ts';
import { simulateDrain } from './drain.ts';
import type { Forecast } from './drain.ts';
import { drainStep, freshMemory, lookIn, podsLeft, remember } from './evict.ts';
import type { Answer, DrainMemory } from './evict.ts';
import { readAttachments, readBudgetsOf, readPodsOf, stillAttached } from './kube/drains.ts';
import type { DrainWrites, Reader } from './kube/drains.ts';
import { inParallel } from './kube/parallel.ts';
import type { NodeView } from './observe.ts';
import type { PodView } from './pods.ts';

/** 10: the API server takes an eviction in 3 ms, and a node holds some 100 pods at most. */
const EVICTIONS_AT_ONCE = 10;

export interface DrainOrder {
  readonly node: NodeView;
  /** Of the reboot order: the cordon's owner. */
  readonly id: string;
  /** When the drain began, in milliseconds since 1970. */
  readonly since: number;
  readonly options: DrainOptions;
  /** What the last look gave; undefined on the first one of a leader. */
  readonly memory: DrainMemory | undefined;
}

export interface DrainEffects {
  readonly client: Reader;
  readonly writes: DrainWrites;
  readonly now: () => number;
}

/** Draining: look again in againInMs. Drained: nothing that was to go is left. Parked: it did not end in time; undoing the cordon is the caller's. */
export type DrainProgress =
  | { readonly kind: 'Drained' }
  | { readonly kind: 'Parked'; readonly message: string }
  | { readonly kind: 'Draining'; readonly message: string; readonly againInMs: number; readonly memory: DrainMemory };

/** What a drain of the node would do now; nothing is changed. */
export async function forecastDrain(client: Reader, node: string, options: DrainOptions, now: number): Promise<Forecast> {
  const pods = await readPodsOf(client, node);
  const toGo = podsLeft(simulateDrain({ pods, budgets: [], options, now }));
  const budgets = await readBudgetsOf(client, new Set(toGo.map(({ namespace }) => namespace)));
  return simulateDrain({ pods, budgets, options, now });
}

/** Cordons the node unless it is, evicts what may go now, and says what is waited for. Throws what a read or the cordon throws; repeating is safe. */
export async function advanceDrain({ node, id, since, options, memory }: DrainOrder, { client, writes, now }: DrainEffects): Promise<DrainProgress> {
  if (!node.unschedulable) await writes.cordon(node, id);
  const forecast = await forecastDrain(client, node.name, options, now());
  const known = await withAttachments(memory ?? freshMemory(now()), forecast, client, node.name);
  const step = drainStep(forecast, { options, since, now: now(), memory: known });
  if (step.kind !== 'Draining') return step;
  const answers = new Map<PodView, Answer>();
  const acts = [...step.evict.map((pod) => ({ pod, verb: 'evict' as const })), ...step.remove.map((pod) => ({ pod, verb: 'remove' as const }))];
  const [error] = await inParallel(acts, EVICTIONS_AT_ONCE, async ({ pod, verb }) => {
    answers.set(pod, await writes[verb](pod, options));
  });
  if (error !== undefined) throw error;
  const after = remember(step.memory, answers, now());
  return { kind: 'Draining', message: step.message, againInMs: Math.min(step.againInMs, lookIn(after, now())), memory: after };
}

/** Volumes are looked at once all pods have gone: until then they are in use. */
async function withAttachments(memory: DrainMemory, forecast: Forecast, client: Reader, node: string): Promise<DrainMemory> {
  if (podsLeft(forecast).length > 0) return { ...memory, attachments: undefined };
  const staying = forecast.leave.filter(({ reason }) => reason !== 'Terminated').map(({ pod }) => pod);
  const attachments = memory.attachments ? await stillAttached(client, memory.attachments) : await readAttachments(client, node, staying);
  return { ...memory, attachments };
}
