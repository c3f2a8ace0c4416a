import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { parseModule, releaseOf } from '../../../kernel/elf.ts';
import { codeOf } from '../../../kernel/errors.ts';
import { parseBuildID } from '../../../kernel/notes.ts';
import { MODULE_BUILD_ID, RELEASE, aModule, buildIDNote } from '../../simulated/module.ts';

for (const littleEndian of [true, false]) {
  test(`a ${littleEndian ? 'little' : 'big'} endian module tells its name, kernel, mark and build id`, () => {
    const module = parseModule(aModule({ littleEndian }));
    assert.equal(module.name, 'livepatch_fix');
    assert.equal(releaseOf(module), RELEASE);
    assert.equal(module.livePatch, true);
    assert.equal(module.buildID, MODULE_BUILD_ID);
    assert.equal(module.signed, false);
  });
}

test('a signature is seen at the very end only', () => {
  assert.equal(parseModule(aModule({ signed: true })).signed, true);
  assert.equal(parseModule(Buffer.concat([aModule({ signed: true }), Buffer.from('x')])).signed, false);
});

test('a module without a mark or a build id says so', () => {
  assert.equal(parseModule(aModule({ livePatch: false })).livePatch, false);
  assert.equal(parseModule(aModule({ buildID: null })).buildID, undefined);
});

test('of a key that is there twice the first counts, as in the kernel', () => {
  assert.equal(parseModule(aModule({ modinfo: ['name=first', 'name=second', 'vermagic=6.1'] })).name, 'first');
});

const changed = (at: number, ...values: number[]): Buffer => {
  const bytes = aModule();
  bytes.set(values, at);
  return bytes;
};

/** Section 1 is .modinfo; its size is at 32 in its header. */
const oversized = (): Buffer => {
  const bytes = aModule();
  bytes.writeBigUInt64LE(2n ** 40n, Number(bytes.readBigUInt64LE(40)) + 64 + 32);
  return bytes;
};

const INVALID: Readonly<Record<string, [Buffer, RegExp]>> = {
  'nothing at all': [Buffer.alloc(0), /it has 0 bytes/],
  'a script': [Buffer.from('#!/bin/sh\n'.repeat(20)), /begins with 23212f62 instead of 7f454c46/],
  'a 32 bit module': [changed(4, 1), /ELF class is 1/],
  'an unknown byte order': [changed(5, 3), /byte order is 3/],
  'a program': [changed(16, 2, 0), /ELF type is 2/],
  'section headers of another size': [changed(58, 40, 0), /section headers have 40 bytes/],
  'no section table': [changed(60, 0, 0), /no section table/],
  'a section table beyond the end': [changed(40, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), /section table .* lies beyond/],
  'section names in a section that is not there': [changed(62, 0xff, 0xff), /section names are in section 65535/],
  'a section beyond the end': [oversized(), /section \.modinfo \(1099511627776 bytes at 64\) lies beyond/],
  'half of it': [aModule().subarray(0, 200), /cut short/],
  'an object file': [aModule({ modinfo: [] }), /no name=/],
  'a module without vermagic': [aModule({ modinfo: ['name=a'] }), /no vermagic=/],
};

for (const [what, [bytes, message]] of Object.entries(INVALID)) {
  test(`${what} is NotAModule, with what is wrong`, () => {
    assert.throws(() => parseModule(bytes), (error) => codeOf(error) === 'NotAModule' && message.test(String(error)));
  });
}

function parsesOrIsNotAModule(bytes: Buffer): boolean {
  try {
    parseModule(bytes);
    return true;
  } catch (error) {
    return codeOf(error) === 'NotAModule';
  }
}

test('arbitrary bytes never do anything but NotAModule', () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 600 }), (bytes) => parsesOrIsNotAModule(Buffer.from(bytes))), { numRuns: 5000 });
});

test('a module with changed or missing bytes is parsed or NotAModule', () => {
  const original = aModule();
  const change = fc.tuple(fc.nat(original.length - 1), fc.constantFrom(0, 1, 0x7f, 0x80, 0xff));
  fc.assert(
    fc.property(fc.array(change, { maxLength: 12 }), fc.integer({ min: 0, max: original.length }), (changes, length) => {
      const bytes = Buffer.from(original.subarray(0, length));
      for (const [at, value] of changes) if (at < length) bytes[at] = value;
      return parsesOrIsNotAModule(bytes);
    }),
    { numRuns: 10_000 },
  );
});

test('the build id is found behind other notes', () => {
  const linux = Buffer.from('0600000004000000010100004c696e757800000000000000', 'hex');
  assert.equal(parseBuildID(Buffer.concat([linux, buildIDNote(MODULE_BUILD_ID)]), true), MODULE_BUILD_ID);
});

test('notes that are cut short, of another kind or read in the wrong byte order have no build id', () => {
  const note = buildIDNote(MODULE_BUILD_ID);
  assert.equal(parseBuildID(note.subarray(0, 30), true), undefined);
  assert.equal(parseBuildID(buildIDNote('ab'), true), undefined);
  assert.equal(parseBuildID(note, false), undefined);
  assert.equal(parseBuildID(Buffer.alloc(0), true), undefined);
});
