/**
 * What the real cosign (3.1.3) signed. cosign/*.sigstore.json are the output of
 *
 *   cosign attest-blob fix.ko --predicate claims.json --type https://kernelpatch.dev/claims/v1 --key cosign.key --signing-config none.json --bundle ...
 *
 * with the claims and the module of simulated/signed.ts, none.json from `cosign signing-config create`, and keys of `cosign generate-key-pair` (ECDSA P-256) and
 * `cosign import-key-pair` (RSA). The other way was seen too: `cosign verify-blob-attestation --insecure-ignore-tlog` takes what kernelpatch bundle signs with P-256, RSA
 * and Ed25519. cosign does not verify its own attestations by Ed25519, P-384 and P-521 keys, so these do not count here.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { readKeys } from '../../../trust/keys.ts';
import { verifyFile } from '../../../trust/verify.ts';
import { someClaims } from '../../simulated/signed.ts';

const DIRECTORY = join(import.meta.dirname, 'cosign');
const read = (name: string): Buffer => readFileSync(join(DIRECTORY, name));
/** Of the module that was signed. */
const SHA256 = 'fbfacdf0bf826c98651435fff5dc1bcca34c370c882d7021f98a98334a5027cf';

for (const kind of ['p256', 'rsa']) {
  test(`a bundle that cosign has signed by a key of kind ${kind} is trusted by its cosign.pub, and by no other`, () => {
    const file = { name: 'fix.ko', sha256: SHA256, bundle: read(`${kind}.sigstore.json`) };
    const ringOf = (name: string) => readKeys([{ name, text: read(name).toString() }]);
    const judged = verifyFile(file, ringOf(`${kind}.pub`));
    assert.ok(judged.ok);
    assert.deepEqual(judged.value.claims, someClaims());
    const other = verifyFile(file, ringOf(kind === 'rsa' ? 'p256.pub' : 'rsa.pub'));
    assert.ok(!other.ok && other.refusal.reason === 'SignatureUntrusted');
  });
}
