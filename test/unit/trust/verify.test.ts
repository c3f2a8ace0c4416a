import assert from 'node:assert/strict';
import { sign } from 'node:crypto';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { MAX_BUNDLE_BYTES, PAYLOAD_TYPE, readBundle, signedBytes } from '../../../trust/envelope.ts';
import type { TrustRefusalReason } from '../../../trust/refusal.ts';
import { sha256Of, verifyFile } from '../../../trust/verify.ts';
import { aModule } from '../../simulated/module.ts';
import { PATCHED, aSigner, ringOf, signFile, signPayload, someClaims } from '../../simulated/signed.ts';

const FILE = aModule({ patches: [PATCHED] });
const SIGNER = aSigner();
const STRANGER = aSigner();
const RING = ringOf(STRANGER, SIGNER);
const GOOD = signFile(SIGNER, FILE);

const judge = (bundle: Buffer | undefined, file: Buffer = FILE, ring = RING) => verifyFile({ name: '/fix.ko', sha256: sha256Of(file), bundle }, ring);

test('a file is trusted by the installed key that signed it, and its claims are the signed ones', () => {
  const judged = judge(GOOD);
  assert.ok(judged.ok);
  assert.deepEqual(judged.value.claims, someClaims());
  assert.equal(judged.value.key.name, 'key-1.pub');
});

/** The bundle's JSON with the envelope changed. */
function enveloped(changes: object, base: Buffer = GOOD): Buffer {
  const bundle = JSON.parse(base.toString()) as { readonly dsseEnvelope: object };
  return Buffer.from(JSON.stringify({ ...bundle, dsseEnvelope: { ...bundle.dsseEnvelope, ...changes } }));
}

function wrapped(changes: object): Buffer {
  return Buffer.from(JSON.stringify({ ...(JSON.parse(GOOD.toString()) as object), ...changes }));
}

function payloadOf(bundle: Buffer): Buffer {
  const read = readBundle(bundle, 'it');
  assert.ok(read.ok);
  return read.value.payload;
}

const PAYLOAD = payloadOf(GOOD);
const resigned = (from: string, to: string): Buffer => enveloped({ payload: Buffer.from(PAYLOAD.toString().replace(from, to)).toString('base64') });
const anotherType = Buffer.concat([Buffer.from(`DSSEv1 10 text/plain ${PAYLOAD.length} `), PAYLOAD]);

const FORGERIES: Readonly<Record<string, { readonly reason: TrustRefusalReason; readonly bundle?: Buffer; readonly file?: Buffer }>> = {
  'no bundle': { reason: 'SignatureMissing' },
  'a signature by somebody else': { reason: 'SignatureUntrusted', bundle: signFile(aSigner(), FILE) },
  'the bundle of another file': { reason: 'ClaimsOfOtherFile', bundle: signFile(SIGNER, aModule()) },
  'one byte more in the file': { reason: 'ClaimsOfOtherFile', bundle: GOOD, file: Buffer.concat([FILE, Buffer.from([0])]) },
  'a CVE written in afterwards': { reason: 'SignatureUntrusted', bundle: resigned('CVE-2026-31431', 'CVE-2026-31432') },
  'another kernel written in afterwards': { reason: 'SignatureUntrusted', bundle: resigned('6.12.107', '6.12.108') },
  'another digest written in afterwards': { reason: 'SignatureUntrusted', bundle: resigned(sha256Of(FILE), sha256Of(aModule())) },
  'the payload with a space more': { reason: 'SignatureUntrusted', bundle: resigned('{', '{ ') },
  'the signature of the payload alone': { reason: 'SignatureUntrusted', bundle: enveloped({ signatures: [{ sig: sign('sha256', PAYLOAD, SIGNER.privateKey).toString('base64') }] }) },
  'the signature of the payload under another type': { reason: 'SignatureUntrusted', bundle: enveloped({ signatures: [{ sig: sign('sha256', anotherType, SIGNER.privateKey).toString('base64') }] }) },
  'another payload type': { reason: 'SignatureMalformed', bundle: enveloped({ payloadType: 'text/plain' }) },
  'no signature': { reason: 'SignatureMalformed', bundle: enveloped({ signatures: [] }) },
  'an empty signature': { reason: 'SignatureMalformed', bundle: enveloped({ signatures: [{ sig: '' }] }) },
  'two signatures, one of them right': { reason: 'SignatureMalformed', bundle: enveloped({ signatures: [{ sig: 'AAAA' }, ...signaturesOf(GOOD)] }) },
  'a payload that is no base64': { reason: 'SignatureMalformed', bundle: enveloped({ payload: `${PAYLOAD.toString('base64')}!` }) },
  'a payload in base64url': { reason: 'SignatureMalformed', bundle: enveloped({ payload: 'a-_b' }) },
  'an envelope with a field more': { reason: 'SignatureMalformed', bundle: enveloped({ also: true }) },
  'a bundle of another version': { reason: 'SignatureMalformed', bundle: wrapped({ mediaType: 'application/vnd.dev.sigstore.bundle.v0.4+json' }) },
  'a bundle over a message and not over claims': { reason: 'SignatureMalformed', bundle: wrapped({ dsseEnvelope: undefined, messageSignature: { signature: 'AAAA' } }) },
  'a bundle without a key': { reason: 'SignatureMalformed', bundle: wrapped({ verificationMaterial: {} }) },
  'a bundle signed keyless': { reason: 'SignatureKeyless', bundle: wrapped({ verificationMaterial: { certificate: { rawBytes: 'AAAA' } } }) },
  'no JSON': { reason: 'SignatureMalformed', bundle: Buffer.from('MEUCIQD') },
  'an empty bundle': { reason: 'SignatureMalformed', bundle: Buffer.alloc(0) },
  'more bytes than a bundle has': { reason: 'SignatureMalformed', bundle: Buffer.alloc(MAX_BUNDLE_BYTES + 1, ' ') },
  'signed bytes that are no statement': { reason: 'ClaimsMalformed', bundle: signPayload(SIGNER, Buffer.from('no JSON')) },
  'signed claims of another kind': { reason: 'ClaimsUnknown', bundle: signPayload(SIGNER, Buffer.from('{"predicateType":"https://slsa.dev/provenance/v1"}')) },
};

function signaturesOf(bundle: Buffer): readonly unknown[] {
  return (JSON.parse(bundle.toString()) as { readonly dsseEnvelope: { readonly signatures: readonly unknown[] } }).dsseEnvelope.signatures;
}

for (const [what, { reason, bundle, file }] of Object.entries(FORGERIES)) {
  test(`${what} is refused as ${reason}`, () => {
    const judged = judge(bundle, file);
    assert.equal(judged.ok ? undefined : judged.refusal.reason, reason);
  });
}

test('without a key nothing is trusted, and the message says what is wrong with what is installed', () => {
  const judged = judge(GOOD, FILE, { keys: [], unusable: ['old.pub: it is empty'] });
  assert.ok(!judged.ok && judged.refusal.reason === 'NoTrustedKey' && judged.refusal.message.includes('old.pub: it is empty'));
});

test('an unsigned entry of a transparency log, or another hint, changes nothing', () => {
  assert.equal(judge(wrapped({ verificationMaterial: { publicKey: { hint: 'another' }, tlogEntries: [{ logIndex: '7' }], timestampVerificationData: {} } })).ok, true);
});

test('no byte of the statement or its signature can be changed, by one bit', () => {
  const ring = ringOf(SIGNER);
  const { dsseEnvelope } = JSON.parse(GOOD.toString()) as { readonly dsseEnvelope: { readonly payload: string; readonly signatures: readonly { readonly sig: string }[] } };
  const signature = Buffer.from(dsseEnvelope.signatures[0]?.sig ?? '', 'base64');
  for (let at = 0; at < PAYLOAD.length; at += 1) assert.equal(judge(enveloped({ payload: flipped(PAYLOAD, at) }), FILE, ring).ok, false);
  for (let at = 0; at < signature.length; at += 1) assert.equal(judge(enveloped({ signatures: [{ sig: flipped(signature, at) }] }), FILE, ring).ok, false);
});

test('whatever stands in the bundle, it is judged, never more', () => {
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)), fc.json().map((text) => Buffer.from(text)), fc.jsonValue().map((value) => enveloped({ payload: value })), fc.jsonValue().map((value) => wrapped({ dsseEnvelope: value }))), (bundle) => {
      assert.equal(judge(bundle).ok, false);
    }),
    { numRuns: 1000, seed: 6 },
  );
});

test('what is signed has its type and both lengths in front', () => {
  assert.equal(signedBytes(Buffer.from('hi')).toString(), `DSSEv1 28 ${PAYLOAD_TYPE} 2 hi`);
});

function flipped(bytes: Buffer, at: number): string {
  const copy = Buffer.from(bytes);
  copy[at] = (copy[at] ?? 0) ^ (1 << (at % 8));
  return copy.toString('base64');
}
