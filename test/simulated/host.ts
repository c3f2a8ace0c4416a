/**
 * A machine with a kernel that takes live patches as Debian's 6.12 does: the errnos of insmod, a transition that takes time or stalls, a
 * directory that goes a third of a second after the disable, a replaced patch whose module stays.
 */
import { parseModule, releaseOf } from '../../kernel/elf.ts';
import type { ModuleInfo } from '../../kernel/elf.ts';
import type { Clock } from '../../kernel/clock.ts';
import { KernelPatchError } from '../../kernel/errors.ts';
import type { Entry, FileState, Host, RunResult } from '../../kernel/host.ts';
import { debianBoot } from './boot.ts';
import { SimulatedDisk, unwritable } from './disk.ts';
import type { WriteFate } from './disk.ts';
import { someFacts } from './facts.ts';
import { SimulatedGrub } from './grub.ts';
import { buildIDNote } from './module.ts';
import { SimulatedPackages } from './packages.ts';
import { SimulatedReboots } from './reboot.ts';
import type { StartedKernel } from './reboot.ts';

/** What the kernel does with a module, by its name. */
export interface Behaviour {
  /** insmod's errno; a list is used up one by one, then it is taken. */
  readonly refuses?: readonly string[];
  readonly transitionMilliseconds?: number;
  /** The transition to the patch never ends by itself. */
  readonly stalls?: boolean;
  /** The transition back never ends by itself. */
  readonly stallsUnload?: boolean;
  /** Shown as loaded objects that are not patched. */
  readonly unpatched?: boolean;
  /** Cumulative, whatever the module says of itself. */
  readonly replace?: boolean;
  /** rmmod never gets it. */
  readonly held?: boolean;
  /** Those of the kernel. */
  readonly functions?: readonly string[];
  /** Those of modules, by the module. */
  readonly objects?: Readonly<Record<string, readonly string[]>>;
}

interface SimulatedPatch {
  enabled: boolean;
  /** Infinity: stalled. undefined: no transition. */
  transitionEndsAt: number | undefined;
  goesAt: number | undefined;
}

interface SimulatedModule {
  readonly info: ModuleInfo;
  comesAt: number | undefined;
  patch: SimulatedPatch | undefined;
}

const INSMOD_MILLISECONDS = 300;
const TRANSITION_MILLISECONDS = 20;
const REVERSAL_MILLISECONDS = 500;
const DIRECTORY_LINGERS_MILLISECONDS = 340;
/** kmod, mod_strerror and strerror(3). */
const TEXT: Readonly<Record<string, string>> = {
  ENOEXEC: 'Invalid module format',
  EINVAL: 'Invalid parameters',
  ENOENT: 'Unknown symbol in module',
  EBUSY: 'Device or resource busy',
  EEXIST: 'File exists',
  EPERM: 'Operation not permitted',
  EKEYREJECTED: 'Key was rejected by service',
  EAGAIN: 'Resource temporarily unavailable',
  ENOMEM: 'Cannot allocate memory',
};

export class SimulatedMachine {
  readonly clock: Clock;
  readonly disk = new SimulatedDisk();
  readonly behaviours = new Map<string, Behaviour>();
  readonly staged = new Map<string, Buffer>();
  readonly reboots: SimulatedReboots;
  readonly grub = new SimulatedGrub(this.disk.files);
  readonly packages: SimulatedPackages;
  /** Bytes that are left on each file system, by a path on it; on others there is room. */
  readonly free = new Map<string, number>();
  /** Called when the machine has gone down in order, and comes up. */
  goneDown: () => void = () => this.comeUp();
  /** Commands that the kernel was given, and writes to sysfs, in order. */
  readonly asked: string[] = [];
  readonly #modules = new Map<string, SimulatedModule>();
  /** Messages of the kernel log, with the second they came in. */
  readonly log: { readonly at: number; readonly text: string }[] = [];
  readonly #versions = new WeakMap<Buffer, number>();
  #written = 0;
  #bootedAt = 0;
  #tree: { readonly at: number; readonly asked: number; readonly files: ReadonlyMap<string, Buffer> } | undefined;

  constructor(clock: Clock) {
    const { bootID, release, buildID, hardware } = someFacts();
    this.clock = clock;
    this.reboots = new SimulatedReboots(clock, this.grub, (path) => this.#text(path));
    this.packages = new SimulatedPackages(clock, (kernel) => this.installKernel(kernel));
    const facts: Readonly<Record<string, string>> = {
      '/proc/sys/kernel/random/boot_id': bootID,
      '/proc/sys/kernel/osrelease': release,
      '/proc/sys/kernel/tainted': '0',
      '/proc/cmdline': `BOOT_IMAGE=/boot/vmlinuz-${release} root=/dev/vda1 ro quiet`,
      '/sys/kernel/kexec_loaded': '0',
      '/sys/class/dmi/id/sys_vendor': hardware.vendor,
      '/sys/class/dmi/id/product_name': hardware.product,
      '/sys/class/dmi/id/bios_version': hardware.firmware,
      '/proc/1/mountinfo': '22 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw',
      '/proc/sys/kernel/kexec_load_disabled': '0',
      '/proc/sys/kernel/ftrace_enabled': '1',
      '/proc/sys/kernel/modules_disabled': '0',
      '/sys/kernel/security/lockdown': '[none] integrity confidentiality',
      '/sys/module/module/parameters/sig_enforce': 'N',
      '/sys/kernel/livepatch/': '',
      '/run/systemd/system/': '',
      '/usr/bin/apt-get': '',
    };
    for (const [path, text] of Object.entries(facts)) this.set(path, text);
    this.files.set('/sys/kernel/notes', buildIDNote(buildID));
    for (const [path, bytes] of debianBoot([release])) this.files.set(path, bytes);
  }

  set(path: string, text: string): void {
    this.files.set(path, Buffer.from(`${text}\n`));
  }

  /** Somebody else loads a live patch, and its transition is over. */
  loadByHand(bytes: Buffer): void {
    const info = parseModule(bytes);
    if (this.#replaces(info)) this.#disableOthers(info.name);
    this.#modules.set(info.name, { info, comesAt: undefined, patch: { enabled: true, transitionEndsAt: undefined, goesAt: undefined } });
    this.#tree = undefined;
  }

  /** Somebody else begins a transition that never ends; finishTransition ends it. */
  stallByHand(bytes: Buffer): void {
    this.loadByHand(bytes);
    const patch = this.#modules.get(parseModule(bytes).name)?.patch;
    if (patch !== undefined) patch.transitionEndsAt = Infinity;
  }

  /** A module that is no live patch comes. */
  loadObject(name: string): void {
    this.set(`/sys/module/${name}/initstate`, 'live');
    this.#tree = undefined;
  }

  /** Somebody else disables a live patch and removes its module. */
  unloadByHand(name: string): void {
    this.#modules.delete(name);
    this.#tree = undefined;
  }

  finishTransition(name: string): void {
    const patch = this.#modules.get(name)?.patch;
    if (patch !== undefined) patch.transitionEndsAt = undefined;
  }

  /** Files of the node; a path that ends in / is an empty directory. */
  get files(): Map<string, Buffer> {
    return this.disk.files;
  }

  /** Names of the enabled live patches whose transition is over. */
  get active(): readonly string[] {
    this.#advance();
    return [...this.#modules].filter(([, { patch, comesAt }]) => comesAt === undefined && patch?.enabled && patch.transitionEndsAt === undefined).map(([name]) => name);
  }

  get modules(): readonly string[] {
    this.#advance();
    return [...this.#modules.keys()];
  }

  count(command: string): number {
    return this.asked.filter((line) => line === command).length;
  }

  get host(): Host {
    return {
      littleEndian: true,
      read: async (path, limitBytes) => this.#read(path, limitBytes),
      readStart: async (path, bytes) => this.#read(path, Infinity)?.subarray(0, bytes),
      stat: async (path) => this.#stat(path),
      scan: async (path, limitBytes, visit) => {
        const bytes = this.#read(path, limitBytes);
        if (bytes !== undefined) visit(bytes);
        return bytes !== undefined;
      },
      list: async (path) => this.#list(path),
      locate: async (path) => (this.files.has(path) || this.#list(path) !== undefined ? `/host${path}` : undefined),
      append: (path, text) => this.disk.append(path, Buffer.from(text)),
      replace: (path, content) => this.disk.replace(path, Buffer.from(content)),
      link: (path, target) => this.disk.replace(path, Buffer.from(`-> ${target}`)),
      remove: (path) => this.disk.remove(path),
      writeSysfs: async (path, text) => this.#writeEnabled(path, text),
      stage: async (fileName, bytes) => {
        this.staged.set(`/run/kernelpatch/${fileName}`, Buffer.from(bytes));
        return `/run/kernelpatch/${fileName}`;
      },
      clearStage: async () => this.staged.clear(),
      run: (argv) => this.#run(argv),
      ask: async (argv) => this.packages.ask(argv),
      freeBytes: async (path) => this.free.get(path) ?? Infinity,
    };
  }

  /** The kernel says something; microseconds are those of its own clock. */
  say(text: string): void {
    this.log.push({ at: this.clock.monotonic(), text });
    this.#tree = undefined;
  }

  /** The node is on again after a power cut: another boot, an empty kernel, and of a write that was under way what `fate` says. */
  cutPower(fate: WriteFate): void {
    this.disk.cutPower(fate);
    this.reboots.goingInto = undefined;
    this.comeUp();
  }

  /** Another boot, with an empty kernel. Returns whether one runs. */
  comeUp(): boolean {
    const kernel = this.reboots.comeUp();
    this.packages.end();
    this.#modules.clear();
    this.staged.clear();
    this.log.length = 0;
    this.#bootedAt = this.clock.monotonic();
    if (kernel !== undefined) this.#start(kernel);
    return kernel !== undefined;
  }

  #start({ release, commandLine }: StartedKernel): void {
    this.set('/proc/sys/kernel/random/boot_id', `1f0e9d3c-0000-4000-8000-${String(this.#bootedAt).padStart(12, '0')}`);
    this.set('/proc/sys/kernel/tainted', '0');
    this.set('/proc/sys/kernel/osrelease', release);
    this.set('/proc/cmdline', commandLine);
    this.set('/sys/kernel/kexec_loaded', '0');
    this.files.set('/sys/kernel/notes', buildIDNote(this.reboots.buildIDs.get(release) ?? ''));
    this.#tree = undefined;
  }

  /** Somebody else puts a kernel in place for kexec, or takes it out. */
  stageByHand(kernel: StartedKernel | undefined): void {
    this.reboots.image = kernel;
    this.set('/sys/kernel/kexec_loaded', kernel === undefined ? '0' : '1');
  }

  /** A package of the node's distribution. */
  installKernel(release: string): void {
    for (const path of [`/boot/vmlinuz-${release}`, `/boot/initrd.img-${release}`, `/lib/modules/${release}/modules.dep`]) this.set(path, '');
  }

  #advance(): void {
    const now = this.clock.monotonic();
    for (const [name, module] of this.#modules) {
      if (module.comesAt !== undefined && module.comesAt <= now) this.#arrive(name, module, module.comesAt);
      const { patch } = module;
      if (patch?.transitionEndsAt !== undefined && patch.transitionEndsAt <= now) this.#endTransition(name, patch);
      if (patch?.goesAt !== undefined && patch.goesAt <= now) module.patch = undefined;
    }
  }

  #arrive(name: string, module: SimulatedModule, at: number): void {
    const { stalls = false, transitionMilliseconds = TRANSITION_MILLISECONDS } = this.#behaviour(name);
    module.comesAt = undefined;
    module.patch = { enabled: true, transitionEndsAt: stalls ? Infinity : at + transitionMilliseconds, goesAt: undefined };
    this.set('/proc/sys/kernel/tainted', String(0b1011_0000_0000_0000));
  }

  #endTransition(name: string, patch: SimulatedPatch): void {
    const endedAt = patch.transitionEndsAt ?? 0;
    patch.transitionEndsAt = undefined;
    if (!patch.enabled) patch.goesAt = endedAt + DIRECTORY_LINGERS_MILLISECONDS;
    const module = this.#modules.get(name);
    if (patch.enabled && module !== undefined && this.#replaces(module.info)) this.#disableOthers(name);
  }

  /** Their directories go, their modules stay. */
  #disableOthers(name: string): void {
    for (const [other, module] of this.#modules) if (other !== name) module.patch = undefined;
  }

  #replaces({ name, replace }: ModuleInfo): boolean {
    return this.#behaviour(name).replace ?? replace === true;
  }

  #behaviour(name: string): Behaviour {
    return this.behaviours.get(name) ?? {};
  }

  #read(path: string, limitBytes: number): Buffer | undefined {
    this.disk.hear();
    const bytes = this.#sysfs().get(path) ?? this.files.get(path);
    if (bytes !== undefined && bytes.length > limitBytes) throw new KernelPatchError('FileTooLarge', `${path} is larger than ${limitBytes} bytes`);
    return bytes;
  }

  /** A file that is written anew has another buffer. */
  #stat(path: string): FileState | undefined {
    const bytes = this.#read(path, Infinity);
    if (bytes === undefined) return undefined;
    const version = this.#versions.get(bytes) ?? (this.#written += 1);
    this.#versions.set(bytes, version);
    return { bytes: bytes.length, version: String(version) };
  }

  #list(path: string): readonly Entry[] | undefined {
    const entries = new Map<string, boolean>();
    let exists = false;
    const prefix = `${path}/`;
    for (const file of [...this.#sysfs().keys(), ...this.files.keys()]) {
      if (!file.startsWith(prefix)) continue;
      exists = true;
      const [name = '', ...rest] = file.slice(path.length + 1).split('/');
      if (name !== '') entries.set(name, rest.length > 0 || (entries.get(name) ?? false));
    }
    return exists ? [...entries].map(([name, directory]) => ({ name, directory })) : undefined;
  }

  /** Made anew when time has passed or the kernel was asked for something: looking is by far the most frequent. */
  #sysfs(): ReadonlyMap<string, Buffer> {
    const now = this.clock.monotonic();
    if (this.#tree?.at !== now || this.#tree.asked !== this.asked.length) this.#tree = { at: now, asked: this.asked.length, files: this.#makeSysfs() };
    return this.#tree.files;
  }

  #makeSysfs(): ReadonlyMap<string, Buffer> {
    this.#advance();
    const tree = new Map<string, Buffer>();
    const put = (path: string, text: string) => tree.set(path, Buffer.from(`${text}\n`));
    put('/proc/uptime', `${((this.clock.monotonic() - this.#bootedAt) / 1000).toFixed(2)} 0.00`);
    put('/dev/kmsg', this.log.map(({ at, text }, index) => `4,${index},${(at - this.#bootedAt) * 1000},-;${text}`).join('\n'));
    for (const [name, { info, patch, comesAt }] of this.#modules) {
      put(`/sys/module/${name}/initstate`, comesAt === undefined ? 'live' : 'coming');
      if (info.buildID !== undefined) tree.set(`/sys/module/${name}/notes/.note.gnu.build-id`, buildIDNote(info.buildID));
      if (patch === undefined) continue;
      const directory = `/sys/kernel/livepatch/${name}`;
      put(`${directory}/enabled`, patch.enabled ? '1' : '0');
      put(`${directory}/transition`, patch.transitionEndsAt === undefined ? '0' : '1');
      const replace = this.#behaviour(name).replace ?? info.replace;
      if (replace !== 'unknown') put(`${directory}/replace`, replace ? '1' : '0');
      for (const [path, text] of this.#objectsOf(name)) put(`${directory}/${path}`, text);
    }
    return tree;
  }

  /** Files below the directory of a live patch; a function is a directory. */
  #objectsOf(name: string): readonly (readonly [path: string, text: string])[] {
    const { functions = ['version_proc_show'], objects = {}, unpatched = false } = this.#behaviour(name);
    return Object.entries({ vmlinux: functions, ...objects }).flatMap(([object, members]) => {
      const loaded = object === 'vmlinux' || this.files.has(`/sys/module/${object}/initstate`);
      return [[`${object}/patched`, loaded && !unpatched ? '1' : '0'] as const, ...members.map((member) => [`${object}/${member},1/`, ''] as const)];
    });
  }

  #writeEnabled(path: string, text: string): void {
    this.#advance();
    const name = /^\/sys\/kernel\/livepatch\/([^/]+)\/enabled$/.exec(path)?.[1] ?? '';
    this.asked.push(`enabled ${name} ${text}`);
    const patch = this.#modules.get(name)?.patch;
    const enabled = text === '1';
    const reversing = patch?.transitionEndsAt !== undefined;
    if (patch === undefined || patch.enabled === enabled || (enabled && !reversing)) throw unwritable(path, 'EINVAL');
    if (!reversing && this.#otherTransition(name)) throw unwritable(path, 'EBUSY');
    patch.enabled = enabled;
    patch.transitionEndsAt = this.#holds(name, enabled, reversing) ? Infinity : this.clock.monotonic() + REVERSAL_MILLISECONDS;
  }

  /** What holds tasks on one side lets them go back there at once. */
  #holds(name: string, enabled: boolean, reversing: boolean): boolean {
    const { stalls = false, stallsUnload = false } = this.#behaviour(name);
    return enabled ? stalls : stallsUnload && !reversing;
  }

  #otherTransition(name: string): boolean {
    return [...this.#modules].some(([other, { patch }]) => other !== name && patch?.transitionEndsAt !== undefined);
  }

  async #run(argv: readonly string[]): Promise<RunResult> {
    this.disk.hear();
    const [command, argument = ''] = argv;
    if (argv.includes('systemd-run')) {
      this.asked.push(`install ${argv.at(-1)}`);
      return this.packages.run(argv);
    }
    if (command === 'kexec' || command === 'nsenter') return this.#runReboot(argv);
    const errno = command === 'insmod' ? this.#insmod(argument) : this.#rmmod(argument);
    await this.clock.sleep(INSMOD_MILLISECONDS);
    if (errno === undefined) return { exitCode: 0, stderr: '' };
    return { exitCode: 1, stderr: `${command}: ERROR: could not ${command === 'insmod' ? 'insert' : 'remove'} module ${argument}: ${TEXT[errno]}\n` };
  }

  async #runReboot(argv: readonly string[]): Promise<RunResult> {
    const bootedAt = this.#bootedAt;
    this.asked.push(argv[0] === 'kexec' ? argv.slice(0, 3).join(' ') : argv.slice(-2).join(' '));
    const result = await this.reboots.run(argv, () => {
      if (bootedAt === this.#bootedAt) this.goneDown();
    });
    this.stageByHand(this.reboots.image);
    return result;
  }

  #insmod(path: string): string | undefined {
    this.#advance();
    const bytes = this.staged.get(path);
    if (bytes === undefined) throw new KernelPatchError('CommandMissing', `insmod was given ${path}, which is not staged`);
    const info = parseModule(bytes);
    this.asked.push(`insmod ${info.name}`);
    const errno = this.#judge(info);
    if (errno === undefined) this.#modules.set(info.name, { info, comesAt: this.clock.monotonic() + INSMOD_MILLISECONDS, patch: undefined });
    return errno;
  }

  #judge(info: ModuleInfo): string | undefined {
    const { refuses = [] } = this.#behaviour(info.name);
    const [refused, ...later] = refuses;
    if (refused !== undefined) {
      this.behaviours.set(info.name, { ...this.#behaviour(info.name), refuses: later });
      return refused;
    }
    const unsigned = info.signed ? undefined : this.#judgeUnsigned();
    if (unsigned !== undefined) return unsigned;
    if (releaseOf(info) !== this.#text('/proc/sys/kernel/osrelease')) return 'ENOEXEC';
    if (!info.livePatch) return 'EINVAL';
    if (this.#modules.has(info.name)) return 'EEXIST';
    return this.#text('/proc/sys/kernel/ftrace_enabled') === '0' || this.#otherTransition(info.name) ? 'EBUSY' : undefined;
  }

  #judgeUnsigned(): string | undefined {
    if (this.#text('/sys/kernel/security/lockdown')?.startsWith('[none]') === false) return 'EPERM';
    return this.#text('/sys/module/module/parameters/sig_enforce') === 'Y' ? 'EKEYREJECTED' : undefined;
  }

  #text(path: string): string | undefined {
    return this.files.get(path)?.toString().trim();
  }

  #rmmod(name: string): string | undefined {
    this.#advance();
    this.asked.push(`rmmod ${name}`);
    const module = this.#modules.get(name);
    if (module === undefined) return 'ENOENT';
    if (module.patch !== undefined || module.comesAt !== undefined || this.#behaviour(name).held) return 'EAGAIN';
    this.#modules.delete(name);
    return undefined;
  }
}
