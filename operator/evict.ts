/** A drain that is under way, pure: what is evicted now, what is waited for and in whose name, when to look again, when it has ended. */
import type { DrainOptions } from '../crds/patchpolicy.ts';
import { isDeletable, sayObstacle } from './drain.ts';
import type { Evictable, Forecast } from './drain.ts';
import { saySome } from './names.ts';
import { clip } from './plan.ts';
import { nameOf } from './pods.ts';
import type { AttachmentView, PodView } from './pods.ts';
import { instant } from './instant.ts';

/** What a leader remembers between two looks. One that begins anew with an empty memory tries each refused pod once earlier, and lists attachments once more. */
export interface DrainMemory {
  /** By uid of the pod. */
  readonly refusals: ReadonlyMap<string, Refusal>;
  /** Volumes that are to be detached; undefined: not looked at yet. */
  readonly attachments: readonly AttachmentView[] | undefined;
  /** How many pods and volumes were left at the last look. */
  readonly left: number;
  /** When something last went on, in milliseconds since 1970. */
  readonly changedAt: number;
}

/** The API server did not take an eviction or a deletion. */
export interface Refusal {
  /** Until when it is not tried again. */
  readonly until: number;
  readonly message: string;
}

/** What the API server answered to one. Gone: there is no such pod any more. */
export type Answer = { readonly kind: 'Accepted' | 'Gone' } | { readonly kind: 'Refused'; readonly message: string; readonly retryAfterMs: number };

export interface Draining {
  readonly options: DrainOptions;
  /** When the drain began. */
  readonly since: number;
  readonly now: number;
  readonly memory: DrainMemory;
}

/** Drained: every pod that is to go has gone, and its volumes are detached. Parked: it does not end in time; the node is to be given back. */
export type DrainStep =
  | { readonly kind: 'Drained' }
  | { readonly kind: 'Parked'; readonly message: string }
  | {
      readonly kind: 'Draining';
      readonly message: string;
      readonly evict: readonly PodView[];
      /** Deleted past their budgets, since the drain has taken too long. */
      readonly remove: readonly PodView[];
      readonly againInMs: number;
      readonly memory: DrainMemory;
    };

/** 5 s between two tries of one pod, as kubectl drain: at most 12 refused evictions a minute and pod. */
const RETRY_MS = 5000;

/** Between two looks: from 250 ms while pods go, to 5 s when nothing has for 20 s. Two lists, of the node's pods and of the budgets, are what a look costs. */
const LOOK_MS = { least: 250, most: 5000 };
const SHARE_OF_STILLNESS = 4;

export function freshMemory(now: number): DrainMemory {
  return { refusals: new Map(), attachments: undefined, left: 0, changedAt: now };
}

/** The pods that are still to go. */
export function podsLeft({ evict, going, blocked }: Forecast): readonly PodView[] {
  return [...blocked.map(({ pod }) => pod), ...evict.map(({ pod }) => pod), ...going];
}

/**
 * The next step. Budgets are read and not tried out: only as many pods are evicted as they allow now, so that a refusal is what another client has just used up. After the deadline onTimeout Delete
 * deletes what it may, and gives the node back when that has not ended as long after.
 */
export function drainStep(forecast: Forecast, { options, since, now, memory }: Draining): DrainStep {
  const { attachments = [] } = memory;
  const left = podsLeft(forecast).length + attachments.length;
  if (left === 0) return { kind: 'Drained' };
  const deadline = since + options.timeoutSeconds * 1000;
  const lastDeadline = options.onTimeout === 'Delete' ? deadline + options.timeoutSeconds * 1000 : deadline;
  const late = now >= deadline;
  const message = describe(forecast, { options, since, now, memory });
  if (options.onTimeout !== 'Wait' && now >= lastDeadline) return { kind: 'Parked', message };
  const deletes = late && options.onTimeout === 'Delete';
  const evict = deletes ? [] : dueEvictions(forecast.evict, memory, now);
  const remove = deletes ? deletable(forecast).filter((pod) => !isHeld(pod, memory, now)) : [];
  const next = { ...memory, refusals: withoutGone(forecast, memory), left, changedAt: left === memory.left ? memory.changedAt : now };
  const ends = [deadline, lastDeadline].filter((end) => end > now);
  return { kind: 'Draining', message, evict, remove, againInMs: Math.min(lookIn(next, now), ...ends.map((end) => end - now)), memory: next };
}

/** In how many milliseconds to look again when nothing else is due. */
export function lookIn({ changedAt }: DrainMemory, now: number): number {
  return Math.min(LOOK_MS.most, Math.max(LOOK_MS.least, (now - changedAt) / SHARE_OF_STILLNESS));
}

function isHeld({ uid }: PodView, { refusals }: DrainMemory, now: number): boolean {
  return (refusals.get(uid)?.until ?? 0) > now;
}

/** As many pods of each budget as it allows, none while one of them was just refused; all pods without one. */
function dueEvictions(evict: readonly Evictable[], memory: DrainMemory, now: number): readonly PodView[] {
  const room = new Map<string, number>();
  for (const { pod, budget } of evict) {
    if (!budget) continue;
    const key = nameOf(budget);
    room.set(key, isHeld(pod, memory, now) ? 0 : (room.get(key) ?? budget.disruptionsAllowed));
  }
  return evict
    .filter(({ pod, budget }) => {
      if (isHeld(pod, memory, now)) return false;
      if (!budget) return true;
      const free = room.get(nameOf(budget)) ?? 0;
      room.set(nameOf(budget), free - 1);
      return free > 0;
    })
    .map(({ pod }) => pod);
}

function deletable({ evict, blocked }: Forecast): readonly PodView[] {
  return [...blocked.filter(({ obstacles }) => isDeletable(obstacles)).map(({ pod }) => pod), ...evict.map(({ pod }) => pod)];
}

function withoutGone(forecast: Forecast, { refusals }: DrainMemory): ReadonlyMap<string, Refusal> {
  const there = new Set(podsLeft(forecast).map(({ uid }) => uid));
  return new Map([...refusals].filter(([uid]) => there.has(uid)));
}

/** The memory after the API server has answered. */
export function remember(memory: DrainMemory, answers: ReadonlyMap<PodView, Answer>, now: number): DrainMemory {
  const refusals = new Map(memory.refusals);
  let { changedAt } = memory;
  for (const [{ uid }, answer] of answers) {
    if (answer.kind === 'Refused') refusals.set(uid, { until: now + Math.max(RETRY_MS, answer.retryAfterMs), message: answer.message });
    else {
      refusals.delete(uid);
      changedAt = now;
    }
  }
  return { ...memory, refusals, changedAt };
}

/** What is waited for: what a person can do something about first. */
function describe(forecast: Forecast, { options, since, now, memory }: Draining): string {
  const waits = [...blockedWaits(forecast), ...evictWaits(forecast, memory), ...goingWaits(forecast), ...volumeWaits(memory)];
  const pods = podsLeft(forecast).length;
  const what = pods > 0 ? `${pods} ${pods === 1 ? 'pod is' : 'pods are'} left` : 'all pods have gone';
  const late = now >= since + options.timeoutSeconds * 1000 ? ` ${options.timeoutSeconds} s after ${instant(since)}` : '';
  return clip(`${what}${late}: ${saySome(waits)}`);
}

function blockedWaits({ blocked }: Forecast): readonly string[] {
  return blocked.flatMap(({ obstacles }) => obstacles.map(sayObstacle));
}

function evictWaits({ evict }: Forecast, { refusals }: DrainMemory): readonly string[] {
  return evict.map(({ pod, budget }) => {
    const refusal = refusals.get(pod.uid);
    if (refusal) return `${nameOf(pod)}: ${refusal.message}`;
    return budget ? `${nameOf(pod)} takes its turn: PodDisruptionBudget ${nameOf(budget)} allows ${budget.disruptionsAllowed} at once` : `${nameOf(pod)} is being evicted`;
  });
}

function goingWaits({ going }: Forecast): readonly string[] {
  return going.map((pod) => `${nameOf(pod)} is ending${pod.deletion ? ` since ${instant(pod.deletion.since)}, until ${instant(pod.deletion.due)} at most` : ''}`);
}

function volumeWaits({ attachments = [] }: DrainMemory): readonly string[] {
  return attachments.map(({ name, volume }) => `${volume === undefined ? 'a volume' : `volume ${volume}`} is still attached (VolumeAttachment ${name})`);
}
