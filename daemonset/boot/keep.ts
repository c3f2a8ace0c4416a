/** Decides at each turn of the agent what the node's next boot is to load, sees to it, and reports it. */
import type { Logger } from 'pino';
import type { BootReport } from '../../crds/nodekernel.ts';
import type { Clock } from '../../kernel/clock.ts';
import { KernelPatchError } from '../../kernel/errors.ts';
import type { KernelFacts } from '../../kernel/facts.ts';
import type { Host } from '../../kernel/host.ts';
import type { Entry } from '../decide.ts';
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
  readonly log: Logger;
}

const OFF: BootReport = { state: 'Off', reason: 'NotAllowed', message: 'livePatch.atBoot of the PatchPolicy is false: after a boot the live patches are loaded when the agent has started' };

export function makeBootKeeper({ host, clock, files, log }: BootKeeperOptions): BootKeeper {
  /** What the manifest on the node lists; undefined: it has to be read. */
  let installed: readonly BootModule[] | undefined;
  let last: { readonly decision: string; readonly at: number; readonly report: BootReport | undefined } | undefined;

  async function carryOut(modules: readonly BootModule[], entries: readonly Entry[], facts: KernelFacts): Promise<BootReport | undefined> {
    if (modules.length === 0) {
      await uninstall(host);
      return undefined;
    }
    if ((await host.list('/run/systemd/system')) === undefined) return unavailable('NoSystemd', 'the node does not boot with systemd');
    const refusal = await install(host, { files, facts, modules, wanted: entries.map(({ view }) => view.wanted) });
    if (refusal !== undefined) return unavailable(refusal.reason, refusal.message);
    const names = modules.map(({ name }) => name).join(', ');
    return { state: 'Kept', reason: 'Kept', message: `the next boot of ${facts.release} loads ${names} before the network; kernelpatch.boot=0 on the kernel's command line skips it` };
  }

  /** A failure is the report. */
  async function attempt(act: () => Promise<BootReport | undefined>): Promise<BootReport | undefined> {
    try {
      return await act();
    } catch (error) {
      if (!(error instanceof KernelPatchError)) throw error;
      log.warn({ err: error }, 'what the next boot loads is not as it is to be');
      installed = undefined;
      return unavailable(error.code, error.message);
    }
  }

  return {
    async keep(entries, facts, allowed) {
      const now = clock.monotonic();
      await attempt(async () => {
        installed ??= await readInstalled(host, facts);
        return undefined;
      });
      const active = chooseModules(entries, installed ?? []);
      const modules = allowed ? active : [];
      const decision = JSON.stringify([facts.release, facts.buildID, modules]);
      if (last?.decision !== decision || now - last.at >= LOOK_MILLISECONDS) {
        installed = modules;
        last = { decision, at: now, report: await attempt(() => carryOut(modules, entries, facts)) };
      }
      return last.report ?? (modules.length < active.length ? OFF : undefined);
    },
    async remove() {
      last = undefined;
      installed = undefined;
      await attempt(async () => {
        await uninstall(host);
        return undefined;
      });
    },
  };
}

function unavailable(reason: string, why: string): BootReport {
  return { state: 'Unavailable', reason, message: `${why}. After a boot the live patches are loaded when the agent has started` };
}
