/** The disk of a simulated machine: files whose last write a power cut may meet on its way. */
import { KernelPatchError } from '../../kernel/errors.ts';

/** What is left of a write that a power cut met: all of it, nothing, half of it, or as many NUL bytes (measured on ext4). */
export const WRITE_FATES = ['kept', 'lost', 'torn', 'zeros'] as const;
export type WriteFate = (typeof WRITE_FATES)[number];

interface DiskWrite {
  readonly path: string;
  /** The file, or all in the directory. */
  readonly before: ReadonlyMap<string, Buffer>;
  readonly appended: Buffer | undefined;
}

export class SimulatedDisk {
  readonly files = new Map<string, Buffer>();
  /** While set, nothing can be written; the errno says why. */
  fails: string | undefined;
  /** Files, and directories with all in them, that can not be written. */
  readOnly: readonly string[] = [];
  /** The last write, until the process asks for something else: then it has heard that the write is durable. */
  #write: DiskWrite | undefined;

  /** True when the process died of something else before it heard that its last write is durable. */
  get isWriting(): boolean {
    return this.#write !== undefined;
  }

  /** The process has asked for something else. */
  hear(): void {
    this.#write = undefined;
  }

  async append(path: string, bytes: Buffer): Promise<void> {
    const before = this.#begin(path, bytes);
    this.files.set(path, Buffer.concat([before.get(path) ?? Buffer.alloc(0), bytes]));
  }

  async replace(path: string, bytes: Buffer): Promise<void> {
    this.#begin(path, undefined);
    this.files.set(path, bytes);
  }

  /** A directory goes with all in it. */
  async remove(path: string): Promise<void> {
    this.#begin(path, undefined);
  }

  /** Of a write that was under way is left what `fate` says. */
  cutPower(fate: WriteFate): void {
    if (this.#write !== undefined) this.#settle(this.#write, fate);
    this.#write = undefined;
  }

  /** What was there is gone, and is returned. */
  #begin(path: string, appended: Buffer | undefined): ReadonlyMap<string, Buffer> {
    const errno = this.fails ?? (this.readOnly.some((each) => path === each || path.startsWith(`${each}/`)) ? 'EROFS' : undefined);
    if (errno !== undefined) throw unwritable(path, errno);
    const before = new Map([...this.files].filter(([file]) => file === path || file.startsWith(`${path}/`)));
    this.#write = { path, before, appended };
    for (const file of before.keys()) this.files.delete(file);
    return before;
  }

  #settle({ path, before, appended }: DiskWrite, fate: WriteFate): void {
    const whole = this.files.get(path);
    if (fate === 'kept') return;
    this.files.delete(path);
    // A file that is replaced or removed is the old one or the new one; only an appended record, or a directory, can be there in part.
    const survivors = fate === 'lost' ? before.size : Math.ceil(before.size / 2);
    for (const [file, bytes] of [...before].slice(0, survivors)) this.files.set(file, bytes);
    if (fate === 'lost' || appended === undefined || whole === undefined) return;
    const part = fate === 'torn' ? appended.subarray(0, appended.length / 2) : Buffer.alloc(appended.length);
    this.files.set(path, Buffer.concat([before.get(path) ?? Buffer.alloc(0), part]));
  }
}

export function unwritable(path: string, errno: string): KernelPatchError {
  return new KernelPatchError('HostUnwritable', `${path} can not be written: ${errno}`);
}
