import assert from 'node:assert/strict';
import { generateKeyPairSync, sign } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { test } from 'node:test';
import { readKeys } from '../../../trust/keys.ts';

interface Pair {
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
}

const pemOf = (key: KeyObject): string => key.export({ type: 'spki', format: 'pem' }).toString();
const DATA = Buffer.from('what is signed');

const USABLE: Readonly<Record<string, { readonly pair: Pair; readonly digest: string | null }>> = {
  'ECDSA P-256': { pair: generateKeyPairSync('ec', { namedCurve: 'prime256v1' }), digest: 'sha256' },
  Ed25519: { pair: generateKeyPairSync('ed25519'), digest: null },
  RSA: { pair: generateKeyPairSync('rsa', { modulusLength: 2048 }), digest: 'sha256' },
};

for (const [kind, { pair, digest }] of Object.entries(USABLE)) {
  test(`a key of kind ${kind} verifies what it signed, and nothing else`, () => {
    const { keys, unusable } = readKeys([{ name: 'release.pub', text: pemOf(pair.publicKey) }]);
    assert.deepEqual(unusable, []);
    const [key] = keys;
    const signature = sign(digest, DATA, pair.privateKey);
    assert.equal(key?.verify(DATA, signature), true);
    assert.equal(key?.verify(Buffer.from('what is signee'), signature), false);
    for (const wrong of [Buffer.alloc(0), signature.subarray(1), Buffer.alloc(signature.length), Buffer.from('no signature')]) assert.equal(key?.verify(DATA, wrong), false);
  });
}

const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });

const UNUSABLE: Readonly<Record<string, string>> = {
  'an empty file': '',
  'a private key': privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
  'a private key beside a public one': `${pemOf(publicKey)}${privateKey.export({ type: 'sec1', format: 'pem' }).toString()}`,
  'words beside a key': `release key\n${pemOf(publicKey)}`,
  'a key cut short': pemOf(publicKey).replace(/.{8}\n-----END/, '\n-----END'),
  'a small RSA key': pemOf(generateKeyPairSync('rsa', { modulusLength: 1024 }).publicKey),
  'a key of a curve that is not used': pemOf(generateKeyPairSync('ec', { namedCurve: 'secp384r1' }).publicKey),
  'a key that can not sign': pemOf(generateKeyPairSync('x25519').publicKey),
  'more bytes than a key has': pemOf(publicKey) + '\n'.repeat(64 * 1024),
};

for (const [what, text] of Object.entries(UNUSABLE)) {
  test(`${what} is no key, and is named`, () => {
    const { keys, unusable } = readKeys([{ name: 'bad.pub', text }, { name: 'good.pub', text: pemOf(publicKey) }]);
    assert.deepEqual(keys.map(({ name }) => name), ['good.pub']);
    assert.match(unusable.join(), /^bad\.pub: /);
  });
}

test('a file may hold several keys, as while one follows another', () => {
  const { keys } = readKeys([{ name: 'release.pub', text: `${pemOf(publicKey)}\n${pemOf(USABLE['Ed25519']?.pair.publicKey ?? publicKey)}` }]);
  assert.deepEqual(keys.map(({ name }) => name), ['release.pub#1', 'release.pub#2']);
});

test('more keys than anybody needs are none', () => {
  const { keys, unusable } = readKeys([{ name: 'many.pub', text: pemOf(publicKey).repeat(33) }]);
  assert.deepEqual(keys, []);
  assert.match(unusable.join(), /33 keys/);
});
