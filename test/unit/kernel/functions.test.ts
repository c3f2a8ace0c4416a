import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { parseModule } from '../../../kernel/elf.ts';
import { codeOf } from '../../../kernel/errors.ts';
import type { PatchedFunction } from '../../../kernel/functions.ts';
import { aModule } from '../../simulated/module.ts';
import type { ModuleOptions } from '../../simulated/module.ts';
import type { Form } from '../../simulated/patched.ts';

const FUNCTIONS: readonly PatchedFunction[] = [
  { object: 'vmlinux', name: 'version_proc_show', position: 0 },
  { object: 'vmlinux', name: 'cmdline_proc_show.isra.0', position: 3 },
  { object: 'vmlinux', name: '__x64_sys_getpid', position: 1 },
  { object: 'ext4', name: 'ext4_init', position: 0 },
  { object: 'nf_tables', name: 'nft_init', position: 2 },
];
const FORMS: readonly Form[] = ['kernel', 'kpatch', 'kpatch-old'];
const functionsOf = (bytes: Buffer) => parseModule(bytes).functions;

for (const form of FORMS) {
  for (const littleEndian of [true, false]) {
    test(`the functions of a module in the form ${form}, ${littleEndian ? 'little' : 'big'} endian, are read with their objects and positions`, () => {
      const expected = form === 'kpatch-old' ? FUNCTIONS.map((each) => ({ ...each, position: 0 })) : FUNCTIONS;
      assert.deepEqual(functionsOf(aModule({ patches: FUNCTIONS, form, littleEndian })), expected);
      assert.deepEqual(functionsOf(aModule({ patches: FUNCTIONS.slice(0, 1), form, littleEndian })), expected.slice(0, 1));
    });
  }
}

const replaceOf = (options: ModuleOptions) => parseModule(aModule({ patches: FUNCTIONS, ...options })).replace;

test('whether a module is cumulative is read from struct klp_patch, which has it since 5.5; kpatch-build sets it in code only', () => {
  for (const littleEndian of [true, false]) for (const replace of [true, false]) assert.equal(replaceOf({ replace, littleEndian }), replace);
  assert.equal(replaceOf({ release: '5.5.0' }), true);
  for (const release of ['5.4.0-42-generic', '4.18.0-553.el8.x86_64', 'unknown']) assert.equal(replaceOf({ release }), 'unknown');
  assert.equal(replaceOf({ form: 'kpatch' }), 'unknown');
  assert.equal(parseModule(aModule()).replace, 'unknown');
});

test('a module without relocations lists none in a form that is known', () => {
  assert.equal(functionsOf(aModule()), 'unknown');
});

test('more functions than any live patch has are unknown', () => {
  const many = Array.from({ length: 1100 }, (_, index) => ({ object: 'vmlinux', name: `f${index}`, position: 0 }));
  assert.equal(functionsOf(aModule({ patches: many, form: 'kpatch' })), 'unknown');
});

test('a name that is no name of a function makes the list unknown', () => {
  for (const name of ['', 'two words', '1st', 'x'.repeat(600)]) assert.equal(functionsOf(aModule({ patches: [{ object: 'vmlinux', name, position: 0 }] })), 'unknown', name);
});

const ONE: PatchedFunction = { object: 'vmlinux', name: 'version_proc_show', position: 0 };
/** Where the first function and the second one are in .data: behind klp_patch and two elements of klp_object (test/simulated/patched.ts). */
const FIRST_AT = 64 + 2 * 168;
const SECOND_AT = FIRST_AT + 152;

/** The relocation for a place of .data: r_offset, r_info, r_addend. */
function relocationOf(bytes: Buffer, place: number): number {
  const offset = Buffer.alloc(8);
  offset.writeBigUInt64LE(BigInt(place));
  for (let at = bytes.indexOf(offset); at !== -1; at = bytes.indexOf(offset, at + 1)) if (bytes.readUInt32LE(at + 8) === 1) return at;
  throw new Error(`no relocation for ${place}`);
}

test('an array whose elements are not at equal distances is unknown', () => {
  const bytes = aModule({ patches: [ONE, { ...ONE, name: 'another' }] });
  for (const place of [SECOND_AT + 8, SECOND_AT]) bytes.writeBigUInt64LE(BigInt(place + 8), relocationOf(bytes, place));
  assert.equal(functionsOf(bytes), 'unknown');
});

test('a name with anything but code behind it is no function', () => {
  const bytes = aModule({ patches: [ONE] });
  bytes.writeUInt32LE(3, relocationOf(bytes, FIRST_AT + 8) + 12);
  assert.equal(functionsOf(bytes), 'unknown');
});

/** Where each section's content and header are is different in each form, so bytes are changed everywhere. */
const ORIGINALS = FORMS.map((form) => aModule({ patches: FUNCTIONS, form }));
const AT_ALL_TIMES = new Set(FUNCTIONS.map(({ name }) => name));

test('whatever is changed in a module, its functions are a list, unknown, or it is no module; reading it ends soon', () => {
  const change = fc.tuple(fc.nat(), fc.constantFrom(0, 1, 8, 0x10, 0x7f, 0x80, 0xff));
  fc.assert(
    fc.property(fc.constantFrom(...ORIGINALS), fc.array(change, { maxLength: 12 }), (original, changes) => {
      const bytes = Buffer.from(original);
      for (const [at, value] of changes) bytes[at % bytes.length] = value;
      const before = process.cpuUsage();
      const functions = functionsOrNone(bytes);
      assert.ok(process.cpuUsage(before).user < 1_000_000, 'a second of processor time, however busy the machine is');
      return functions === 'unknown' || functions.length <= 1024;
    }),
    { numRuns: 10_000 },
  );
});

test('a section, symbol or relocation entry of random bytes never brings up a name that is not in the file', () => {
  const window = fc.tuple(fc.nat(), fc.uint8Array({ minLength: 24, maxLength: 64 }));
  fc.assert(
    fc.property(fc.constantFrom(...ORIGINALS), window, (original, [at, random]) => {
      const bytes = Buffer.from(original);
      bytes.set(random.subarray(0, bytes.length), at % Math.max(1, bytes.length - random.length));
      const functions = functionsOrNone(bytes);
      const text = bytes.toString('latin1');
      return functions === 'unknown' || functions.every(({ name }) => AT_ALL_TIMES.has(name) || text.includes(name));
    }),
    { numRuns: 5000 },
  );
});

function functionsOrNone(bytes: Buffer): readonly PatchedFunction[] | 'unknown' {
  try {
    return parseModule(bytes).functions;
  } catch (error) {
    assert.equal(codeOf(error), 'NotAModule');
    return 'unknown';
  }
}
