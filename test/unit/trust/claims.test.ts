import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { CLAIMS_TYPE, MAX_STATEMENT_BYTES, readStatement, writeStatement } from '../../../trust/claims.ts';
import type { TrustRefusalReason } from '../../../trust/refusal.ts';
import { someClaims } from '../../simulated/signed.ts';

const SHA256 = 'a1'.repeat(32);

const STATEMENT = { _type: 'https://in-toto.io/Statement/v1', subject: [{ name: 'fix.ko', digest: { sha256: SHA256 } }], predicateType: CLAIMS_TYPE, predicate: someClaims() };

const reasonOf = (payload: Buffer): TrustRefusalReason | undefined => {
  const judged = readStatement(payload);
  return judged.ok ? undefined : judged.refusal.reason;
};
const bytesOf = (statement: unknown): Buffer => Buffer.from(JSON.stringify(statement));
const claiming = (changes: object): Buffer => bytesOf({ ...STATEMENT, predicate: { ...someClaims(), ...changes } });

test('claims are read as they were written, also as cosign writes them', () => {
  const claims = someClaims({ kernel: { release: '6.1.0-9-amd64', buildID: '1a'.repeat(20) }, functions: ['vmlinux:show_it,2', 'ext4:do_it.isra.0'] });
  assert.deepEqual(readStatement(writeStatement({ sha256: SHA256, claims }, 'fix.ko')), { ok: true, value: { sha256: SHA256, claims } });
  assert.equal(reasonOf(bytesOf({ ...STATEMENT, _type: 'https://in-toto.io/Statement/v0.1' })), undefined);
});

const MALFORMED: Readonly<Record<string, Buffer>> = {
  'no JSON': Buffer.from('{"_type":'),
  'no UTF-8': Buffer.concat([Buffer.from('{"_type":"'), Buffer.from([0xff, 0xfe]), Buffer.from('"}')]),
  'a byte order mark': Buffer.concat([Buffer.from('\uFEFF'), bytesOf(STATEMENT)]),
  'something behind its end': Buffer.concat([bytesOf(STATEMENT), Buffer.from('{}')]),
  'more bytes than its bound': Buffer.alloc(MAX_STATEMENT_BYTES + 1, ' '),
  'no subject': bytesOf({ ...STATEMENT, subject: [] }),
  'two subjects': bytesOf({ ...STATEMENT, subject: [...STATEMENT.subject, ...STATEMENT.subject] }),
  'a digest of another kind': bytesOf({ ...STATEMENT, subject: [{ digest: { sha512: 'a1'.repeat(64) } }] }),
  'a digest of another kind beside it': bytesOf({ ...STATEMENT, subject: [{ digest: { sha256: SHA256, sha1: 'a1'.repeat(20) } }] }),
  'an upper-case digest': bytesOf({ ...STATEMENT, subject: [{ digest: { sha256: SHA256.toUpperCase() } }] }),
  'another version of a statement': bytesOf({ ...STATEMENT, _type: 'https://in-toto.io/Statement/v2' }),
  'a field of the statement that is not known': bytesOf({ ...STATEMENT, expires: '2026-01-01' }),
  'a claim that is not known': claiming({ onlyOn: 'node-1' }),
  'a claim of the kernel that is not known': claiming({ kernel: { release: '6.1.0-9-amd64', arch: 'arm64' } }),
  'no predicate': bytesOf({ ...STATEMENT, predicate: undefined }),
  'no name': claiming({ name: undefined }),
  'a file as its name': claiming({ name: '../fix' }),
  'no kernel': claiming({ kernel: undefined }),
  'a pattern as its kernel': claiming({ kernel: { release: '6.12.*' } }),
  'no build id': claiming({ buildID: undefined }),
  'an empty build id': claiming({ buildID: '' }),
  'no functions': claiming({ functions: [] }),
  'more functions than its bound': claiming({ functions: Array.from({ length: 1025 }, (_, index) => `vmlinux:f${index}`) }),
  'a function twice': claiming({ functions: ['vmlinux:f', 'vmlinux:f'] }),
  'a function without its object': claiming({ functions: ['f'] }),
  'a function at position 1, which is not written': claiming({ functions: ['vmlinux:f,1'] }),
  'no CVEs': claiming({ cves: [] }),
  'a CVE in lower case': claiming({ cves: ['cve-2026-31431'] }),
  'a CVE twice': claiming({ cves: ['CVE-2026-31431', 'CVE-2026-31431'] }),
  'a word for replace': claiming({ replace: 'true' }),
  'nothing about reversible': claiming({ reversible: undefined }),
};

for (const [what, payload] of Object.entries(MALFORMED)) {
  test(`signed claims with ${what} are malformed`, () => assert.equal(reasonOf(payload), 'ClaimsMalformed'));
}

const UNKNOWN: Readonly<Record<string, unknown>> = {
  'a statement of another type': { ...STATEMENT, predicateType: 'https://slsa.dev/provenance/v1' },
  'a statement of a later type of ours': { ...STATEMENT, predicateType: `${CLAIMS_TYPE}.1` },
  'the claims alone': someClaims(),
  'a number': 7,
  null: null,
};

for (const [what, json] of Object.entries(UNKNOWN)) {
  test(`${what}, signed, are no claims about a live patch`, () => assert.equal(reasonOf(bytesOf(json)), 'ClaimsUnknown'));
}

test('a message names the field and repeats nothing that stands there', () => {
  const judged = readStatement(claiming({ name: '\u001B[31mblue' }));
  assert.ok(!judged.ok && judged.refusal.message.includes('predicate.name') && !judged.refusal.message.includes('blue'));
});

test('a type is shown without its control characters', () => {
  const judged = readStatement(bytesOf({ ...STATEMENT, predicateType: '\u001B[31mblue' }));
  assert.ok(!judged.ok && !judged.refusal.message.includes('\u001B'));
});

test('whatever was signed, it is read or refused, never more', () => {
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)), fc.json().map((text) => Buffer.from(text)), someStatement()), (payload) => {
      const judged = readStatement(payload);
      assert.ok(judged.ok || ['ClaimsMalformed', 'ClaimsUnknown'].includes(judged.refusal.reason));
      if (judged.ok) assert.deepEqual(readStatement(writeStatement(judged.value, 'x')), judged);
    }),
    { numRuns: 1000, seed: 6 },
  );
});

/** Statements with any value in any one place. */
function someStatement(): fc.Arbitrary<Buffer> {
  const places = ['_type', 'subject', 'predicateType', 'predicate', ...Object.keys(STATEMENT.predicate).map((key) => `predicate.${key}`)];
  return fc.tuple(fc.constantFrom(...places), fc.jsonValue()).map(([place, value]) => {
    const [field = '', claim] = place.split('.');
    return bytesOf(claim === undefined ? { ...STATEMENT, [field]: value } : { ...STATEMENT, predicate: { ...STATEMENT.predicate, [claim]: value } });
  });
}
