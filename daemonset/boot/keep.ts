/** Decides at each turn of the agent what the node's next boot is to load, sees to it, and reports it. */
import type { Logger } from 'pino';
import type { BootReport } from '../../crds/nodekernel.ts';
import type { Clock } from '../../kernel/clock.ts';
import { KernelPatchError } from '../../kernel/errors.ts';
import type { KernelFacts } from '../../kernel/facts.ts';
import type { Host } from '../../kernel/host.ts';
import type { Entry } from '../decide.ts';
import { describeTrust } from '../trust/vouch.ts';
import type { Verification } from '../trust/vouch.ts';
import { install, readInstalled, uninstall } from './install.ts';
import type { BootFiles } from './install.ts';
import { chooseModules } from './manifest.ts';
import type { BootModule } from './manifest.ts';

/** What somebody else did to the files is found after this long; a look costs some milliseconds. */
const LOOK_MILLISECONDS = 30_000;

export interface BootKeeper {
  /** The node's next boot loads what it is to load, and nothing else; or the report says why not. undefined: there is nothing to load. */
  keep(entries: readonly Entry[], facts: KernelFacts, allowed: boolean): Promise<BootReport | undefined>;
  /** Nothing of it is left on the node; what can not be removed is logged. Cheap to repeat. */
  remove(): Promise<void>;
}

export interface BootKeeperOptions {
  readonly host: Host;
  readonly clock: Clock;
  readonly files: BootFiles;
  readonly verification: Verification;
  readonly log: Logger;
}

const OFF: BootReport = { state: 'Off', reason: 'NotAllowed', message: 'livePatch.atBoot of the PatchPolicy is false: after a boot the live patches are loaded when the agent has started' };

export function makeBootKeeper({ host, clock, files, verification, log }: BootKeeperOptions): BootKeeper {
  /** What was chosen last; at first what an earlier agent has left on the node. */
  let kept: readonly BootModule[] | undefined;
  const vouched = new Set<string>();
  /** By which trust they were vouched for. */
  let trust: string | undefined;
  let last: { readonly decision: string; readonly at: number; readonly report: BootReport | undefined } | undefined;

  async function carryOut(modules: readonly BootModule[], entries: readonly Entry[], facts: KernelFacts): Promise<BootReport | undefined> {
    if (modules.length === 0) {
      await uninstall(host);
      return undefined;
    }
    if ((await host.list('/run/systemd/system')) === undefined) return unavailable('NoSystemd', 'the node does not boot with systemd');
    const now = await describeTrust(verification);
    if (now !== trust) vouched.clear();
    trust = now;
    const refusal = await install(host, { files, facts, modules, wanted: entries.map(({ view }) => view.wanted), verification, vouched });
    if (refusal !== undefined) return unavailable(refusal.reason, refusal.message);
    const names = modules.map(({ name }) => name).join(', ');
    return { state: 'Kept', reason: 'Kept', message: `the next boot of ${facts.release} loads ${names} before the network; kernelpatch.boot=0 on the kernel's command line skips it` };
  }

  async function orElse<T>(act: () => Promise<T>, failed: (error: KernelPatchError) => T): Promise<T> {
    try {
      return await act();
    } catch (error) {
      if (!(error instanceof KernelPatchError)) throw error;
      log.warn({ err: error }, 'what the next boot loads could not be looked at or changed');
      return failed(error);
    }
  }

  return {
    async keep(entries, facts, allowed) {
      kept ??= await orElse(() => readInstalled(host, facts), () => []);
      const active = chooseModules(entries, kept);
      const modules = allowed ? active : [];
      kept = modules;
      const now = clock.monotonic();
      const decision = JSON.stringify(modules);
      if (last?.decision !== decision || now - last.at >= LOOK_MILLISECONDS) {
        const report = await orElse(() => carryOut(modules, entries, facts), (error) => unavailable(error.code, error.message));
        last = { decision, at: now, report };
      }
      return last.report ?? (modules.length < active.length ? OFF : undefined);
    },
    async remove() {
      kept = undefined;
      last = undefined;
      await orElse(() => uninstall(host), () => undefined);
    },
  };
}

function unavailable(reason: string, why: string): BootReport {
  return { state: 'Unavailable', reason, message: `${why}. After a boot the live patches are loaded when the agent has started` };
}
