/** What becomes of a load after it was tried: its end, and a trace in the kernel log that names it, are written to the journal. */
import type { Logger } from 'pino';
import type { Clock } from '../kernel/clock.ts';
import { codeOf } from '../kernel/errors.ts';
import { readUptime } from '../kernel/facts.ts';
import type { Host } from '../kernel/host.ts';
import { isNeeded, isSoaking } from '../kernel/journal.ts';
import type { JournalRecord, Load, Moment } from '../kernel/journal.ts';
import { findTraces } from '../kernel/oops.ts';
import type { KernelPatchState } from '../kernel/patches.ts';
import { findUnpatched, phaseOf } from '../kernel/patches.ts';
import type { Journal } from './journal.ts';

/** Reading the whole ring buffer takes some milliseconds; a transition is looked at far more often than this. */
const LOG_MILLISECONDS = 10_000;

export interface Aftermath {
  /** The journal says of every load of this boot what the kernel shows of it now. What can not be written is logged and tried at the next look. */
  look(patches: ReadonlyMap<string, KernelPatchState>, bootID: string): Promise<void>;
  /** As the last look of this agent: only what a later boot or agent must know is kept, so that nothing of ours stays on a node without need. */
  end(bootID: string): Promise<void>;
}

export interface AftermathOptions {
  readonly host: Host;
  readonly clock: Clock;
  readonly journal: Journal;
  readonly log: Logger;
}

export function makeAftermath({ host, clock, journal, log }: AftermathOptions): Aftermath {
  let logReadAt = -Infinity;

  async function record(entry: JournalRecord, load: Load): Promise<void> {
    try {
      await journal.record(entry);
      if (entry.kind === 'Oops') log.error({ livePatch: load.name, sha256: load.sha256, trace: entry.trace }, 'kernel log names a live patch: its digest is quarantined');
    } catch (error) {
      if (codeOf(error) === undefined) throw error;
      log.warn({ livePatch: load.name, record: entry.kind, err: error }, 'journal was not written');
    }
  }

  async function readLog(now: Moment): Promise<void> {
    const soaking = [...journal.loads.values()].filter((load) => isSoaking(load, now));
    if (soaking.length === 0 || clock.monotonic() - logReadAt < LOG_MILLISECONDS) return;
    logReadAt = clock.monotonic();
    for (const [load, trace] of (await findTraces(host, soaking)) ?? []) await record({ kind: 'Oops', sha256: load.sha256, trace }, load);
  }

  return {
    async look(patches, bootID) {
      if (journal.loads.size === 0) return journal.tidy(() => false);
      for (const load of journal.loads.values()) {
        const outcome = load.bootID === bootID && load.outcome === 'Open' ? outcomeOf(load, patches.get(load.name)) : undefined;
        if (outcome !== undefined) await record({ kind: outcome, sha256: load.sha256 }, load);
      }
      const now = { bootID, uptimeSeconds: await readUptime(host) };
      await readLog(now);
      await journal.tidy((load) => isNeeded(load, now));
    },
    async end(bootID) {
      logReadAt = -Infinity;
      await readLog({ bootID, uptimeSeconds: await readUptime(host) });
      await journal.tidy((load) => load.outcome === 'Open' || load.trace !== undefined);
    },
  };
}

/** How an open load has ended; undefined: it has not, or a module of that name is another one. */
export function outcomeOf(load: Load, kernel: KernelPatchState | undefined): 'Committed' | 'Unloaded' | undefined {
  if (kernel === undefined) return undefined;
  const phase = phaseOf(kernel);
  if (phase === 'Gone') return 'Unloaded';
  const ours = kernel.module?.buildID === load.buildID;
  const complete = kernel.livePatch !== undefined && findUnpatched(kernel.livePatch) === undefined;
  return phase === 'Enabled' && ours && complete ? 'Committed' : undefined;
}
