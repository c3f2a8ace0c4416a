/**
 * The agent's loop: look at the kernel, decide, report, do one thing, look again. Level-based: each turn starts from the kernel's state and
 * the newest intent, so an intent that changes in the middle of a transition turns it round. One turn at a time, so one transition at a time.
 */
import type { Logger } from 'pino';
import { isActive } from '../crds/nodekernel.ts';
import type { NodeKernel, NodeKernelStatus } from '../crds/nodekernel.ts';
import { makeBootLayoutReader } from '../kernel/boot/layout.ts';
import type { BootLayout } from '../kernel/boot/layout.ts';
import { KernelPatchError, codeOf } from '../kernel/errors.ts';
import { readFacts } from '../kernel/facts.ts';
import type { KernelFacts } from '../kernel/facts.ts';
import { readKpatchUtility } from '../kernel/kpatch.ts';
import type { KpatchUtility } from '../kernel/kpatch.ts';
import { readPatches } from '../kernel/patches.ts';
import { makeAftermath } from './aftermath.ts';
import type { BootFiles } from './boot/install.ts';
import { makeBootKeeper } from './boot/keep.ts';
import { decide, pickEffect } from './decide.ts';
import type { Entry } from './decide.ts';
import { hear, isSameIntent, refuseStale } from './freshness.ts';
import type { Heard } from './freshness.ts';
import { makeJournal } from './journal.ts';
import type { Memory } from './memory.ts';
import { UNCONFIRMED, recall, told } from './memory.ts';
import type { AgentMetrics } from './metrics.ts';
import { ownedOf } from './ownership.ts';
import { makeRebootKeeper } from './reboot/keep.ts';
import type { RebootLook } from './reboot/keep.ts';
import { makeFetchedKeeper, placed } from './registry/keep.ts';
import { buildStatus } from './report.ts';
import { createReporter } from './reporter.ts';
import type { Progress } from './reporter.ts';
import { identityOf, lookAgainIn } from './rules.ts';
import type { EntryView } from './rules.ts';
import { runStep } from './run.ts';
import type { Confirm, LoadingMachine } from './run.ts';
import { makeStallWatch } from './stalls.ts';
import { STEPS } from './steps.ts';
import { wakeable } from './wake.ts';

/** Facts change rarely and nothing tells when: taint, patches loaded by others, what is in /boot. Reading them takes some milliseconds. */
const FACTS_MILLISECONDS = 30_000;

export interface AgentOptions {
  readonly machine: Omit<LoadingMachine, 'journal'>;
  /** Writes the status of this node's NodeKernel. Throws KernelPatchError. */
  readonly writeStatus: (status: NodeKernelStatus) => Promise<void>;
  /** The NodeKernel as the API server has it now, and no cache. Throws KernelPatchError. */
  readonly readIntent: () => Promise<NodeKernel | undefined>;
  /** Asked at the end: whether the product goes from this node, and not only this agent. */
  readonly isRemoved: () => Promise<boolean>;
  readonly bootFiles: BootFiles;
  readonly agentVersion: string;
  readonly log: Logger;
  readonly metrics: AgentMetrics;
}

export interface Agent {
  /** The NodeKernel as it is now; undefined when there is none. */
  accept(object: NodeKernel | undefined): void;
  /** Ends after the signal, with the effect under way finished; what the kernel goes on with, the next agent finds. When none will come, the next boot loads nothing. */
  run(signal: AbortSignal): Promise<void>;
  /** When the last turn ended, on the monotonic clock. */
  readonly lastTurnAt: number;
}

export function createAgent({ machine: { host, clock, verification, registries }, writeStatus, readIntent, isRemoved, bootFiles, agentVersion, log, metrics }: AgentOptions): Agent {
  const journal = makeJournal(host, log);
  const aftermath = makeAftermath({ host, clock, journal, log });
  const stalls = makeStallWatch(host, clock);
  const bootLayout = makeBootLayoutReader(host);
  const boot = makeBootKeeper({ host, clock, files: bootFiles, verification, log });
  const machine: LoadingMachine = { host, clock, journal, verification, registries };
  const fetched = makeFetchedKeeper(host, clock, log);
  const reboots = makeRebootKeeper(machine, log);
  const wake = wakeable(clock);
  const reporter = createReporter({ clock, writeStatus, log, metrics });
  let object: NodeKernel | undefined;
  let heard: Heard | undefined;
  /** There is no object: what the last answer of the API server said. */
  let unwanted = false;
  let facts: { readonly kernel: KernelFacts; readonly kpatch: KpatchUtility; readonly at: number } | undefined;
  let layout: { readonly read: BootLayout; readonly at: number } | undefined;
  let memories: ReadonlyMap<string, Memory> | undefined;
  let lastTurnAt = clock.monotonic();

  async function freshFacts() {
    const now = clock.monotonic();
    if (facts !== undefined && now - facts.at < FACTS_MILLISECONDS) return facts;
    const kernel = await readFacts(host);
    facts = { kernel, kpatch: await readKpatchUtility(host, kernel.release), at: now };
    return facts;
  }

  /** No step of a live patch changes it. */
  async function freshLayout(): Promise<BootLayout> {
    const now = clock.monotonic();
    if (layout === undefined || now - layout.at >= FACTS_MILLISECONDS) layout = { read: await bootLayout.look(), at: now };
    return layout.read;
  }

  /** Returns when to look again, in milliseconds. */
  async function turn(current: NodeKernel): Promise<number> {
    const { kernel, kpatch } = await freshFacts();
    const wanted = (current.spec.livePatches ?? []).map(placed);
    const { bootID } = kernel;
    await journal.open();
    const owned = ownedOf(reporter.written, journal.loads, bootID);
    const patches = await readPatches(host, [...wanted, ...journal.loads.values(), ...owned].map(({ name }) => name));
    await aftermath.look(patches, bootID);
    const stall = await stalls.look(patches);
    const entries = decide(wanted, { patches, memories: memories ?? recallAll(current, bootID), journal, owned, kpatch, stall, bootID, now: clock.monotonic() });
    memories = new Map(entries.map(({ view }) => [view.wanted.name, view.memory]));
    for (const { view, step, changed } of entries) {
      if (changed) log.info({ livePatch: view.wanted.name, step: step.name, reason: step.reason, detail: step.message }, 'step');
    }
    await fetched.keep(wanted);
    const kept = await boot.keep(entries, kernel, current.spec.loadAtBoot === true);
    const outlooks = entries.map(({ view, step }) => ({ wanted: view.wanted, kernel: view.kernel, step, attempts: view.memory.attempts, ours: identityOf(view) === 'Ours' }));
    const reboot = await reboots.look(current.spec.reboot, { facts: kernel, patches, written: reporter.written });
    const status = buildStatus({ object: current, facts: kernel, layout: await freshLayout(), patches, outlooks, owned, kpatch, stall, boot: kept, reboot, previous: reporter.written, agentVersion, now: clock.now() });
    metrics.observe(status);
    const offerAgain = await reporter.offer(status, progressOf(entries, reboot), isActive(current.spec.reboot));
    const due = pickEffect(entries, reboot.holds);
    if (due !== undefined) return carryOut(due, (view) => confirm(current, view, bootID));
    // The order may have been taken back while the report was written.
    if (reboot.due) return object === current ? carryOutReboot(reboot) : 0;
    const waits = entries.map(({ view, step }) => lookAgainIn(view, step) ?? Infinity);
    return Math.min(FACTS_MILLISECONDS, offerAgain, reboot.lookAgainIn, ...waits);
  }

  function accept(next: NodeKernel | undefined): void {
    if (next?.metadata.uid !== object?.metadata.uid) reporter.assume(next?.status);
    if (next !== undefined) heard = hear(heard, next.metadata);
    const anew = object === undefined || !isSameIntent(object, next);
    memories = memories && new Map([...memories].map(([name, memory]) => [name, told(memory, anew)]));
    object = next;
    unwanted = next === undefined;
    wake.up();
  }

  /** A load is begun on what the API server says now, and not on what it said when it was last heard. When that is something else, it is decided anew. */
  async function confirm(decidedOn: NodeKernel, view: EntryView, bootID: string): ReturnType<Confirm> {
    try {
      const now = await readIntent();
      if (!isSameIntent(decidedOn, now)) {
        accept(now);
        throw new KernelPatchError('IntentChanged', `the intent has changed, and the load of ${view.wanted.name} is decided anew`);
      }
    } catch (error) {
      if (codeOf(error) === undefined || codeOf(error) === 'IntentChanged') throw error;
      return { reason: UNCONFIRMED, message: `${view.wanted.name} waits until the API server says that it is still wanted: ${(error as Error).message}` };
    }
    return refuseStale(decidedOn, view, heard, { bootID, date: clock.now() });
  }

  /** What was installed is in the very next report. */
  async function carryOutReboot(reboot: RebootLook): Promise<number> {
    facts = undefined;
    layout = undefined;
    const done = await reboots.carryOut(reboot);
    metrics.count(reboot.step.name, done ? 'ok' : 'failed');
    return done ? 0 : reboot.lookAgainIn;
  }

  /** After a step that was just begun the kernel is looked at again at once; a repeated or refused one waits for a poll's pause. */
  async function carryOut({ view, step }: Entry, confirmed: Confirm): Promise<number> {
    const pause = lookAgainIn(view, step) ?? 0;
    try {
      const memory = await runStep(machine, view, step, confirmed);
      memories = new Map(memories).set(view.wanted.name, memory);
      if (memory.unchecked !== view.memory.unchecked && memory.unchecked.length > 0) log.warn({ livePatch: view.wanted.name, unchecked: memory.unchecked }, 'live patch was loaded without these checks');
      metrics.count(step.name, memory.failure === undefined ? 'ok' : 'failed');
      return view.memory.step?.since === view.now ? 0 : pause;
    } catch (error) {
      if (codeOf(error) === undefined) throw error;
      log.warn({ livePatch: view.wanted.name, step: step.name, err: error }, 'step was not taken');
      metrics.count(step.name, 'failed');
      return pause;
    } finally {
      facts = undefined;
    }
  }

  async function removeAll(): Promise<void> {
    await boot.remove();
    await fetched.keep([]);
    await reboots.remove((await freshFacts()).kernel.bootID);
  }

  async function turnOrPause(): Promise<number> {
    try {
      if (object !== undefined) return await turn(object);
      if (unwanted) await removeAll();
      return FACTS_MILLISECONDS;
    } catch (error) {
      if (codeOf(error) === undefined) throw error;
      log.error({ err: error }, 'node could not be read');
      return FACTS_MILLISECONDS;
    }
  }

  return {
    accept,
    async run(signal) {
      await host.clearStage();
      signal.addEventListener('abort', () => wake.up());
      while (!signal.aborted) {
        const pause = await turnOrPause();
        lastTurnAt = clock.monotonic();
        if (pause > 0 && !signal.aborted) await wake.sleep(pause);
      }
      await aftermath.end((await freshFacts()).kernel.bootID);
      if (await isRemoved()) await removeAll();
    },
    get lastTurnAt() {
      return lastTurnAt;
    },
  };
}

function progressOf(entries: readonly Entry[], { inProgress }: RebootLook): Progress {
  if (entries.some(({ step }) => STEPS[step.name].kind !== 'Final')) return 'LivePatches';
  return inProgress ? 'Reboot' : 'None';
}

/** Only the first object after the start tells something that the agent does not remember itself: its last report. */
function recallAll({ metadata, spec, status }: NodeKernel, bootID: string): ReadonlyMap<string, Memory> {
  return new Map((spec.livePatches ?? []).map(placed).map((wanted) => [wanted.name, recall(wanted, status, metadata.generation ?? 0, bootID)]));
}
