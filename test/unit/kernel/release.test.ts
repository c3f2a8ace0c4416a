import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { isNewer } from '../../../kernel/release.ts';

/** From older to newer, each of one flavour. */
const ASCENDING: Readonly<Record<string, readonly string[]>> = {
  'Debian': ['6.1.0-9-amd64', '6.1.0-18-amd64', '6.1.0-25-amd64', '6.12.0-1-amd64'],
  'Debian cloud': ['6.12.9+deb13-cloud-amd64', '6.12.107+deb13-cloud-amd64', '6.12.117+deb13-cloud-amd64', '7.0.1+deb14-cloud-amd64'],
  'Ubuntu': ['5.15.0-91-generic', '5.15.0-100-generic', '6.8.0-31-generic'],
  'RHEL': ['5.14.0-427.el9_4.x86_64', '5.14.0-427.3.1.el9_4.x86_64', '5.14.0-427.13.1.el9_4.x86_64', '5.14.0-503.el9_5.x86_64'],
  'SUSE': ['6.4.0-150600.21-default', '6.4.0-150600.23.7-default', '6.4.0-150600.23.17-default'],
  'no flavour': ['6.9', '6.9.1', '6.10', '6.100.0'],
};

for (const [whose, releases] of Object.entries(ASCENDING)) {
  test(`releases of ${whose} are in order`, () => {
    for (const [index, release] of releases.entries()) {
      for (const [other, rival] of releases.entries()) assert.equal(isNewer(release, rival), index > other, `${release} and ${rival}`);
    }
  });
}

test('of two flavours neither is newer', () => {
  for (const [a, b] of [['6.8.0-31-generic', '5.15.0-91-lowlatency'], ['6.12.117+deb13-cloud-amd64', '6.12.107+deb13-amd64'], ['6.12.1-rc3', '6.12.0'], ['unknown', '6.1.0']] as const) {
    assert.deepEqual([isNewer(a, b), isNewer(b, a)], [false, false], `${a} and ${b}`);
  }
});

const part = fc.oneof(fc.nat(300).map(String), fc.constantFrom('el', 'x', 'deb', 'amd', '007'));
const release = fc.array(fc.tuple(part, fc.constantFrom('.', '-', '+', '_')), { minLength: 1, maxLength: 6 }).map((parts) => parts.flat().join(''));

test('none is newer than itself, never two each than the other, and newer than newer is newer', () => {
  fc.assert(
    fc.property(release, release, release, (a, b, c) => {
      assert.equal(isNewer(a, a), false);
      assert.ok(!(isNewer(a, b) && isNewer(b, a)));
      if (isNewer(a, b) && isNewer(b, c)) assert.ok(isNewer(a, c));
    }),
    { numRuns: 5000 },
  );
});

test('a greater number in one place is newer, whatever follows', () => {
  fc.assert(
    fc.property(fc.array(fc.nat(10 ** 12), { minLength: 1, maxLength: 4 }), fc.integer({ min: 1, max: 10 ** 12 }), release, (head, more, tail) => {
      const last = head.at(-1) ?? 0;
      const stem = head.slice(0, -1).map((number) => `${number}.`).join('');
      assert.ok(isNewer(`${stem}${last + more}-${tail}`, `${stem}${last}-${tail}`));
    }),
  );
});
