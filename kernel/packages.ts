/** How each package manager is asked to install one package and nothing else, and why it did not. Pure. */
import type { Failure } from './errno.ts';

export interface Package {
  readonly name: string;
  /** undefined: the newest that the repositories have. */
  readonly version?: string | undefined;
}

export type PackageManager = 'apt-get' | 'dnf' | 'yum';

/** The programs in the order in which they are looked for: on a Debian that has dnf as well, dpkg has the packages. On the RHEL family yum is dnf by another name. */
export const PROGRAMS: Readonly<Record<PackageManager, string>> = { 'apt-get': '/usr/bin/apt-get', dnf: '/usr/bin/dnf', yum: '/usr/bin/yum' };

export interface InstallCommand {
  /** Is run before, and may fail; as a unit file of systemd has it. undefined: the program does it itself. */
  readonly before: string | undefined;
  readonly argv: readonly string[];
  /** NAME=VALUE */
  readonly environment: readonly string[];
}

/** Seconds until a lock of somebody else is named: while apt waits nobody is told why, and the node is asked again in ten minutes anyway. */
const LOCK_SECONDS = 10;

/** Nobody is asked; configuration files stay as they are; needrestart, which may restart containerd or kubelet, is kept out of it. */
const APT_ENVIRONMENT = ['LC_ALL=C', 'DEBIAN_FRONTEND=noninteractive', 'APT_LISTCHANGES_FRONTEND=none', 'NEEDRESTART_SUSPEND=1', 'UCF_FORCE_CONFFOLD=1'];
/** Without Pattern-Only apt-get takes a name that it does not know for a regular expression, and installs all that fits. */
const APT_OPTIONS = [
  '-q', '-y', '--no-remove', '--no-install-recommends',
  '-o', 'APT::Cmd::Pattern-Only=true', '-o', `DPkg::Lock::Timeout=${LOCK_SECONDS}`, '-o', 'Dpkg::Use-Pty=0', '-o', 'Dpkg::Options::=--force-confdef', '-o', 'Dpkg::Options::=--force-confold',
];
/** installonly_limit: dnf would remove the oldest kernel for a further one. exit_on_lock: it would wait for ever. */
const DNF_OPTIONS = ['-y', '--refresh', '--setopt=installonly_limit=0', '--setopt=install_weak_deps=False', '--setopt=exit_on_lock=True'];

export function installCommand(manager: PackageManager, { name, version }: Package): InstallCommand {
  const program = PROGRAMS[manager];
  if (manager === 'apt-get') {
    return { before: `-${program} -q update`, argv: [program, ...APT_OPTIONS, 'install', version === undefined ? name : `${name}=${version}`], environment: APT_ENVIRONMENT };
  }
  return { before: undefined, argv: [program, ...DNF_OPTIONS, 'install', version === undefined ? name : `${name}-${version}`], environment: ['LC_ALL=C'] };
}

export interface InstallContext {
  readonly package: Package;
  /** The kernel that it was to bring. */
  readonly release: string;
  /** Where people find the whole log. */
  readonly where: string;
}

/** Why the kernel is not there, from what the package manager has printed. Nothing of it goes away by asking again at once. */
export function describeInstallError(log: string, context: InstallContext): Failure {
  const row = ERRORS.find(({ says }) => says.test(log));
  const { reason, message } = row === undefined ? unexplained(log, context) : { reason: row.reason, message: row.tell(context, lineOf(log, row.says), log) };
  return causedByRepository(reason, log, context) ?? forGood(reason, `${message}. ${context.where}`);
}

interface ErrorRow {
  readonly says: RegExp;
  readonly reason: string;
  /** `line` is the first that says it. */
  readonly tell: (context: InstallContext, line: string, log: string) => string;
}

/** apt 2.2 to 3.0 and dpkg; dnf 4 and 5, and rpm. What was printed of a wait that has ended is no error, so apt's are those that begin with E. */
const ERRORS: readonly ErrorRow[] = [
  {
    says: /^E: dpkg was interrupted/m,
    reason: 'InstallInterrupted',
    tell: () => 'an installation on the node was interrupted before it had ended: run dpkg --configure -a there, and look at what it says',
  },
  {
    says: /^E: (?:Could not get lock \/var\/lib\/dpkg|Unable to acquire the dpkg|Unable to lock the administration)|dpkg frontend lock was locked|already locked by \d+|Failed to obtain (?:the |rpm )?transaction lock|can't create transaction lock|holding the yum lock/m,
    reason: 'PackagesLocked',
    // Of a wait in vain apt names the process before, and not with the error.
    tell: (_, line, log) => `another program installs packages on the node (${/held by process .*\)/.exec(log)?.[0] ?? line}): wait for it, or see why it does not end`,
  },
  {
    says: /No space left on device|^E: You don't have enough free space|more space needed on the|needs \d+[KMG]?B (?:more space )?on the/m,
    reason: 'DiskFull',
    tell: ({ package: wanted }, line) => `there is no room for package ${wanted.name} (${line}): free some on that file system of the node, or remove a kernel that is not used`,
  },
  {
    says: /Read-only file system/,
    reason: 'NodeReadOnly',
    tell: (_, line) => `the node takes no packages (${line}): put the kernel into its image`,
  },
  {
    says: /^E: Packages need to be removed but remove is disabled/m,
    reason: 'WouldRemovePackages',
    tell: ({ package: wanted }) => `package ${wanted.name} can not be installed without removing others, which is not done: install it by hand`,
  },
  {
    says: /^E: Held packages were changed|All matches were filtered out by (?:exclude|modular) filtering/m,
    reason: 'PackageHeld',
    tell: ({ package: wanted }, line) => `package ${wanted.name}, or one that it needs, is held back on the node (${line}): apt-mark showhold or dnf versionlock names it`,
  },
  {
    says: /^E: Unable to correct problems|^E: .*unmet dependencies|nothing provides .* needed by|conflicting requests/m,
    reason: 'DependenciesUnmet',
    tell: ({ package: wanted }, line) => `what package ${wanted.name} needs can not be installed (${line}): add the repository that has it, or install it by hand`,
  },
  {
    says: /^dpkg: error processing|^E: Sub-process .*dpkg returned an error code|scriptlet failed|Transaction failed/m,
    reason: 'PackageFailed',
    tell: ({ package: wanted }, line) => `package ${wanted.name} was not installed to its end (${line}): see why, and end it by dpkg --configure -a or dnf reinstall on the node`,
  },
  {
    says: /^E: There were unauthenticated packages|GPG check FAILED|Public key for .* is not (?:installed|trusted)|GPG signature verification error|OpenPGP check/m,
    reason: 'RepositoryUntrusted',
    tell: (_, line) => `the node does not trust the repository (${line}): install its key on the node`,
  },
  {
    says: /^E: Unable to locate package|^E: Couldn't find any package|has no installation candidate|^E: Version '.*' for '.*' was not found|^No match for argument|Unable to find a match|There are no enabled repositories/m,
    reason: 'PackageUnknown',
    tell: ({ package: { name, version } }) => `no repository of the node has package ${name}${version === undefined ? '' : ` in version ${version}`}: add the one that has it, or correct the name in the KernelPatch`,
  },
  {
    says: /^E: Failed to fetch|^E: Unable to fetch|Failed to download (?:metadata|packages)|^Error: Error downloading packages|Cannot download|Errors during downloading|Curl error/m,
    reason: 'RepositoryUnreachable',
    tell: (_, line) => `a repository of the node can not be reached, or has not what it says (${line}): see its address in the node's configuration, and the network`,
  },
];

/** A repository that apt could not read, before it did not know the package. */
const REPOSITORY_TROUBLE: readonly (readonly [says: RegExp, reason: string, todo: string])[] = [
  [/^(?:W|E): .*(?:NO_PUBKEY|GPG error|is not signed).*$/m, 'RepositoryUntrusted', "install its key on the node"],
  [/^(?:W: Failed to fetch|E: Failed to fetch|E: The repository .* does(?: not|n't) have a Release file|E: Could not get lock \/var\/lib\/apt).*$/m, 'RepositoryUnreachable', "see its address in the node's configuration, and the network"],
];

function causedByRepository(reason: string, log: string, { package: { name }, where }: InstallContext): Failure | undefined {
  const trouble = reason === 'PackageUnknown' ? REPOSITORY_TROUBLE.find(([says]) => says.test(log)) : undefined;
  if (trouble === undefined) return undefined;
  const [says, instead, todo] = trouble;
  return forGood(instead, `package ${name} is not known on the node, and a repository could not be read (${lineOf(log, says)}): ${todo}. ${where}`);
}

function unexplained(log: string, { package: { name }, release }: InstallContext): { readonly reason: string; readonly message: string } {
  const last = withoutSecrets(log.trim().split('\n').findLast((line) => !line.includes('kernelpatch-install.service')) ?? '').slice(-200);
  if (/Failed with result/.test(log) || last === '') return { reason: 'InstallFailed', message: `package ${name} could not be installed (${last || 'nothing was printed'})` };
  return { reason: 'PackageWithoutKernel', message: `package ${name} is installed, and there is no kernel ${release} that could be started (an image and an initrd in /boot, modules in /lib/modules): name the package that has its image` };
}

function lineOf(log: string, says: RegExp): string {
  return withoutSecrets(log.split('\n').find((line) => says.test(line)) ?? '').trim().slice(0, 200);
}

/** The user and password of a repository's address, which package managers print as they stand in its configuration; every agent may read every NodeKernel. */
function withoutSecrets(line: string): string {
  return line.replace(/:\/\/[^/\s@]*@/g, '://');
}

function forGood(reason: string, message: string): Failure {
  return { reason, message, retry: false };
}
