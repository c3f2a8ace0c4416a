/** The real host, on a directory that stands for the node's root. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { appendFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { codeOf, errnoOf } from '../../../kernel/errors.ts';
import { realHost } from '../../../kernel/host.ts';

const directory = mkdtempSync(join(tmpdir(), 'kernelpatch-host-'));
after(() => rmSync(directory, { recursive: true }));
const root = join(directory, 'root');
const stagingDirectory = join(directory, 'stage');
mkdirSync(join(root, 'var/lib'), { recursive: true });
writeFileSync(join(root, 'var/lib/fix.ko'), 'module');
const host = realHost({ root, stagingDirectory });

test('a file of the node is read, and one that is not there is undefined', async () => {
  assert.equal((await host.read('/var/lib/fix.ko', 100))?.toString(), 'module');
  assert.equal(await host.read('/var/lib/none.ko', 100), undefined);
  assert.equal(await host.read('/var/lib/fix.ko/none', 100), undefined);
});

test('the start of a file is read, all of it when it has less', async () => {
  assert.equal((await host.readStart('/var/lib/fix.ko', 3))?.toString(), 'mod');
  assert.equal((await host.readStart('/var/lib/fix.ko', 100))?.toString(), 'module');
  assert.equal(await host.readStart('/var/lib/none.ko', 3), undefined);
  await assert.rejects(host.readStart('/var', 3), (error) => codeOf(error) === 'HostUnreadable');
});

test('a file has another version once it was written to or another one took its place', async () => {
  const path = join(root, 'var/state');
  writeFileSync(path, 'one');
  symlinkSync('/var/state', join(root, 'to-state'));
  const first = await host.stat('/to-state');
  assert.deepEqual([first?.bytes, await host.stat('/var/state')], [3, first]);
  writeFileSync(path, 'two');
  const second = await host.stat('/to-state');
  writeFileSync(`${path}.new`, 'two');
  renameSync(`${path}.new`, path);
  assert.equal(new Set([first, second, await host.stat('/to-state')].map((state) => state?.version)).size, 3);
  assert.equal(await host.stat('/var/none'), undefined);
  await assert.rejects(host.stat('/var/lib'), (error) => codeOf(error) === 'HostUnreadable');
});

test('a file that is larger than its bound is an error', async () => {
  assert.equal((await host.read('/var/lib/fix.ko', 6))?.length, 6);
  await assert.rejects(host.read('/var/lib/fix.ko', 5), (error) => codeOf(error) === 'FileTooLarge');
});

test('links are followed as the node itself follows them, and never lead out of its root', async () => {
  symlinkSync('/var/lib/fix.ko', join(root, 'var/absolute'));
  symlinkSync('../../../../../var/lib/fix.ko', join(root, 'climbing'));
  symlinkSync('var/lib', join(root, 'directory'));
  for (const path of ['/var/absolute', '/climbing', '/directory/fix.ko', '/directory/../lib/fix.ko']) {
    assert.equal((await host.read(path, 100))?.toString(), 'module', path);
  }
  symlinkSync(join(directory, 'secret'), join(root, 'out'));
  writeFileSync(join(directory, 'secret'), 'of the container');
  assert.equal(await host.read('/out', 100), undefined);
});

test('a link that leads to itself is an error', async () => {
  symlinkSync('/loop', join(root, 'loop'));
  await assert.rejects(host.read('/loop', 100), (error) => codeOf(error) === 'HostUnreadable');
});

test('a FIFO and a directory are errors, and nobody waits for a writer', async () => {
  execFileSync('mkfifo', [join(root, 'fifo')]);
  await assert.rejects(host.read('/fifo', 100), (error) => codeOf(error) === 'HostUnreadable');
  await assert.rejects(host.read('/var', 100), (error) => codeOf(error) === 'HostUnreadable');
});

test('a program of the agent is told where a file of the node is, with its links resolved', async () => {
  for (const path of ['/var/lib/fix.ko', '/var/absolute', '/climbing', '/directory/fix.ko']) assert.equal(await host.locate(path), join(root, 'var/lib/fix.ko'), path);
  assert.equal(await host.locate('/directory'), join(root, 'var/lib'));
  assert.equal(await host.locate('/none'), undefined);
  assert.equal(await host.locate('/out'), undefined);
});

test('a directory is listed, and one that is not there is undefined', async () => {
  assert.deepEqual(await host.list('/var/lib'), [{ name: 'fix.ko', directory: false }]);
  assert.ok((await host.list('/var'))?.some(({ name, directory: isDirectory }) => name === 'lib' && isDirectory));
  assert.equal(await host.list('/none'), undefined);
});

test('staged bytes are in the memory file system until it is cleared', async () => {
  const path = await host.stage('fix.ko', Buffer.from('bytes'));
  assert.equal(readFileSync(path, 'utf8'), 'bytes');
  await host.clearStage();
  await host.clearStage();
  assert.deepEqual(readdirSync(stagingDirectory), []);
});

test('a sysfs file that is not there is never created', async () => {
  const path = join(root, 'sys/enabled');
  mkdirSync(join(root, 'sys'));
  await assert.rejects(host.writeSysfs('/sys/enabled', '1'), (error) => codeOf(error) === 'HostUnwritable');
  writeFileSync(path, '0');
  await host.writeSysfs('/sys/enabled', '1');
  assert.equal(readFileSync(path, 'utf8'), '1');
});

test('a file is shown in pieces of whole lines, whatever its size', async () => {
  const lines = Array.from({ length: 30_000 }, (_, index) => `${index} ${'x'.repeat(index % 90)}`);
  writeFileSync(join(root, 'lines'), `${lines.join('\n')}\nlast without newline`);
  const seen: string[] = [];
  assert.equal(await host.scan('/lines', 10_000_000, (piece) => seen.push(piece.toString()) === 0), true);
  assert.ok(seen.length > 10);
  assert.deepEqual(seen.join('').split('\n'), [...lines, 'last without newline']);
  assert.ok(seen.slice(0, -1).every((piece) => piece.endsWith('\n')));
  assert.equal(await host.scan('/none', 100, () => assert.fail()), false);
  await assert.rejects(host.scan('/lines', 1000, () => false), (error) => codeOf(error) === 'FileTooLarge');
});

test('nothing is shown any more to who has seen enough', async () => {
  writeFileSync(join(root, 'enough'), 'line\n'.repeat(100_000));
  let pieces = 0;
  assert.equal(await host.scan('/enough', 10_000_000, () => ++pieces === 2), true);
  assert.equal(pieces, 2);
});

test('a list of the kernel, which gives a page at a time, is shown in larger pieces', async () => {
  const seen: number[] = [];
  await realHost({ root: '/', stagingDirectory }).scan('/proc/kallsyms', 128 * 1024 * 1024, (piece) => seen.push(piece.length) === 0);
  assert.ok(seen.length > 2 && seen.slice(0, -1).every((bytes) => bytes > 32 * 1024), String(seen));
});

test('a file is read to its end whatever it says of its size: proc says nothing', async () => {
  const bytes = Buffer.alloc(300_000, 'large');
  writeFileSync(join(root, 'large'), bytes);
  assert.deepEqual(await host.read('/large', 1_000_000), bytes);
  const maps = await realHost({ root: '/', stagingDirectory }).read(`/proc/${process.pid}/maps`, 1_000_000);
  assert.ok((maps?.length ?? 0) > 4096 && maps?.toString('latin1').endsWith('\n'));
});

test('what was read at once stays what it was when the next file is read', async () => {
  mkdirSync(join(root, 'proc'));
  for (const name of ['one', 'two']) writeFileSync(join(root, 'proc', name), name.repeat(3000));
  const [one, two] = [await host.read('/proc/one', 10_000), await host.read('/proc/two', 10_000)];
  assert.deepEqual([one?.toString(), two?.toString()], ['one'.repeat(3000), 'two'.repeat(3000)]);
  await assert.rejects(host.read('/proc/one', 8999), (error) => codeOf(error) === 'FileTooLarge');
});

test('a line longer than the buffer is shown in pieces', async () => {
  writeFileSync(join(root, 'long'), `${'y'.repeat(200_000)}\nz\n`);
  let total = '';
  await host.scan('/long', 1_000_000, (piece) => {
    total += piece.toString();
    return false;
  });
  assert.equal(total, `${'y'.repeat(200_000)}\nz\n`);
});

test('what is appended is behind what was there, and a file is made, replaced as a whole, and removed', async () => {
  const path = '/var/lib/journal';
  await host.append(path, 'one\n');
  await host.append(path, 'two\n');
  assert.equal(readFileSync(join(root, path), 'utf8'), 'one\ntwo\n');
  await host.replace(path, 'three\n');
  assert.equal(readFileSync(join(root, path), 'utf8'), 'three\n');
  assert.equal(existsSync(join(root, `${path}.new`)), false);
  appendFileSync(join(root, `${path}.new`), 'left by a power cut');
  await host.remove(path);
  await host.remove(path);
  assert.deepEqual(readdirSync(join(root, 'var/lib')).filter((name) => name.startsWith('journal')), []);
});

test('a directory is made for what is put into it, a link is made, and all of it is removed', async () => {
  await host.replace('/var/lib/boot/load.sh', 'script');
  await host.replace('/var/lib/boot/6.12/fix.ko', Buffer.from([0, 255]));
  await host.link('/var/lib/boot/wants/unit', '../load.sh');
  assert.deepEqual(readFileSync(join(root, 'var/lib/boot/6.12/fix.ko')), Buffer.from([0, 255]));
  assert.equal((await host.read('/var/lib/boot/wants/unit', 100))?.toString(), 'script');
  await assert.rejects(host.link('/var/lib/boot/wants/unit', 'other'), (error) => codeOf(error) === 'HostUnwritable');
  await host.remove('/var/lib/boot/wants/unit');
  assert.equal((await host.read('/var/lib/boot/load.sh', 100))?.toString(), 'script', 'what a link leads to stays');
  await host.remove('/var/lib/boot');
  await host.remove('/var/lib/boot');
  assert.equal(await host.list('/var/lib/boot'), undefined);
  await assert.rejects(host.replace('/none/boot/load.sh', 'x'), (error) => codeOf(error) === 'HostUnwritable');
});

test('a full disk and a directory that is not there are HostUnwritable, with the errno', async () => {
  await assert.rejects(realHost({ root: '/', stagingDirectory }).append('/dev/full', 'x'), (error) => codeOf(error) === 'HostUnwritable' && errnoOf((error as Error).cause) === 'ENOSPC');
  await assert.rejects(host.append('/none/journal', 'x'), (error) => codeOf(error) === 'HostUnwritable' && /ENOENT/.test(String(error)));
});

test('a command runs in the C locale without a shell and tells its exit code and what it printed', async () => {
  const { exitCode, stderr } = await host.run(['sh', '-c', 'echo "$LC_ALL $1" >&2; exit 3', 'sh', '$(date)'], 5000);
  assert.deepEqual([exitCode, stderr], [3, 'C $(date)\n']);
});

test('a command that does not end, or is not there, is an error', async () => {
  await assert.rejects(host.run(['sleep', '60'], 50), (error) => codeOf(error) === 'CommandTimedOut');
  await assert.rejects(host.run(['no-such-command'], 5000), (error) => codeOf(error) === 'CommandMissing');
});

test('facts of the machine that runs the test can be read', async () => {
  const own = realHost({ root: '/', stagingDirectory });
  assert.match((await own.read('/proc/sys/kernel/random/boot_id', 4096))?.toString() ?? '', /^[0-9a-f-]{36}\n$/);
});

test('what a command prints is read up to a bound, whatever its exit code, and one that does not end is given up', async () => {
  assert.equal(await host.ask(['sh', '-c', 'echo out; echo err >&2; exit 3'], 5000), 'out\n');
  assert.equal((await host.ask(['sh', '-c', 'head -c 100000 /dev/zero | tr "\\0" x'], 5000)).length, 64 * 1024);
  await assert.rejects(host.ask(['sleep', '5'], 50), (error) => codeOf(error) === 'CommandTimedOut');
  await assert.rejects(host.ask(['no-such-command'], 5000), (error) => codeOf(error) === 'CommandMissing');
});

test('the room on a file system is known by any path on it', async () => {
  const free = await host.freeBytes('/var/lib');
  assert.ok(free !== undefined && free > 0 && Number.isInteger(free), String(free));
  assert.equal(await host.freeBytes('/none'), undefined);
});
