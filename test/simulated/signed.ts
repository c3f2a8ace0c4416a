/** Signed live patches, and keys that are made for the test. */
import { createHash, generateKeyPairSync, sign } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import type { Claims } from '../../trust/claims.ts';
import { writeStatement } from '../../trust/claims.ts';
import { signedBytes, writeBundle } from '../../trust/envelope.ts';
import { readKeys } from '../../trust/keys.ts';
import type { KeyRing } from '../../trust/keys.ts';
import { MODULE_BUILD_ID, RELEASE } from './module.ts';

export interface Signer {
  readonly privateKey: KeyObject;
  /** As cosign.pub. */
  readonly publicPEM: string;
}

/** ECDSA P-256, as cosign generate-key-pair makes it. */
export function aSigner(): Signer {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  return { privateKey, publicPEM: publicKey.export({ type: 'spki', format: 'pem' }).toString() };
}

export function ringOf(...signers: readonly Signer[]): KeyRing {
  return readKeys(signers.map(({ publicPEM }, index) => ({ name: `key-${index}.pub`, text: publicPEM })));
}

export const PATCHED = { object: 'vmlinux', name: 'version_proc_show', position: 0 } as const;

/** Of aModule with `patches: [PATCHED]`. */
export function someClaims(changes: Partial<Claims> = {}): Claims {
  return {
    name: 'livepatch_fix',
    kernel: { release: RELEASE },
    buildID: MODULE_BUILD_ID,
    functions: ['vmlinux:version_proc_show'],
    cves: ['CVE-2026-31431'],
    replace: true,
    reversible: true,
    ...changes,
  };
}

/** The Sigstore bundle of a file. */
export function signFile(signer: Signer, file: Buffer, claims: Claims = someClaims()): Buffer {
  const sha256 = createHash('sha256').update(file).digest('hex');
  return signPayload(signer, writeStatement({ sha256, claims }, 'fix.ko'));
}

/** The Sigstore bundle of any bytes in place of a statement. */
export function signPayload({ privateKey }: Signer, payload: Buffer): Buffer {
  return writeBundle({ payload, signature: sign('sha256', signedBytes(payload), privateKey) }, 'hint');
}
