/** Looks at each turn of the agent at how far its reboot order is, decides what comes next, and reports it. */
import type { Logger } from 'pino';
import type { Hardware, NodeKernelStatus, RebootOrder, RebootReport } from '../../crds/nodekernel.ts';
import { timestamp } from '../../kernel/clock.ts';
import { findKernelFiles } from '../../kernel/boot/find.ts';
import { codeOf } from '../../kernel/errors.ts';
import type { KernelFacts, Switch } from '../../kernel/facts.ts';
import { isInstalling } from '../../kernel/install.ts';
import { readStaged, unstageKernel } from '../../kernel/kexec.ts';
import type { KernelPatchState } from '../../kernel/patches.ts';
import { began, memoryFor } from './memory.ts';
import type { RebootMemory } from './memory.ts';
import { describeHardware, isOver } from './outcome.ts';
import { holdsLivePatches, lookAgainIn, nextRebootStep } from './rules.ts';
import type { Installation, RebootView } from './rules.ts';
import { runRebootStep } from './run.ts';
import type { Machine } from '../run.ts';
import { REBOOT_STEPS } from './steps.ts';
import type { RebootStep } from './steps.ts';

/** What a decision looks at besides the order. */
export interface Surroundings {
  readonly facts: KernelFacts;
  readonly patches: ReadonlyMap<string, KernelPatchState>;
  /** The last status that the API server took. */
  readonly written: NodeKernelStatus | undefined;
}

export interface RebootLook {
  readonly view: RebootView;
  readonly step: RebootStep;
  /** undefined: there is no order, and nothing of one is left. */
  readonly report: Omit<RebootReport, 'since'> | undefined;
  readonly hardware: Hardware;
  /** Something is to be done now. */
  readonly due: boolean;
  readonly inProgress: boolean;
  /** No live patch may be begun. */
  readonly holds: boolean;
  /** Milliseconds. */
  readonly lookAgainIn: number;
}

export interface RebootKeeper {
  look(order: RebootOrder | undefined, surroundings: Surroundings): Promise<RebootLook>;
  /** The step has been tried once. Where the node stands now only the next look says. Returns whether nothing stood in its way. */
  carryOut(look: RebootLook): Promise<boolean>;
  /** No image of ours is left in the kernel, and nothing of it in the journal, unless the node is going down. A package manager that is at work goes on. What can not be done is logged. Cheap to repeat. */
  remove(bootID: string): Promise<void>;
}

export function makeRebootKeeper(machine: Machine, log: Logger): RebootKeeper {
  const { host, clock, journal } = machine;
  let memory: RebootMemory | undefined;

  async function orLog(act: () => Promise<void>): Promise<void> {
    try {
      await act();
    } catch (error) {
      if (codeOf(error) === undefined) throw error;
      log.warn({ err: error }, 'a reboot of the journal could not be closed');
    }
  }

  /** Nobody looks for an image while there is no order, and nothing of one. */
  async function readLoaded(order: RebootOrder | undefined, bootID: string): Promise<Switch> {
    return order === undefined && journal.reboot?.bootID !== bootID ? 'unknown' : readStaged(host);
  }

  /** Only a node that nothing was done to yet is given the kernel: later it was there, and a drained one does not wait for packages. */
  async function seeInstall(order: RebootOrder | undefined, bootID: string): Promise<Installation> {
    if (journal.reboot?.kind === 'Installing' && journal.reboot.bootID === bootID) return (await isInstalling(host)) ? 'Running' : 'Ended';
    if (order?.install === undefined || order.phase !== 'Staging' || order.bootID !== bootID) return 'NotNeeded';
    const found = await findKernelFiles(host, order.release);
    return 'reason' in found && found.reason === 'KernelMissing' ? 'Needed' : 'NotNeeded';
  }

  async function see(order: RebootOrder | undefined, { facts, patches, written }: Surroundings): Promise<Omit<RebootView, 'memory'>> {
    if (journal.reboot !== undefined && isOver(journal.reboot, facts, order, written)) await orLog(() => journal.forgetReboot());
    const reported = written?.bootID === facts.bootID && written.reboot?.id === order?.id ? written.reboot : undefined;
    const loaded = await readLoaded(order, facts.bootID);
    const install = await seeInstall(order, facts.bootID);
    return { order, running: facts, record: journal.reboot, install, loaded, moving: findMoving(patches), reported, now: clock.monotonic(), date: clock.now() };
  }

  return {
    async look(order, surroundings) {
      const seen = await see(order, surroundings);
      const before = memoryFor(order, memory);
      const step = nextRebootStep({ ...seen, memory: before });
      memory = began(before, step, seen.now);
      const view = { ...seen, memory };
      const { name, state, reason, message } = step;
      if (before.step?.reason !== reason && name !== 'Rest') log.info({ order: order?.id, step: name, state, reason, detail: message }, 'reboot');
      return {
        view,
        step,
        report: reportOf(view, step),
        hardware: describeHardware(surroundings.facts, seen.record, surroundings.written?.hardware, timestamp(seen.date)),
        due: REBOOT_STEPS[name].kind === 'Effect',
        inProgress: REBOOT_STEPS[name].kind !== 'Final',
        holds: holdsLivePatches(view),
        lookAgainIn: lookAgainIn(view, step) ?? Infinity,
      };
    },
    async carryOut({ view, step }) {
      const { failure, refusal } = view.memory;
      memory = await runRebootStep(machine, view, step.name);
      return [undefined, failure].includes(memory.failure) && [undefined, refusal].includes(memory.refusal);
    },
    async remove(bootID) {
      memory = undefined;
      await journal.open();
      const record = journal.reboot;
      if (record === undefined || (record.kind === 'GoingDown' && record.bootID === bootID)) return;
      await orLog(async () => {
        const answer = record.kind === 'Staging' && record.bootID === bootID && record.method === 'Kexec' && (await readStaged(host)) !== 'off' ? await unstageKernel(host) : undefined;
        if (answer?.ok === false) log.warn({ errno: answer.errno }, 'the image for kexec could not be taken out of the kernel');
        await journal.forgetReboot();
      });
    },
  };
}

/** A live patch in transition, or whose module is coming or going. */
function findMoving(patches: ReadonlyMap<string, KernelPatchState>): string | undefined {
  return [...patches.values()].find(({ livePatch, module }) => livePatch?.transition === 'on' || module?.initState === 'coming' || module?.initState === 'going')?.name;
}

/** Without an order only what could not be taken back is told. */
function reportOf({ order, record, running }: RebootView, { name, state, reason, message }: RebootStep): Omit<RebootReport, 'since'> | undefined {
  if (order !== undefined) return { id: order.id, state, reason, message };
  const left = record?.bootID === running.bootID && (name === 'Refuse' || name === 'AwaitDown' || name === 'AwaitInstall');
  return left ? { id: record.id, state, reason, message } : undefined;
}
