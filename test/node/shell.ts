/** A root shell inside the guest over a virtio console: no network, no ssh, 5 ms a command. */
import type { Socket } from 'node:net';
import { connectUnix } from './qmp.ts';
import { waitFor } from '../wait.ts';

export interface GuestResult {
  readonly code: number;
  /** Standard output and error as one text. */
  readonly output: string;
}

export class Shell {
  readonly #socket: Socket;
  #received = '';
  #last: Promise<unknown> = Promise.resolve();
  #count = 0;
  #closed = false;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.setEncoding('utf8');
    socket.on('data', (text: string) => (this.#received += text));
    // The machine's end is seen by its process.
    socket.on('error', () => undefined);
    socket.on('close', () => (this.#closed = true));
  }

  /** Connected at once: the console drops what the guest writes while nobody listens. The guest may still be booting. */
  static async connect(path: string): Promise<Shell> {
    return new Shell(await connectUnix(path));
  }

  /** Answers commands afterwards. What is sent to a booting guest may be lost in part, so the probe has no quotes to leave open. */
  async ready(seconds: number): Promise<void> {
    const look = async () => this.#closed || this.#send((mark) => `\necho ${mark}:$?:\n`, 'boot', 1);
    if ((await waitFor('the guest to answer on its console', { seconds, every: 10 }, look)) === true) throw new Error('the machine went down before it answered');
  }

  /** What the script printed and its exit code. Commands run one after the other. Throws when it takes longer than `seconds`. */
  run(script: string, seconds = 60): Promise<GuestResult> {
    const result = this.#last.then(() => this.#run(script, seconds));
    this.#last = result.catch(() => undefined);
    return result;
  }

  close(): void {
    this.#socket.destroy();
  }

  #run(script: string, seconds: number): Promise<GuestResult> {
    const encoded = Buffer.from(script).toString('base64');
    return this.#send((mark) => `sh -c "$(echo ${encoded} | base64 -d)" </dev/null 2>&1; code=$?; echo; echo ${mark}:$code:\n`, script, seconds);
  }

  async #send(line: (mark: string) => string, what: string, seconds: number): Promise<GuestResult> {
    const mark = `kp-${process.pid}-${++this.#count}`;
    this.#received = '';
    this.#socket.write(line(mark));
    // An echo of the line carries a variable's name, the answer digits.
    const end = new RegExp(`\\n?${mark}:([0-9]+):`);
    const found = await waitFor(`the guest to finish: ${what.slice(0, 200)}`, { seconds, every: 5 }, () => end.exec(this.#received) ?? (this.#closed || undefined), () => this.#received.slice(-400));
    if (found === true) throw new Error(`the machine went down before it had finished: ${what.slice(0, 200)}`);
    return { code: Number(found[1]), output: this.#received.slice(0, found.index) };
  }
}
