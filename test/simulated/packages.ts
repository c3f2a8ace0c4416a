/** The package manager of a simulated machine, run as a unit of its systemd: it goes on when whoever began it is killed, and ends with the boot. */
import type { Clock } from '../../kernel/clock.ts';
import type { RunResult } from '../../kernel/host.ts';

const START_MILLISECONDS = 100;
export const INSTALL_MILLISECONDS = 40_000;
/** systemd answers that it has taken a unit before it begins it. */
const QUEUED_MILLISECONDS = 100;
const UNIT = 'kernelpatch-install.service';

export class SimulatedPackages {
  /** Of the repositories: which kernel a package brings. */
  readonly known = new Map<string, string>();
  /** What it prints, installation by installation, instead of installing. */
  readonly failures: string[] = [];
  /** What systemd-run prints, call by call, until it begins the unit. */
  readonly refusals: string[] = [];
  /** It is at work. */
  isRunning = false;
  /** How often it was begun. */
  begun = 0;
  #boots = 0;
  /** Monotonic milliseconds. */
  #queuedUntil = 0;
  readonly #log: { readonly at: number; readonly text: string }[] = [];
  readonly #clock: Clock;
  readonly #install: (release: string) => void;

  /** `install` has the files of the kernel there. */
  constructor(clock: Clock, install: (release: string) => void) {
    this.#clock = clock;
    this.#install = install;
  }

  /** systemd-run, through nsenter. */
  async run(argv: readonly string[]): Promise<RunResult> {
    await this.#clock.sleep(START_MILLISECONDS);
    if (this.isRunning) return { exitCode: 1, stderr: `Failed to start transient service unit: Unit ${UNIT} was already loaded or has a fragment file.\n` };
    const refusal = this.refusals.shift();
    if (refusal !== undefined) return { exitCode: 1, stderr: refusal };
    this.isRunning = true;
    this.#queuedUntil = this.#clock.monotonic() + QUEUED_MILLISECONDS;
    this.begun += 1;
    this.#say(`Starting ${UNIT}`);
    void this.#work(argv.at(-1) ?? '', this.#boots);
    return { exitCode: 0, stderr: '' };
  }

  /** systemctl show and journalctl, through nsenter. */
  ask(argv: readonly string[]): string {
    if (argv.includes('show')) return this.#show();
    const since = Number(argv.find((word) => word.startsWith('--since=@'))?.slice('--since=@'.length) ?? Infinity);
    return this.#log.filter(({ at }) => at >= since * 1000).map(({ text }) => `${text}\n`).join('');
  }

  #show(): string {
    if (!this.isRunning) return 'ActiveState=inactive\n';
    return this.#clock.monotonic() < this.#queuedUntil ? 'ActiveState=inactive\nJob=1207\n' : 'ActiveState=activating\nJob=1207\n';
  }

  /** The boot has ended. */
  end(): void {
    this.#boots += 1;
    this.isRunning = false;
  }

  async #work(name: string, boots: number): Promise<void> {
    await this.#clock.sleep(INSTALL_MILLISECONDS);
    if (boots !== this.#boots) return;
    const release = this.known.get(name);
    const failure = this.failures.shift() ?? (release === undefined ? `E: Unable to locate package ${name}` : undefined);
    if (failure === undefined && release !== undefined) this.#install(release);
    this.#say(failure === undefined ? `Setting up ${name}` : failure);
    this.#say(failure === undefined ? `Finished ${UNIT}` : `${UNIT}: Failed with result 'exit-code'.`);
    this.isRunning = false;
  }

  #say(text: string): void {
    this.#log.push({ at: this.#clock.now().getTime(), text });
  }
}
