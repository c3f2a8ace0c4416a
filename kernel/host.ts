/** The one way to the machine. Everything else in kernel/ and daemonset/ works on what this returned. */
import { spawn } from 'node:child_process';
import { closeSync, constants, openSync, readSync, readdirSync } from 'node:fs';
import { lstat, mkdir, open, readdir, readlink, rm, writeFile } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { endianness } from 'node:os';
import { join, normalize } from 'node:path';
import { KernelPatchError, errnoOf } from './errors.ts';

export interface Entry {
  readonly name: string;
  readonly directory: boolean;
}

export interface RunResult {
  readonly exitCode: number;
  readonly stderr: string;
}

export interface Host {
  readonly littleEndian: boolean;
  /** A regular file of the node, or undefined when there is none. Throws FileTooLarge, HostUnreadable. */
  read(path: string, limitBytes: number): Promise<Buffer | undefined>;
  /** A directory of the node, or undefined when there is none. Throws HostUnreadable. */
  list(path: string): Promise<readonly Entry[] | undefined>;
  /** Writes one of the node's sysfs files, through the node's own mount: the container's is read-only in a pod without the host's network. Throws HostUnwritable, whose cause carries the errno. */
  writeSysfs(path: string, text: string): Promise<void>;
  /** Puts bytes into the agent's own memory file system and returns the path for insmod. Throws HostUnwritable. */
  stage(fileName: string, bytes: Buffer): Promise<string>;
  /** Empties the memory file system. Safe to repeat. */
  clearStage(): Promise<void>;
  /** Runs a command with LC_ALL=C and no shell. Throws CommandMissing, CommandTimedOut. */
  run(argv: readonly [string, ...string[]], timeoutMilliseconds: number): Promise<RunResult>;
}

/** Absent: the file or a directory above it is not there, or went while it was read (ENODEV, a sysfs file of a module that left). */
const ABSENT: ReadonlySet<string> = new Set(['ENOENT', 'ENOTDIR', 'ENODEV', 'ENXIO']);
/** As the kernel's MAXSYMLINKS. */
const MAX_SYMLINKS = 40;
/** More output than insmod and rmmod ever write. */
const MAX_OUTPUT_BYTES = 64 * 1024;
const READ_CHUNK_BYTES = 64 * 1024;

export interface HostPaths {
  /** Where the node's root file system is mounted. */
  readonly root: string;
  /** The agent's own memory file system. */
  readonly stagingDirectory: string;
}

export function realHost(paths: HostPaths): Host {
  return {
    littleEndian: endianness() === 'LE',
    read: (path, limitBytes) =>
      orAbsent(path, async () => (isKernelsOwn(path) ? readNow(join(paths.root, path), path, limitBytes) : readBounded(await resolveInRoot(paths.root, path), path, limitBytes))),
    list: (path) =>
      orAbsent(path, async () => {
        const entries = isKernelsOwn(path) ? readdirSync(join(paths.root, path), { withFileTypes: true }) : await readdir(await resolveInRoot(paths.root, path), { withFileTypes: true });
        return entries.map((entry) => ({ name: entry.name, directory: entry.isDirectory() }));
      }),
    async writeSysfs(path, text) {
      await orUnwritable(path, async () => writeFile(await resolveInRoot(paths.root, path), text, { flag: 'r+' }));
    },
    async stage(fileName, bytes) {
      const path = join(paths.stagingDirectory, fileName);
      await orUnwritable(path, async () => {
        await mkdir(paths.stagingDirectory, { recursive: true });
        await writeFile(path, bytes, { mode: 0o600 });
      });
      return path;
    },
    async clearStage() {
      await orUnwritable(paths.stagingDirectory, async () => {
        await mkdir(paths.stagingDirectory, { recursive: true });
        for (const name of await readdir(paths.stagingDirectory)) await rm(join(paths.stagingDirectory, name), { recursive: true });
      });
    },
    run,
  };
}

async function orAbsent<T>(path: string, read: () => Promise<T>): Promise<T | undefined> {
  try {
    return await read();
  } catch (error) {
    if (error instanceof KernelPatchError) throw error;
    const errno = errnoOf(error);
    if (errno !== undefined && ABSENT.has(errno)) return undefined;
    throw new KernelPatchError('HostUnreadable', `${path} can not be read: ${errno ?? String(error)}`, error);
  }
}

async function orUnwritable(path: string, write: () => Promise<void>): Promise<void> {
  try {
    await write();
  } catch (error) {
    throw new KernelPatchError('HostUnwritable', `${path} can not be written: ${errnoOf(error) ?? String(error)}`, error);
  }
}

/**
 * True of what the kernel makes up while it is read, from memory: its links are relative and stay inside, and reading it at once costs a
 * sixth of what eight trips to a thread do (measured: all facts in 25 ms instead of 150 on an emulated processor).
 */
function isKernelsOwn(path: string): boolean {
  return /^\/(sys|proc\/sys)\//.test(normalize(path));
}

function readNow(real: string, path: string, limitBytes: number): Buffer {
  const file = openSync(real, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const buffer = Buffer.allocUnsafe(limitBytes + 1);
    let total = 0;
    for (let bytesRead = -1; bytesRead !== 0 && total <= limitBytes; total += bytesRead) bytesRead = readSync(file, buffer, total, buffer.length - total, null);
    if (total > limitBytes) throw new KernelPatchError('FileTooLarge', `${path} is larger than ${limitBytes} bytes`);
    return buffer.subarray(0, total);
  } finally {
    closeSync(file);
  }
}

/**
 * The path with every symbolic link resolved inside `root`, as the node itself would resolve it. Opening root + path directly would
 * follow an absolute link into the agent's container.
 */
async function resolveInRoot(root: string, path: string): Promise<string> {
  const pending = path.split('/').reverse();
  const resolved: string[] = [];
  let links = 0;
  while (pending.length > 0) {
    const segment = pending.pop();
    if (segment === undefined || segment === '' || segment === '.') continue;
    if (segment === '..') {
      resolved.pop();
      continue;
    }
    const candidate = join(root, ...resolved, segment);
    if (!(await lstat(candidate)).isSymbolicLink()) {
      resolved.push(segment);
      continue;
    }
    links += 1;
    if (links > MAX_SYMLINKS) throw new KernelPatchError('HostUnreadable', `${path} can not be read: more than ${MAX_SYMLINKS} symbolic links`);
    const target = await readlink(candidate);
    if (target.startsWith('/')) resolved.length = 0;
    pending.push(...target.split('/').reverse());
  }
  return join(root, ...resolved);
}

/** O_NONBLOCK: opening a FIFO must not wait for a writer. */
async function readBounded(resolved: string, path: string, limitBytes: number): Promise<Buffer> {
  const file = await open(resolved, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    if (!(await file.stat()).isFile()) throw new KernelPatchError('HostUnreadable', `${path} can not be read: it is not a regular file`);
    return await readAll(file, path, limitBytes);
  } finally {
    await file.close();
  }
}

/** Reads to the end instead of trusting the size: files of proc and sysfs say 0 or 4096. */
async function readAll(file: FileHandle, path: string, limitBytes: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let total = 0;
  for (;;) {
    const { bytesRead, buffer } = await file.read({ buffer: Buffer.allocUnsafe(Math.min(READ_CHUNK_BYTES, limitBytes + 1)) });
    if (bytesRead === 0) return Buffer.concat(chunks, total);
    total += bytesRead;
    if (total > limitBytes) throw new KernelPatchError('FileTooLarge', `${path} is larger than ${limitBytes} bytes`);
    chunks.push(buffer.subarray(0, bytesRead));
  }
}

/** A command that hangs inside the kernel can not be killed: the wait ends at the timeout whether or not the process does. */
function run(argv: readonly [string, ...string[]], timeoutMilliseconds: number): Promise<RunResult> {
  const [command, ...args] = argv;
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { env: { LC_ALL: 'C', PATH: '/usr/sbin:/usr/bin:/sbin:/bin' }, stdio: ['ignore', 'ignore', 'pipe'] });
    const timer = setTimeout(() => {
      child.kill('SIGKILL');
      child.unref();
      reject(new KernelPatchError('CommandTimedOut', `${argv.join(' ')} did not end within ${timeoutMilliseconds / 1000} s`));
    }, timeoutMilliseconds);
    let stderr = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      if (stderr.length < MAX_OUTPUT_BYTES) stderr += text.slice(0, MAX_OUTPUT_BYTES - stderr.length);
    });
    child.on('error', (error) => {
      clearTimeout(timer);
      reject(new KernelPatchError('CommandMissing', `${command} can not be started: ${error.message}`, error));
    });
    child.on('close', (exitCode, signal) => {
      clearTimeout(timer);
      resolve({ exitCode: exitCode ?? 128, stderr: signal === null ? stderr : `${stderr}${command} was ended by ${signal}` });
    });
  });
}
