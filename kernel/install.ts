/**
 * Lets the node install a kernel by its own package manager, as a unit of its systemd: a package manager that is killed half way leaves the node's packages broken, so it must not end with the agent. There is one unit for
 * all orders, so that never two run at once and whoever comes next finds it.
 */
import type { Failure } from './errno.ts';
import { findKernelFiles } from './boot/find.ts';
import { BOOT } from './boot/installed.ts';
import { codeOf } from './errors.ts';
import type { FileState, Host } from './host.ts';
import { ON_THE_NODE, describeUnreachable, lastWords } from './namespaces.ts';
import { PROGRAMS, describeInstallError, installCommand } from './packages.ts';
import type { Package, PackageManager } from './packages.ts';

const UNIT = 'kernelpatch-install.service';
const WHERE = `journalctl -u ${UNIT} on the node has all that was printed`;
/** Nothing is waited for: systemd takes the unit, and answers. */
const ASK_TIMEOUT_MILLISECONDS = 30_000;
/** Of the log; an installation prints some fifty. */
const LOG_LINES = 200;
/**
 * oneshot: no deadline of systemd for the start. SIGCONT and 900 s: a shutdown waits for it instead of ending dpkg, as long as it does for Debian's own apt-daily-upgrade.service. collect: a failure is not kept, its log is.
 */
const UNIT_OPTIONS = [`--unit=${UNIT}`, '--description=Installation of a kernel by kernelpatch', '--quiet', '--no-block', '--collect', '--service-type=oneshot', '--property=KillSignal=SIGCONT', '--property=TimeoutStopSec=900'];

const MIB = 1024 * 1024;
/** What a large kernel needs: Debian's linux-image-6.1.0-49-amd64 has 391 MiB, nearly all of it below /lib/modules, and its package 67. */
const MODULES_BYTES = 512 * MIB;
/** Beside image and initrd: the configuration, and a System.map, which has some 10 MiB where it is a whole one. */
const BOOT_EXTRA_BYTES = 16 * MIB;

/** By which program packages are installed on the node. */
export async function findPackageManager(host: Host): Promise<PackageManager | Failure> {
  for (const manager of Object.keys(PROGRAMS) as PackageManager[]) if ((await stateOf(host, PROGRAMS[manager])) !== undefined) return manager;
  return { reason: 'NoPackageManager', message: `the node has none of ${Object.values(PROGRAMS).join(', ')}: install the kernel by hand, or put it into the image of the node`, retry: true };
}

/** Found before anything is begun. A package that is unpacked onto a full disk leaves the node's packages broken. What can not be known is left to the package manager. */
export async function refuseSpace(host: Host, running: string): Promise<Failure | undefined> {
  const needs = [{ path: '/lib/modules', bytes: MODULES_BYTES }, { path: BOOT, bytes: await bootBytes(host, running) }];
  for (const { path, bytes } of needs) {
    const free = await freeBytes(host, path);
    if (free !== undefined && free < bytes) {
      return { reason: 'DiskFull', message: `the file system of ${path} has ${toMiB(free)} MiB left, and a kernel may need ${toMiB(bytes)}: free some there, or remove a kernel that is not used`, retry: true };
    }
  }
  return undefined;
}

/** The unit runs, an earlier one or this, or the reason why it was not begun. Throws CommandMissing, CommandTimedOut: then it may run. */
export async function startInstall(host: Host, manager: PackageManager, wanted: Package): Promise<Failure | undefined> {
  const { before, argv, environment } = installCommand(manager, wanted);
  const options = [...UNIT_OPTIONS, ...environment.map((each) => `--setenv=${each}`), ...(before === undefined ? [] : [`--property=ExecStartPre=${before}`])];
  const { exitCode, stderr } = await host.run([...ON_THE_NODE, 'systemd-run', ...options, '--', ...argv], ASK_TIMEOUT_MILLISECONDS);
  if (exitCode === 0 || /already loaded|already exists/.test(stderr)) return undefined;
  const printed = lastWords(stderr);
  return describeUnreachable(stderr, 'install the kernel') ?? { reason: 'InstallNotBegun', message: `systemd did not begin the installation (${printed}): install the kernel by hand`, retry: true };
}

/** An installation of ours is under way. One that can not be asked about may be. */
export async function isInstalling(host: Host): Promise<boolean> {
  try {
    // A unit that was taken and not begun is inactive, and has a job.
    const shown = await host.ask([...ON_THE_NODE, 'systemctl', 'show', '--property=ActiveState,Job', UNIT], ASK_TIMEOUT_MILLISECONDS);
    return !/^ActiveState=(?:inactive|failed)$/m.test(shown) || /^Job=[1-9]/m.test(shown);
  } catch (error) {
    if (codeOf(error) === undefined) throw error;
    return true;
  }
}

/** What the last installation has printed since then, also what systemd says of its end; empty: it was never begun. */
export async function readInstallLog(host: Host, since: string): Promise<string> {
  await host.ask([...ON_THE_NODE, 'journalctl', '--sync'], ASK_TIMEOUT_MILLISECONDS);
  const from = `--since=@${Math.floor(Date.parse(since) / 1000)}`;
  return host.ask([...ON_THE_NODE, 'journalctl', '--no-pager', '--quiet', '--output=cat', `--lines=${LOG_LINES}`, from, `--unit=${UNIT}`], ASK_TIMEOUT_MILLISECONDS);
}

/** Why the kernel is not there after an installation. */
export function describeInstall(log: string, wanted: Package, release: string): Failure {
  return describeInstallError(log, { package: wanted, release, where: WHERE });
}

/** What the running kernel has in /boot, a new one needs about as much; an initrd is written beside what it becomes. */
async function bootBytes(host: Host, running: string): Promise<number> {
  const files = await findKernelFiles(host, running);
  if ('reason' in files) return BOOT_EXTRA_BYTES;
  const sizes = await Promise.all([files.image, files.initrd].map(async (path) => (await stateOf(host, path))?.bytes ?? 0));
  return sizes.reduce((sum, bytes) => sum + bytes, BOOT_EXTRA_BYTES);
}

async function stateOf(host: Host, path: string): Promise<FileState | undefined> {
  return orUnknown(() => host.stat(path));
}

async function freeBytes(host: Host, path: string): Promise<number | undefined> {
  return orUnknown(() => host.freeBytes(path));
}

async function orUnknown<T>(look: () => Promise<T | undefined>): Promise<T | undefined> {
  try {
    return await look();
  } catch (error) {
    if (codeOf(error) === undefined) throw error;
    return undefined;
  }
}

function toMiB(bytes: number): number {
  return Math.floor(bytes / MIB);
}
