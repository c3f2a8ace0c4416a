import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { IMAGE_HEADER_BYTES, judgeImage } from '../../../../kernel/boot/image.ts';
import { aBzImage } from '../../../simulated/boot.ts';

const WHOLE = aBzImage();

const changed = (at: number, ...values: number[]): Buffer => {
  const bytes = aBzImage();
  bytes.set(values, at);
  return bytes;
};

const judge = (bytes: Buffer) => judgeImage(bytes.subarray(0, IMAGE_HEADER_BYTES), bytes.length);

const UNKNOWN: Readonly<Record<string, Buffer>> = {
  'a compressed arm64 image': Buffer.concat([Buffer.from('1f8b0800', 'hex'), Buffer.alloc(1000)]),
  'an ELF image, as of ppc64le': Buffer.concat([Buffer.from('\x7fELF'), Buffer.alloc(1000)]),
  'a file shorter than the header': WHOLE.subarray(0, 0x200),
  'a boot sector without the mark of a kernel': changed(0x202, 0x20),
  'a header without the boot flag': changed(0x1fe, 0),
  'a protocol whose length has two bytes': changed(0x206, 0x03, 0x02),
};

for (const [what, bytes] of Object.entries(UNKNOWN)) {
  test(`of ${what} it is unknown whether it is whole`, () => {
    assert.equal(judge(bytes).kind, 'Unknown');
  });
}

test('an image is whole with every byte its header asks for, and with a signature behind them', () => {
  assert.equal(judge(WHOLE).kind, 'Whole');
  assert.equal(judge(Buffer.concat([WHOLE, Buffer.alloc(1472)])).kind, 'Whole');
});

test('an image that lacks its last byte is truncated, and so is an empty file', () => {
  assert.deepEqual(judge(WHOLE.subarray(0, -1)), { kind: 'Truncated', neededBytes: WHOLE.length });
  assert.deepEqual(judge(Buffer.alloc(0)), { kind: 'Truncated', neededBytes: 1 });
});

test('no setup sectors mean four', () => {
  assert.deepEqual(judgeImage(changed(0x1f1, 0), 1), { kind: 'Truncated', neededBytes: 5 * 512 + 64 * 16 });
});

test('the length of a stock kernel follows from its header', () => {
  const header = aBzImage();
  header.writeUInt8(39, 0x1f1);
  header.writeUInt32LE(732_192, 0x1f4);
  assert.deepEqual([judgeImage(header, 11_737_024).kind, judgeImage(header, 11_735_552).kind, judgeImage(header, 11_735_551).kind], ['Whole', 'Whole', 'Truncated']);
});

test('whatever the bytes are, they are judged', () => {
  const start = fc.oneof(fc.uint8Array({ maxLength: 600 }), fc.array(fc.tuple(fc.nat(WHOLE.length - 1), fc.nat(255)), { maxLength: 8 }).map((changes) => {
    const bytes = aBzImage();
    for (const [at, value] of changes) bytes[at] = value;
    return bytes;
  }));
  fc.assert(fc.property(start, fc.nat(), (bytes, length) => ['Whole', 'Truncated', 'Unknown'].includes(judgeImage(Buffer.from(bytes), length).kind)), { numRuns: 10_000 });
});
