/** Lets the node go down through its own init, as an admin would: services, and with them containers, are stopped and file systems unmounted. */
import type { Failure } from './errno.ts';
import { listOrUnknown, readText } from './facts.ts';
import type { Host } from './host.ts';
import { ON_THE_NODE, describeUnreachable, lastWords } from './namespaces.ts';

/** Kexec: into the kernel that was put in place. Firmware: through the firmware and the boot loader. */
export type DownMethod = 'Kexec' | 'Firmware';

/** A program that lets nobody shut the node down. */
export interface Inhibitor {
  readonly who: string;
  readonly why: string;
  readonly pid: string;
}

/** Where systemd-logind keeps them, one file each (login/logind-inhibit.c); a FIFO stands beside each. */
const INHIBITORS = '/run/systemd/inhibit';
/** Nothing is waited for: logind takes the order, and what delays it comes after that. */
const SHUTDOWN_TIMEOUT_MILLISECONDS = 60_000;
/** The exit code of a program that a signal has ended, as shells, nsenter and kernel/host.ts give it. A node that goes down ends all in the agent's container, before systemctl has its answer: then it was heard. */
const ENDED_BY_SIGNAL = 128;
/** Newer systemd makes a kexec of a reboot when an image is there, and a soft reboot when another root is (its docs/ENVIRONMENT.md). */
const NOTHING_BY_ITSELF = ['env', 'SYSTEMCTL_SKIP_AUTO_KEXEC=1', 'SYSTEMCTL_SKIP_AUTO_SOFT_REBOOT=1'] as const;

const COMMANDS: Readonly<Record<DownMethod, readonly [string, ...string[]]>> = {
  Kexec: [...ON_THE_NODE, 'systemctl', 'kexec'],
  Firmware: [...ON_THE_NODE, ...NOTHING_BY_ITSELF, 'systemctl', 'reboot'],
};

/** The first that blocks a shutdown; one that only delays it is waited for by systemd. systemd before 257 lets root pass them, so they are looked at here. What can not be read is left to systemd. */
export async function findInhibitor(host: Host): Promise<Inhibitor | undefined> {
  const files = ((await listOrUnknown(host, INHIBITORS)) ?? []).filter(({ name }) => !name.endsWith('.ref'));
  for (const { name } of files) {
    const fields = parseAssignments((await readText(host, `${INHIBITORS}/${name}`)) ?? '');
    if (fields.get('MODE') !== 'block' || !(fields.get('WHAT') ?? '').split(':').includes('shutdown')) continue;
    return { who: fields.get('WHO') ?? 'a program', why: fields.get('WHY') ?? 'it does not say why', pid: fields.get('PID') ?? 'unknown' };
  }
  return undefined;
}

export function refuseInhibited({ who, why, pid }: Inhibitor): Failure {
  return { reason: 'Inhibited', message: `${who} (PID ${pid}) lets nobody shut this node down: ${why}. Wait for it, or end it; systemd-inhibit --list shows it`, retry: true };
}

/** The node is going down, or the reason why it stays up. Repeating it is safe: systemd says that it is under way. Throws CommandMissing, CommandTimedOut: then it may be going down. */
export async function goDown(host: Host, method: DownMethod): Promise<Failure | undefined> {
  const { exitCode, stderr } = await host.run(COMMANDS[method], SHUTDOWN_TIMEOUT_MILLISECONDS);
  return exitCode === 0 || exitCode >= ENDED_BY_SIGNAL ? undefined : describeDownError(stderr);
}

/** undefined: it is going down all the same. */
export function describeDownError(stderr: string): Failure | undefined {
  const printed = lastWords(stderr);
  if (/already a shutdown|already in progress/i.test(stderr)) return undefined;
  const unreachable = describeUnreachable(stderr, 'reboot the node');
  if (unreachable !== undefined) return unreachable;
  if (/No kexec kernel loaded|Nothing has been loaded|is not available/i.test(stderr)) {
    return { reason: 'ImageGone', message: `the image was taken out of the kernel by somebody else (${printed}); it is put there again`, retry: true };
  }
  return { reason: 'ShutdownRefused', message: `systemd did not shut the node down (${printed}): systemd-inhibit --list on the node shows who blocks it`, retry: true };
}

/** KEY=VALUE lines, values with or without double quotes. */
function parseAssignments(text: string): ReadonlyMap<string, string> {
  return new Map(text.split('\n').flatMap((line) => {
    const [, key, value = ''] = /^([A-Z]+)=(.*)$/.exec(line) ?? [];
    return key === undefined ? [] : [[key, value.replace(/^"(.*)"$/, '$1')] as const];
  }));
}
