/** The one way to the machine. Everything else in kernel/ and daemonset/ works on what this returned. */
import { spawn } from 'node:child_process';
import { closeSync, constants, openSync, readSync, readdirSync } from 'node:fs';
import { lstat, mkdir, open, readdir, readlink, realpath, rename, rm, stat, statfs, symlink, writeFile } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { endianness } from 'node:os';
import { basename, dirname, join, normalize } from 'node:path';
import { KernelPatchError, errnoOf } from './errors.ts';

export interface Entry {
  readonly name: string;
  readonly directory: boolean;
}

export interface FileState {
  readonly bytes: number;
  /** Another word once the file was written to or another one took its place. */
  readonly version: string;
}

export interface RunResult {
  readonly exitCode: number;
  readonly stderr: string;
}

export interface Host {
  readonly littleEndian: boolean;
  /** A regular file of the node, or undefined when there is none. Throws FileTooLarge, HostUnreadable. */
  read(path: string, limitBytes: number): Promise<Buffer | undefined>;
  /** The first bytes of a regular file of the node, all of it when it has fewer; undefined when there is none. Throws HostUnreadable. */
  readStart(path: string, bytes: number): Promise<Buffer | undefined>;
  /** A regular file of the node as it is now, without its content; undefined when there is none. Throws HostUnreadable. */
  stat(path: string): Promise<FileState | undefined>;
  /**
   * Shows a list that the kernel makes up to `visit` in pieces of whole lines, each valid during the call only, so that a list of any size costs one
   * buffer. It is read at once: the kernel gives a page or a line with each read, and thousands of trips to a thread would take longer than the reading.
   * A device is read to where it would wait. Ends when `visit` returns true: it has seen enough. Returns whether the file is there. Throws FileTooLarge,
   * HostUnreadable.
   */
  scan(path: string, limitBytes: number, visit: (lines: Buffer) => boolean): Promise<boolean>;
  /** A directory of the node, or undefined when there is none. Throws HostUnreadable. */
  list(path: string): Promise<readonly Entry[] | undefined>;
  /** Where a program of the agent opens a file or directory of the node: with every symbolic link resolved as the node resolves it. undefined: there is none. Throws HostUnreadable. */
  locate(path: string): Promise<string | undefined>;
  /** Writes one of the node's sysfs files, through the node's own mount: the container's is read-only in a pod without the host's network. Throws HostUnwritable, whose cause carries the errno. */
  writeSysfs(path: string, text: string): Promise<void>;
  /** The text is at the end of the file, which is made when there is none, and survives a power cut. Throws HostUnwritable; the file may then end with a part of it. */
  append(path: string, text: string): Promise<void>;
  /** The file has this content, also after a power cut; before, it has what it had. Its directory is made when there is none. Throws HostUnwritable. */
  replace(path: string, content: string | Buffer): Promise<void>;
  /** A symbolic link with this target is there for good. Its directory is made when there is none. Throws HostUnwritable, also when something is there already. */
  link(path: string, target: string): Promise<void>;
  /** The file, link, or directory with all in it, is gone for good. Safe to repeat. Throws HostUnwritable. */
  remove(path: string): Promise<void>;
  /** Puts bytes into the agent's own memory file system and returns the path for insmod. Throws HostUnwritable. */
  stage(fileName: string, bytes: Buffer): Promise<string>;
  /** Empties the memory file system. Safe to repeat. */
  clearStage(): Promise<void>;
  /** Runs a command with LC_ALL=C and no shell. Throws CommandMissing, CommandTimedOut. */
  run(argv: readonly [string, ...string[]], timeoutMilliseconds: number): Promise<RunResult>;
  /** As run, of a command that changes nothing: what it prints on its standard output, 64 KiB at most, whatever its exit code. Throws CommandMissing, CommandTimedOut. */
  ask(argv: readonly [string, ...string[]], timeoutMilliseconds: number): Promise<string>;
  /** How many bytes root can still write to the file system of this path; undefined: that is not known. */
  freeBytes(path: string): Promise<number | undefined>;
}

/** Absent: the file or a directory above it is not there, or went while it was read (ENODEV, a sysfs file of a module that left). */
const ABSENT: ReadonlySet<string> = new Set(['ENOENT', 'ENOTDIR', 'ENODEV', 'ENXIO']);
/** As the kernel's MAXSYMLINKS. */
const MAX_SYMLINKS = 40;
/** More output than insmod and rmmod ever write, and enough of a log. */
const MAX_OUTPUT_BYTES = 64 * 1024;
const CHUNK_BYTES = 64 * 1024;
/** What one read of a list gives at most: a page, or a record of the kernel log, which has 8 KiB at most and is given whole or not at all. */
const MAX_PIECE_BYTES = 16 * 1024;
/** A page: what a file of sysfs or proc has at most, with few exceptions. */
const SMALL_BYTES = 4096;
/** Nothing in them is secret, and systemd warns of a unit that not everybody may read. */
const FILE_MODE = 0o644;
/** A log that is overwritten faster than it is read is not followed. */
const MAX_OVERWRITTEN = 16;

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
    readStart: (path, bytes) => orAbsent(path, async () => readFirst(await resolveInRoot(paths.root, path), path, bytes)),
    stat: (path) => orAbsent(path, async () => stateOf(await resolveInRoot(paths.root, path), path)),
    scan: async (path, limitBytes, visit) =>
      (await orAbsent(path, async () => scanLines(isKernelsOwn(path) ? join(paths.root, path) : await resolveInRoot(paths.root, path), { path, limitBytes, visit }))) ?? false,
    list: (path) =>
      orAbsent(path, async () => {
        const entries = isKernelsOwn(path) ? readdirSync(join(paths.root, path), { withFileTypes: true }) : await readdir(await resolveInRoot(paths.root, path), { withFileTypes: true });
        return entries.map((entry) => ({ name: entry.name, directory: entry.isDirectory() }));
      }),
    locate: (path) => orAbsent(path, async () => resolveInRoot(paths.root, path)),
    async writeSysfs(path, text) {
      await orUnwritable(path, async () => writeFile(await resolveInRoot(paths.root, path), text, { flag: 'r+' }));
    },
    async append(path, text) {
      await orUnwritable(path, async () => appendDurably(await resolveParent(paths.root, path), text));
    },
    async replace(path, content) {
      await orUnwritable(path, async () => replaceDurably(await makeParent(paths.root, path), content));
    },
    async link(path, target) {
      await orUnwritable(path, async () => linkDurably(await makeParent(paths.root, path), target));
    },
    async remove(path) {
      await orUnwritable(path, async () => removeDurably(await resolveParent(paths.root, path)));
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
    run: async (argv, timeoutMilliseconds) => {
      const { exitCode, printed } = await spawnAndRead(argv, timeoutMilliseconds, 'stderr');
      return { exitCode, stderr: printed };
    },
    ask: async (argv, timeoutMilliseconds) => (await spawnAndRead(argv, timeoutMilliseconds, 'stdout')).printed,
    freeBytes: (path) =>
      orAbsent(path, async () => {
        const { bfree, bsize } = await statfs(await resolveInRoot(paths.root, path));
        return bfree * bsize;
      }),
  };
}

async function orAbsent<T>(path: string, read: () => Promise<T>): Promise<T | undefined> {
  try {
    return await read();
  } catch (error) {
    if (error instanceof KernelPatchError) throw error;
    const errno = errnoOf(error);
    if (errno === undefined) throw error;
    if (ABSENT.has(errno)) return undefined;
    throw new KernelPatchError('HostUnreadable', `${path} can not be read: ${errno}`, error);
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
  return /^\/(sys\/|proc\/sys\/|proc\/[a-z]+$)/.test(normalize(path));
}

// One each for all that is read at once: a buffer for each file would be garbage outside of the heap, which nothing hurries to collect.
const page = Buffer.allocUnsafeSlow(SMALL_BYTES);
const chunk = Buffer.allocUnsafeSlow(CHUNK_BYTES);

function readNow(real: string, path: string, limitBytes: number): Buffer {
  const file = openSync(real, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const pieces: Buffer[] = [];
    let total = 0;
    for (;;) {
      const bytesRead = readSync(file, page);
      if (bytesRead === 0) return Buffer.concat(pieces, total);
      total += bytesRead;
      if (total > limitBytes) throw tooLarge(path, limitBytes);
      pieces.push(Buffer.from(page.subarray(0, bytesRead)));
    }
  } finally {
    closeSync(file);
  }
}

function tooLarge(path: string, limitBytes: number): KernelPatchError {
  return new KernelPatchError('FileTooLarge', `${path} is larger than ${limitBytes} bytes`);
}

/**
 * The path with every symbolic link resolved inside `root`, as the node itself would resolve it. Opening root + path directly would
 * follow an absolute link into the agent's container.
 */
async function resolveInRoot(root: string, path: string): Promise<string> {
  const direct = join(root, path);
  if (!path.includes('..') && (await hasNoLinks(direct))) return direct;
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

/** One trip to a thread says so of most paths, each segment for itself would take one more. */
async function hasNoLinks(path: string): Promise<boolean> {
  try {
    return (await realpath(path)) === path;
  } catch {
    return false;
  }
}

/** As resolveInRoot, of a file that need not be there. */
async function resolveParent(root: string, path: string): Promise<string> {
  return join(await resolveInRoot(root, dirname(path)), basename(path));
}

/** As resolveParent, and the directory is there for good; the one above it must be. */
async function makeParent(root: string, path: string): Promise<string> {
  try {
    return await resolveParent(root, path);
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw error;
  }
  const directory = await resolveParent(root, dirname(path));
  await mkdir(directory, { mode: 0o755 });
  await syncDirectory(directory);
  return resolveParent(root, path);
}

async function readBounded(resolved: string, path: string, limitBytes: number): Promise<Buffer> {
  return withFile(resolved, path, (file, bytes) => readAll(file, path, { limitBytes, expectedBytes: bytes }));
}

async function readFirst(resolved: string, path: string, bytes: number): Promise<Buffer> {
  return withFile(resolved, path, async (file) => {
    const { bytesRead, buffer } = await file.read({ buffer: Buffer.alloc(bytes) });
    return buffer.subarray(0, bytesRead);
  });
}

/** O_NONBLOCK: opening a FIFO must not wait for a writer. */
async function withFile(resolved: string, path: string, read: (file: FileHandle, bytes: number) => Promise<Buffer>): Promise<Buffer> {
  const file = await open(resolved, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const state = await file.stat();
    if (!state.isFile()) throw notRegular(path);
    return await read(file, state.size);
  } finally {
    await file.close();
  }
}

function notRegular(path: string): KernelPatchError {
  return new KernelPatchError('HostUnreadable', `${path} can not be read: it is not a regular file`);
}

async function stateOf(resolved: string, path: string): Promise<FileState> {
  const state = await stat(resolved, { bigint: true });
  if (!state.isFile()) throw notRegular(path);
  const { dev, ino, size, mtimeNs, ctimeNs } = state;
  return { bytes: Number(size), version: [dev, ino, size, mtimeNs, ctimeNs].join(' ') };
}

/** Reads to the end instead of trusting the size: files of proc say 0, and a file may grow. One buffer, where the size was true. */
async function readAll(file: FileHandle, path: string, { limitBytes, expectedBytes }: { readonly limitBytes: number; readonly expectedBytes: number }): Promise<Buffer> {
  let buffer = Buffer.allocUnsafe(Math.min(Math.max(expectedBytes, SMALL_BYTES), limitBytes) + 1);
  let total = 0;
  for (;;) {
    const { bytesRead } = await file.read(buffer, total, buffer.length - total, null);
    if (bytesRead === 0) return buffer.subarray(0, total);
    total += bytesRead;
    if (total > limitBytes) throw tooLarge(path, limitBytes);
    if (total === buffer.length) buffer = Buffer.concat([buffer], Math.min(2 * total, limitBytes + 1));
  }
}

interface Scan {
  readonly path: string;
  readonly limitBytes: number;
  readonly visit: (lines: Buffer) => boolean;
}

/** One buffer for all: what is behind the last newline moves to the front. A line longer than the buffer is shown in pieces. */
function scanLines(resolved: string, { path, limitBytes, visit }: Scan): boolean {
  const file = openSync(resolved, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    let kept = 0;
    let total = 0;
    for (;;) {
      const filled = fill(file, chunk, kept);
      if (filled === kept) break;
      total += filled - kept;
      if (total > limitBytes) throw tooLarge(path, limitBytes);
      const newline = chunk.lastIndexOf(0x0a, filled - 1) + 1;
      const end = newline === 0 && filled === chunk.length ? filled : newline;
      if (end > 0 && visit(chunk.subarray(0, end))) return true;
      kept = chunk.copy(chunk, 0, end, filled);
    }
    if (kept > 0) visit(chunk.subarray(0, kept));
    return true;
  } finally {
    closeSync(file);
  }
}

/** Reads behind `offset` until there is no room for another piece or nothing more comes. A visit for each page would cost more than the reading. Returns where it ended. */
function fill(file: number, buffer: Buffer, offset: number): number {
  let end = offset;
  for (;;) {
    const bytesRead = readOrEnd(file, buffer, end);
    end += bytesRead;
    if (bytesRead === 0 || end + MAX_PIECE_BYTES > buffer.length) return end;
  }
}

/** The kernel log answers EAGAIN when everything was read, and EPIPE when what came next has been overwritten: then it goes on behind it. */
function readOrEnd(file: number, buffer: Buffer, offset: number): number {
  for (let overwritten = 0; overwritten < MAX_OVERWRITTEN; overwritten += 1) {
    try {
      return readSync(file, buffer, offset, buffer.length - offset, null);
    } catch (error) {
      if (errnoOf(error) === 'EAGAIN') return 0;
      if (errnoOf(error) !== 'EPIPE') throw error;
    }
  }
  return 0;
}

async function appendDurably(resolved: string, text: string): Promise<void> {
  await writeSynced(resolved, 'a', text);
  await syncDirectory(resolved);
}

async function replaceDurably(resolved: string, content: string | Buffer): Promise<void> {
  const temporary = `${resolved}.new`;
  await writeSynced(temporary, 'w', content);
  await rename(temporary, resolved);
  await syncDirectory(resolved);
}

/** The bytes are on the disk; a new file's name may not be. */
async function writeSynced(path: string, flag: 'a' | 'w', content: string | Buffer): Promise<void> {
  const file = await open(path, flag, FILE_MODE);
  try {
    await file.writeFile(content);
    await file.sync();
  } finally {
    await file.close();
  }
}

async function linkDurably(resolved: string, target: string): Promise<void> {
  await symlink(target, resolved);
  await syncDirectory(resolved);
}

async function removeDurably(resolved: string): Promise<void> {
  await rm(resolved, { force: true, recursive: true });
  await rm(`${resolved}.new`, { force: true });
  await syncDirectory(resolved);
}

/** A new, renamed or removed file is durable with its directory only (fsync(2)). */
async function syncDirectory(resolved: string): Promise<void> {
  const directory = await open(dirname(resolved), constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

/** A command that hangs inside the kernel can not be killed: the wait ends at the timeout whether or not the process does. */
function spawnAndRead(argv: readonly [string, ...string[]], timeoutMilliseconds: number, stream: 'stdout' | 'stderr'): Promise<{ readonly exitCode: number; readonly printed: string }> {
  const [command, ...args] = argv;
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { env: { LC_ALL: 'C', PATH: '/usr/sbin:/usr/bin:/sbin:/bin' }, stdio: ['ignore', stream === 'stdout' ? 'pipe' : 'ignore', stream === 'stderr' ? 'pipe' : 'ignore'] });
    const timer = setTimeout(() => {
      child.kill('SIGKILL');
      child.unref();
      reject(new KernelPatchError('CommandTimedOut', `${argv.join(' ')} did not end within ${timeoutMilliseconds / 1000} s`));
    }, timeoutMilliseconds);
    let printed = '';
    child[stream]?.setEncoding('utf8').on('data', (text: string) => {
      if (printed.length < MAX_OUTPUT_BYTES) printed += text.slice(0, MAX_OUTPUT_BYTES - printed.length);
    });
    child.on('error', (error) => {
      clearTimeout(timer);
      reject(new KernelPatchError('CommandMissing', `${command} can not be started: ${error.message}`, error));
    });
    child.on('close', (exitCode, signal) => {
      clearTimeout(timer);
      resolve({ exitCode: exitCode ?? 128, printed: signal === null ? printed : `${printed}${command} was ended by ${signal}` });
    });
  });
}
