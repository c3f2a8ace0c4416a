/** GRUB on a simulated machine with Debian's menu: what its programs write, and which kernel it starts. */
import { parseEnvironment } from '../../kernel/boot/environment.ts';
import type { RunResult } from '../../kernel/host.ts';
import { aDebianGrubConfig, aGrubEnvironment } from './boot.ts';

const CONFIG = '/boot/grub/grub.cfg';
const ENVIRONMENT = '/boot/grub/grubenv';

export class SimulatedGrub {
  /** What its programs print, call by call, until they work. */
  readonly prints: string[] = [];
  readonly #files: Map<string, Buffer>;

  constructor(files: Map<string, Buffer>) {
    this.#files = files;
  }

  /** update-grub, with GRUB_DEFAULT as `wanted`: the kernels in /boot, the newest first. */
  update(wanted: string): void {
    const releases = [...this.#files.keys()].flatMap((path) => /^\/boot\/vmlinuz-(.*)$/.exec(path)?.[1] ?? []).sort().reverse();
    this.#files.set(CONFIG, Buffer.from(aDebianGrubConfig(releases, { wanted })));
  }

  variable(name: string): string {
    return this.#variables.get(name) ?? '';
  }

  set(name: string, value: string): void {
    const variables = new Map(this.#variables).set(name, value);
    this.#files.set(ENVIRONMENT, aGrubEnvironment(Object.fromEntries([...variables].filter(([, text]) => text !== ''))));
  }

  run(argv: readonly string[]): RunResult {
    const printed = this.prints.shift();
    if (printed !== undefined) return { exitCode: 1, stderr: printed };
    const [program, entry = ''] = argv;
    if (program === 'grub-editenv') this.set(argv[3] ?? '', '');
    else this.set(program === 'grub-reboot' ? 'next_entry' : 'saved_entry', entry);
    return { exitCode: 0, stderr: '' };
  }

  /** The kernel that it starts, as far as grubenv says so; what is for one boot is used up. */
  start(): string | undefined {
    const once = releaseOf(this.variable('next_entry'));
    this.set('next_entry', '');
    const isSaved = this.#files.get(CONFIG)?.includes('${saved_entry}') === true;
    return once ?? (isSaved ? releaseOf(this.variable('saved_entry')) : undefined);
  }

  get #variables(): ReadonlyMap<string, string> {
    return parseEnvironment(this.#files.get(ENVIRONMENT)?.toString() ?? '');
  }
}

function releaseOf(entry: string): string | undefined {
  return />gnulinux-(.*)-advanced-/.exec(entry)?.[1];
}
