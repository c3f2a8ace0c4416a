/** QEMU's machine protocol (docs/interop/qmp-spec): one command after the other over a unix socket. */
import { createConnection } from 'node:net';
import type { Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { waitFor } from '../wait.ts';

interface Reply {
  readonly return?: unknown;
  readonly error?: { readonly class: string; readonly desc: string };
  readonly event?: string;
  readonly data?: { readonly reason?: string };
}

export class Qmp {
  readonly #socket: Socket;
  readonly #waiting: ((reply: Reply) => void)[] = [];
  #reason: string | undefined;
  /** Resolves when QEMU has ended or the connection was closed, with QEMU's word for why the machine went down, if it said one. */
  readonly ended: Promise<string | undefined>;

  private constructor(socket: Socket) {
    this.#socket = socket;
    const lines = createInterface({ input: socket });
    lines.on('line', (line) => {
      const message = JSON.parse(line) as Reply;
      if (message.event === 'SHUTDOWN') this.#reason = message.data?.reason;
      // Greetings and events carry neither and answer no command.
      if ('return' in message || 'error' in message) this.#waiting.shift()?.(message);
    });
    // A socket's error comes out of both, and its end says all that matters.
    for (const source of [lines, socket]) source.on('error', () => undefined);
    this.ended = new Promise((resolve) => socket.on('close', () => {
      this.#end();
      resolve(this.#reason);
    }));
  }

  /** Connected and past the capabilities negotiation. */
  static async connect(path: string): Promise<Qmp> {
    const socket = await connectUnix(path);
    const qmp = new Qmp(socket);
    await qmp.execute('qmp_capabilities');
    return qmp;
  }

  /** The command's return value; throws with QEMU's own description when it refuses. */
  async execute(command: string, args: Readonly<Record<string, unknown>> = {}): Promise<unknown> {
    const reply = await new Promise<Reply>((resolve) => {
      this.#waiting.push(resolve);
      this.#socket.write(JSON.stringify({ execute: command, arguments: args }) + '\n');
    });
    if (reply.error) throw new Error(`QEMU refused ${command}: ${reply.error.desc}`);
    return reply.return;
  }

  /** The stopped machine's memory and devices are in `file` afterwards. */
  async save(file: string): Promise<void> {
    await this.execute('stop');
    // 10 GB/s: QEMU's default of 128 MiB/s is meant for networks.
    await this.execute('migrate-set-parameters', { 'max-bandwidth': 10_000_000_000 });
    await this.execute('migrate', { uri: `exec:cat > ${file}` });
    await waitFor(`the machine to be saved to ${file}`, { seconds: 120 }, async () => {
      const { status } = (await this.execute('query-migrate')) as { status?: string };
      if (status === 'failed') throw new Error('migration failed');
      return status === 'completed' || undefined;
    });
  }

  /** The running machine's memory and devices are as they were, and nothing that was translated for its processor is left in QEMU. */
  async forgetTranslations(): Promise<void> {
    await this.execute('stop');
    try {
      // Loading a snapshot is what empties QEMU's cache; there is no command for it alone.
      for (const command of ['savevm', 'loadvm', 'delvm']) {
        const complaint = await this.execute('human-monitor-command', { 'command-line': `${command} kexec` });
        if (complaint !== '') throw new Error(`QEMU refused ${command}: ${String(complaint)}`);
      }
    } finally {
      await this.execute('cont');
    }
  }

  /** A machine started with `-incoming` runs afterwards. */
  async resume(): Promise<void> {
    await waitFor('the saved machine to be read', { seconds: 120, every: 20 }, async () => {
      const { status } = (await this.execute('query-status')) as { status: string };
      return status !== 'inmigrate' || undefined;
    });
    await this.execute('cont');
  }

  close(): void {
    this.#socket.destroy();
  }

  #end(): void {
    for (const resolve of this.#waiting.splice(0)) resolve({ error: { class: 'Closed', desc: 'the connection to QEMU has ended' } });
  }
}

/** A connection to a unix socket that a just started program is about to make. */
export function connectUnix(path: string): Promise<Socket> {
  return waitFor(`the socket ${path}`, { seconds: 30, every: 20 }, () => new Promise<Socket>((resolve, reject) => {
    const socket = createConnection(path);
    socket.once('connect', () => {
      socket.removeListener('error', reject);
      resolve(socket);
    });
    socket.once('error', reject);
  }));
}
