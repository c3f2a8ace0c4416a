import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { parseEntries } from '../../../../kernel/boot/entries.ts';
import { MACHINE_ID, aBootEntry } from '../../../simulated/boot.ts';

/** As GRUB lists them. */
const ORDERS: readonly (readonly string[])[] = [
  ['5.14.0-570.12.1.el9_6.x86_64', '5.14.0-503.40.1.el9_5.x86_64', '5.14.0-503.9.1.el9_5.x86_64', '0-rescue'],
  ['6.12.0-100.fc41.x86_64', '6.9.12-200.fc41.x86_64'],
  ['6.12.0-1.el9', '6.12.0~rc2-1.el9', '6.12.0~rc1-1.el9'],
  ['6.12.0.1-1', '6.12.0+deb-1', '6.12.0-1'],
  ['6.12.0-10', '6.12.0-010.a', '6.12.0-9'],
];

for (const [index, order] of ORDERS.entries()) {
  test(`the newest entry is first, case ${index + 1}: ${order.join(', ')}`, () => {
    const files = order.map((release) => ({ name: `${MACHINE_ID}-${release}.conf`, text: aBootEntry(release) }));
    const expected = index === 4 ? [order[1], order[0], order[2]] : order;
    for (const given of [files, files.toReversed()]) assert.deepEqual(parseEntries(given).map(({ image }) => image.slice('/vmlinuz-'.length)), expected);
  });
}

test('entries of another machine id are not mixed with the others', () => {
  const files = ['b-6.1.0-1', 'a-6.12.0-1', 'b-6.12.0-1'].map((id) => ({ name: `${id}.conf`, text: `linux /${id}` }));
  assert.deepEqual(parseEntries(files).map(({ id }) => id), ['b-6.12.0-1', 'b-6.1.0-1', 'a-6.12.0-1']);
});

test('an entry is read as GRUB reads it: comments left out, the first of two keys, to a line without a value', () => {
  const text = '# written by hand\n  title\tOne\nlinux  /vmlinuz-1.1\nlinux /vmlinuz-1.2\n\ntitle Two\n';
  assert.deepEqual(parseEntries([{ name: 'a.conf', text }]), [{ id: 'a', title: 'One', image: '/vmlinuz-1.1' }]);
  assert.deepEqual(parseEntries([{ name: 'a.conf', text: '\nlinux /vmlinuz-1.1' }]), []);
  assert.deepEqual(parseEntries([{ name: 'a.conf', text: 'linux /vmlinuz-1.1\n' }]), [{ id: 'a', title: '/vmlinuz-1.1', image: '/vmlinuz-1.1' }]);
});

test('what is no entry is left out: hidden files, other endings, entries that start something else', () => {
  const text = 'linux /vmlinuz-1.1';
  assert.deepEqual(parseEntries([{ name: '.a.conf', text }, { name: 'a.conf.rpmsave', text }, { name: '.conf', text }, { name: 'efi.conf', text: 'title Shell\nefi /shell.efi' }]), []);
});

test('whatever the files are, each is an entry or none', () => {
  const file = fc.record({ name: fc.oneof(fc.string({ maxLength: 30 }), fc.array(fc.constantFrom('a', '1', '-', '.', '~', '+', '9'), { maxLength: 20 }).map((parts) => `${parts.join('')}.conf`)), text: fc.string({ unit: 'binary', maxLength: 100 }) });
  fc.assert(fc.property(fc.array(file, { maxLength: 8 }), (files) => parseEntries(files).length <= files.length), { numRuns: 10_000 });
});
