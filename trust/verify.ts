/** Whether a key that an admin has installed speaks for a file. Pure, without a clock and without the network. */
import { createHash } from 'node:crypto';
import type { Claims } from './claims.ts';
import { readStatement } from './claims.ts';
import { readBundle, signedBytes } from './envelope.ts';
import type { KeyRing, TrustedKey } from './keys.ts';
import { distrusted, trusted } from './refusal.ts';
import type { Judged } from './refusal.ts';

/** What stands beside NAME.ko, on a node and in an artifact. */
export function bundleNameOf(fileName: string): string {
  return `${fileName}.sigstore.json`;
}

export interface Vouched {
  readonly claims: Claims;
  /** Whose word it is. */
  readonly key: TrustedKey;
}

export interface SignedFile {
  /** Names the file in messages. */
  readonly name: string;
  /** Of its content, as it was computed from the bytes that will be used, or as it will be compared with them. */
  readonly sha256: string;
  /** The Sigstore bundle; undefined: there is none. */
  readonly bundle: Buffer | undefined;
}

/**
 * The claims of a file, once its signature is by an installed key. Nothing of what was signed is parsed before that, and the file itself is not
 * looked at: only its digest.
 */
export function verifyFile({ name, sha256, bundle }: SignedFile, ring: KeyRing): Judged<Vouched> {
  if (ring.keys.length === 0) return distrusted('NoTrustedKey', `no key is installed to verify ${name} with: put public keys into verification.keys of the chart${describeUnusable(ring)}`);
  const where = bundleNameOf(name);
  if (bundle === undefined) return distrusted('SignatureMissing', `${name} is not signed: ${where} is missing. Make it with kernelpatch bundle or cosign attest-blob`);
  const envelope = readBundle(bundle, where);
  if (!envelope.ok) return envelope;
  const { payload, signature } = envelope.value;
  const data = signedBytes(payload);
  const key = ring.keys.find((each) => each.verify(data, signature));
  if (key === undefined) {
    const tried = ring.keys.map((each) => `${each.name} (${each.fingerprint})`).join(', ');
    return distrusted('SignatureUntrusted', `${where} is not signed by an installed key (${tried}), or was changed afterwards: sign it with one of these, or install the signer's key${describeUnusable(ring)}`);
  }
  const stated = readStatement(payload);
  if (!stated.ok) return stated;
  if (stated.value.sha256 !== sha256) {
    return distrusted('ClaimsOfOtherFile', `${where} is about another file, with sha256 ${stated.value.sha256}; ${name} has ${sha256}: put the bundle of this file there`);
  }
  return trusted({ claims: stated.value.claims, key });
}

export function sha256Of(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}

function describeUnusable({ unusable }: KeyRing): string {
  return unusable.length === 0 ? '' : `. Not usable: ${unusable.join('; ')}`;
}
