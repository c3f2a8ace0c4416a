/** How a simulated machine goes down and comes back: the image that its kernel has for kexec, what systemd answers, and which kernel its boot loader starts. */
import type { RebootOrder } from '../../crds/nodekernel.ts';
import type { Clock } from '../../kernel/clock.ts';
import type { RunResult } from '../../kernel/host.ts';
import type { SimulatedGrub } from './grub.ts';
import { KERNEL_BUILD_ID, someFacts } from './facts.ts';
import { RELEASE } from './module.ts';

/** A kernel that is installed beside the running one. */
export const TARGET = '6.12.117+deb13-cloud-amd64';
export const PACKAGE = `linux-image-${TARGET}`;
export const TARGET_BUILD_ID = '7d2e'.repeat(10);

export interface StartedKernel {
  readonly release: string;
  readonly commandLine: string;
}

const LOAD_MILLISECONDS = 2000;
const TELL_MILLISECONDS = 100;
const SHUTDOWN_MILLISECONDS = 3000;
export const BOOT_MILLISECONDS = 20_000;
const NOT_PERMITTED = 'kexec_file_load failed: Operation not permitted\n';

export class SimulatedReboots {
  /** What the kernel has for kexec, whoever gave it. */
  image: StartedKernel | undefined;
  /** What kexec prints, call by call, until it works; by its syscall. */
  readonly prints: Record<'-s' | '-c', string[]> = { '-s': [], '-c': [] };
  /** What systemctl prints, call by call, until it takes the order. */
  readonly refusals: string[] = [];
  /** What the boot loader starts where its grubenv says nothing. */
  byDefault = RELEASE;
  /** Kernels that panic on their way up. */
  readonly panics = new Set<string>();
  /** systemd takes the order, and a service never stops. */
  stuck = false;
  readonly buildIDs = new Map([[RELEASE, KERNEL_BUILD_ID], [TARGET, TARGET_BUILD_ID]]);
  /** Where it is going; undefined: it stays up. */
  goingInto: 'Kexec' | 'Firmware' | undefined;
  #boots = 0;
  readonly #clock: Clock;
  readonly #grub: SimulatedGrub;
  readonly #textOf: (path: string) => string | undefined;

  constructor(clock: Clock, grub: SimulatedGrub, textOf: (path: string) => string | undefined) {
    this.#clock = clock;
    this.#grub = grub;
    this.#textOf = textOf;
  }

  /** Runs kexec, or systemctl through nsenter. `goesDown` is called when all services have stopped. */
  async run(argv: readonly string[], goesDown: () => void): Promise<RunResult> {
    const isKexec = argv[0] === 'kexec';
    const program = argv[argv.indexOf('--') + 1] ?? '';
    const boots = this.#boots;
    await this.#clock.sleep(isKexec ? LOAD_MILLISECONDS : TELL_MILLISECONDS);
    // A program ends with its boot.
    if (boots !== this.#boots) return { exitCode: 137, stderr: '' };
    if (program.startsWith('grub-')) return this.#grub.run(argv.slice(argv.indexOf('--') + 1));
    return isKexec ? this.#kexec(argv) : this.#systemctl(argv, goesDown);
  }

  #systemctl(argv: readonly string[], goesDown: () => void): RunResult {
    const refusal = this.goingInto === undefined ? this.refusals.shift() : "Failed to kexec reboot system via logind: There's already a shutdown or sleep operation in progress\n";
    if (refusal !== undefined) return { exitCode: 1, stderr: refusal };
    if (argv.at(-1) === 'kexec' && this.image === undefined) return { exitCode: 1, stderr: 'No kexec kernel loaded and autodetection failed.\n' };
    this.goingInto = argv.at(-1) === 'kexec' ? 'Kexec' : 'Firmware';
    if (!this.stuck) void this.#clock.sleep(SHUTDOWN_MILLISECONDS).then(goesDown);
    return { exitCode: 0, stderr: '' };
  }

  /** The machine has gone down: what comes up. undefined: a kernel that has panicked and waits for ever. */
  comeUp(): StartedKernel | undefined {
    const { image, goingInto } = this;
    this.#boots += 1;
    this.image = undefined;
    this.goingInto = undefined;
    if (goingInto !== 'Kexec' || image === undefined) return this.byFirmware();
    if (!this.panics.has(image.release)) return image;
    return /(^| )panic=[1-9]/.test(image.commandLine) ? this.byFirmware() : undefined;
  }

  /** A kernel that panics, as those of the tests do within seconds, comes back by the firmware once more. */
  byFirmware(): StartedKernel {
    const release = this.#grub.start() ?? this.byDefault;
    const started = this.panics.has(release) ? (this.#grub.start() ?? this.byDefault) : release;
    return { release: started, commandLine: `BOOT_IMAGE=/boot/vmlinuz-${started} root=/dev/vda1 ro quiet` };
  }

  #kexec(argv: readonly string[]): RunResult {
    const [, syscall, action, image = '', , commandLine = ''] = argv;
    const printed = this.#textOf('/proc/sys/kernel/kexec_load_disabled') === '1' ? NOT_PERMITTED : this.prints[syscall === '-c' ? '-c' : '-s'].shift();
    if (printed !== undefined) return { exitCode: 255, stderr: printed };
    this.image = action === '-u' ? undefined : { release: image.replace(/^.*vmlinuz-/, ''), commandLine: commandLine.replace('--command-line=', '') };
    return { exitCode: 0, stderr: '' };
  }
}

/** About the first boot of the machine. */
export function anOrder(changes: Partial<RebootOrder> = {}): RebootOrder {
  return {
    id: 'order-1',
    kernelPatch: 'fix',
    method: 'Kexec',
    release: TARGET,
    bootID: someFacts().bootID,
    notAfter: '2026-11-24T01:00:00Z',
    phase: 'Staging',
    since: '2026-11-24T00:00:00Z',
    reason: 'Staging',
    message: 'no live patch fits',
    ...changes,
  };
}
