/** Child processes that end with their parent, by pid, and whose output is kept. */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';

export interface RunResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly stdin?: string | Buffer;
  /** Seconds until it is killed; 120 unless told. */
  readonly seconds?: number;
}

/** What the command printed and its exit code; never throws on a non-zero code. A killed command has code 137. */
export function run(argv: readonly string[], options: RunOptions = {}): Promise<RunResult> {
  const [command = '', ...args] = argv;
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd: options.cwd, env: { ...process.env, ...options.env }, timeout: (options.seconds ?? 120) * 1000, killSignal: 'SIGKILL' });
    const out: Buffer[] = [];
    const err: Buffer[] = [];
    child.stdout.on('data', (chunk: Buffer) => out.push(chunk));
    child.stderr.on('data', (chunk: Buffer) => err.push(chunk));
    child.on('error', reject);
    child.on('close', (code) => resolve({ code: code ?? 137, stdout: Buffer.concat(out).toString(), stderr: Buffer.concat(err).toString() }));
    // A command that ends before it has read its input is judged by its exit code, not by the broken pipe.
    child.stdin.on('error', () => undefined);
    child.stdin.end(options.stdin);
  });
}

/** As run, but a non-zero exit code throws with what was printed. Gives standard output. */
export async function must(argv: readonly string[], options: RunOptions = {}): Promise<string> {
  const result = await run(argv, options);
  if (result.code !== 0) throw new Error(`${argv.join(' ')}: exit ${result.code}\n${result.stderr}${result.stdout}`);
  return result.stdout;
}

/** As must, with standard error shown as it comes: for commands that take minutes and say how far they are. Gives the last line printed. */
export function stream(argv: readonly string[]): Promise<string> {
  const [command = '', ...args] = argv;
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    let printed = '';
    child.stdout.on('data', (chunk: Buffer) => (printed += chunk.toString()));
    child.on('error', reject);
    child.on('close', (code) => (code === 0 ? resolve(printed.trimEnd().split('\n').at(-1) ?? '') : reject(new Error(`${argv.join(' ')}: exit ${code}`))));
  });
}

export interface Daemon {
  readonly name: string;
  readonly pid: number;
  readonly log: string;
  /** True until it has ended. */
  running(): boolean;
  /** Resolves when it has ended. */
  readonly ended: Promise<void>;
  /** Ended afterwards: `signal` first, SIGKILL when it has not gone after ten seconds. */
  stop(signal?: NodeJS.Signals): Promise<void>;
}

const daemons = new Set<Daemon>();

/**
 * A long-running child whose output goes to the file `log`. It is killed by the kernel when this process dies (PR_SET_PDEATHSIG, by
 * util-linux's setpriv), so a killed test leaves nothing running.
 */
export function startDaemon(name: string, argv: readonly string[], options: { log: string; env?: Readonly<Record<string, string>>; cwd?: string }): Daemon {
  const fd = openSync(options.log, 'a');
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', '--', ...argv], { stdio: ['ignore', fd, fd], env: { ...process.env, ...options.env }, cwd: options.cwd });
  closeSync(fd);
  if (child.pid === undefined) throw new Error(`${name} could not be started: is setpriv (util-linux) there?`);
  const ended = exitOf(child);
  const daemon: Daemon = {
    name,
    pid: child.pid,
    log: options.log,
    running: () => child.exitCode === null && child.signalCode === null,
    ended,
    stop: async (signal = 'SIGTERM') => {
      child.kill(signal);
      const timer = setTimeout(() => child.kill('SIGKILL'), 10_000);
      await ended;
      clearTimeout(timer);
      daemons.delete(daemon);
    },
  };
  daemons.add(daemon);
  return daemon;
}

function exitOf(child: ChildProcess): Promise<void> {
  return new Promise((resolve) => {
    child.once('exit', () => resolve());
    child.once('error', () => resolve());
  });
}

/** The last lines a daemon printed. */
export function tailOf(daemon: Daemon, lines = 15): string {
  return readFileSync(daemon.log, 'utf8').trimEnd().split('\n').slice(-lines).join('\n');
}

/** Every daemon that is still running is ended: the last thing a program does that started some. */
export async function stopAllDaemons(): Promise<void> {
  await Promise.all([...daemons].map((daemon) => daemon.stop()));
}
