import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { MAX_COMMAND_LINE_BYTES, PANIC_SECONDS, mergeCommandLine, parseCommandLine, readNonce } from '../../../kernel/cmdline.ts';

const OURS = `kernelpatch.reboot=new panic=${PANIC_SECONDS}`;

const MERGED: readonly (readonly [what: string, running: string, merged: string])[] = [
  ["Debian's", 'BOOT_IMAGE=/boot/vmlinuz-6.12.107 root=UUID=1f0e ro quiet', `${OURS} root=UUID=1f0e ro quiet`],
  ['one that a boot loader gave an initrd', 'initrd=\\EFI\\initrd.img root=/dev/vda1 initrd=second', `${OURS} root=/dev/vda1`],
  ['one that was started for an earlier order', 'kernelpatch.reboot=old panic=30 root=/dev/vda1', 'kernelpatch.reboot=new panic=30 root=/dev/vda1'],
  ['one that says what a panic does', 'root=/dev/vda1 panic=0', 'kernelpatch.reboot=new root=/dev/vda1 panic=0'],
  ['one with a key that only begins like ours', 'panic_on_warn=1 oops=panic kernelpatch.boot=0 initrdless', `${OURS} panic_on_warn=1 oops=panic kernelpatch.boot=0 initrdless`],
  ['one with quotes', 'a="b c" "d=e  f" dyndbg="file x.c +p; file y.c +p"', `${OURS} a="b c" "d=e  f" dyndbg="file x.c +p; file y.c +p"`],
  ['one with a quoted option that goes', '"BOOT_IMAGE=/my kernel" quiet', `${OURS} quiet`],
  ['one with words for init', 'quiet -- single panic=5 BOOT_IMAGE=x kernelpatch.reboot=old', `${OURS} quiet -- single panic=5 BOOT_IMAGE=x kernelpatch.reboot=old`],
  ['one with a quote that is not closed', 'quiet a="b -- c', `${OURS} quiet a="b -- c`],
  ['one with dashes in a quote', 'a=" -- " b', `${OURS} a=" -- " b`],
  ['one with more white space than it needs', '  quiet\t ro \n', `${OURS} quiet ro`],
  ['an empty one', '', OURS],
];

for (const [what, running, merged] of MERGED) {
  test(`${what} is merged to ${JSON.stringify(merged)}`, () => assert.equal(mergeCommandLine(running, 'new'), merged));
}

test('the bound is what kexec_file_load takes on x86', () => assert.equal(MAX_COMMAND_LINE_BYTES, 2016));

const NONCES: readonly (readonly [line: string, id: string | undefined])[] = [
  ['root=/dev/vda1 kernelpatch.reboot=a-1 quiet', 'a-1'],
  ['kernelpatch.reboot=a-1 kernelpatch.reboot=a-2', 'a-2'],
  ['"kernelpatch.reboot=a-1"', 'a-1'],
  ['quiet -- kernelpatch.reboot=a-1', undefined],
  ['a="x kernelpatch.reboot=a-1"', undefined],
  ['kernelpatch.rebooted=a-1', undefined],
  ['kernelpatch.reboot', undefined],
  ['kernelpatch.reboot=not_ours', undefined],
  [`kernelpatch.reboot=${'a'.repeat(64)}`, undefined],
];

for (const [line, id] of NONCES) test(`${line} was started for ${id ?? 'no order'}`, () => assert.equal(readNonce(line), id));

interface Read {
  readonly options: readonly (readonly [name: string, value: string | undefined])[];
  readonly init: string | undefined;
}

/** The end of the word that begins there: lib/cmdline.c, next_arg, a byte at a time. */
function endOfWord(line: string, start: number): number {
  let inQuote = false;
  let end = start;
  for (; end < line.length && (inQuote || !isSpace(line, end)); end += 1) if (line[end] === '"') inQuote = !inQuote;
  return end;
}

const isSpace = (line: string, at: number): boolean => ' \t\n\v\f\r'.includes(line[at] ?? 'x');

/** The kernel's own way: kernel/params.c, parse_args. */
function asTheKernel(line: string): Read {
  const options: (readonly [string, string | undefined])[] = [];
  for (let at = 0; at < line.length; ) {
    if (isSpace(line, at)) {
      at += 1;
      continue;
    }
    const end = endOfWord(line, at);
    const written = line.slice(at, end);
    const word = written.startsWith('"') ? written.slice(1).replace(/"$/, '') : written;
    const equals = word.indexOf('=', 1);
    at = end;
    if (equals === -1 && word === '--') return { options, init: line.slice(at) };
    options.push(equals === -1 ? [word, undefined] : [word.slice(0, equals), word.slice(equals + 1)]);
  }
  return { options, init: undefined };
}

/** What is for init, word by word. */
function wordsFor(init: string | undefined): readonly unknown[] {
  if (init === undefined) return [];
  const { options, init: rest } = asTheKernel(init);
  return ['--', ...options, ...wordsFor(rest)];
}

const name = fc.constantFrom('root', 'quiet', 'panic', 'BOOT_IMAGE', 'initrd', 'kernelpatch.reboot', 'a', '--', 'ünï');
const value = fc.oneof(fc.constantFrom('x', '"b c"', '"b  -- c"', '/dev/vda1', '0', '=', '"'), fc.string({ unit: fc.constantFrom('a', 'b', ' ', '"', '=', '-', '\t'), maxLength: 6 }));
const option = fc.oneof(name, fc.tuple(name, value).map(([key, text]) => `${key}=${text}`), fc.tuple(name, value).map(([key, text]) => `"${key}=${text} y"`));
const anyLine = fc.tuple(fc.array(fc.oneof({ weight: 12, arbitrary: option }, { weight: 1, arbitrary: fc.constant('--') }), { maxLength: 12 }), fc.constantFrom(' ', '  ', '\t')).map(([options, space]) => options.join(space));
const GONE = new Set(['BOOT_IMAGE', 'initrd', 'kernelpatch.reboot']);

test('whatever the running line is, the kernel reads of the merged one our id, a panic that ends, and else what it read before', () => {
  fc.assert(
    fc.property(anyLine, (running) => {
      const before = asTheKernel(running);
      const merged = mergeCommandLine(running, 'order-1');
      const after = asTheKernel(merged);
      const kept = before.options.filter(([key]) => !GONE.has(key));
      const panic = kept.some(([key]) => key === 'panic') ? [] : [['panic', String(PANIC_SECONDS)]];
      assert.deepEqual(after.options, [['kernelpatch.reboot', 'order-1'], ...panic, ...kept]);
      assert.deepEqual(wordsFor(after.init), wordsFor(before.init));
      assert.equal(readNonce(merged), 'order-1');
      assert.equal(mergeCommandLine(merged, 'order-1'), merged, 'merged again it stays');
      assert.equal(mergeCommandLine(merged, 'order-2'), merged.replace('order-1', 'order-2'), 'nothing of an earlier order is left');
    }),
    { numRuns: 10_000, seed: 1 },
  );
});

const bare = (text: string): string => text.replaceAll(/[ \t\n\v\f\r]/g, '');

test('whatever the bytes are, every character but white space is in some word, and nothing throws', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 60 }), (line) => {
      const { options, init } = parseCommandLine(line);
      assert.equal(bare([...options, ...init].join('')), bare(line));
      mergeCommandLine(line, 'a');
      readNonce(line);
    }),
    { numRuns: 10_000 },
  );
});
