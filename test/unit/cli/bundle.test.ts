import assert from 'node:assert/strict';
import { createHash, generateKeyPairSync } from 'node:crypto';
import { test } from 'node:test';
import { makeClaims } from '../../../cli/claims.ts';
import type { Said } from '../../../cli/claims.ts';
import { CliError } from '../../../cli/errors.ts';
import { makeLayout } from '../../../cli/layout.ts';
import { readOptions } from '../../../cli/options.ts';
import { checkBundle, signBundle } from '../../../cli/sign.ts';
import { findFiles } from '../../../trust/artifact.ts';
import { RELEASE, aModule } from '../../simulated/module.ts';
import { PATCHED, aSigner, signFile, someClaims } from '../../simulated/signed.ts';

const MODULE = aModule({ patches: [PATCHED] });
const SAID: Said = { cves: ['CVE-2026-31431'], irreversible: false };
const SUBJECT = { fileName: 'fix.ko', module: MODULE };

const complaint = (act: () => unknown): string => {
  try {
    act();
  } catch (error) {
    if (error instanceof CliError) return error.message;
    throw error;
  }
  return 'none';
};

test('what the file shows becomes the claims, and what it does not show is said', () => {
  assert.deepEqual(makeClaims(MODULE, SAID), someClaims());
  assert.deepEqual(makeClaims(MODULE, { cves: ['CVE-2026-40000', 'CVE-2026-31431'], irreversible: true, kernelBuildID: '1a'.repeat(20) }), someClaims({ cves: ['CVE-2026-31431', 'CVE-2026-40000'], reversible: false, kernel: { release: RELEASE, buildID: '1a'.repeat(20) } }));
  assert.deepEqual(makeClaims(aModule(), { ...SAID, functions: ['vmlinux:b', 'vmlinux:a'], replace: false }), someClaims({ functions: ['vmlinux:a', 'vmlinux:b'], replace: false }));
});

const COMPLAINTS: Readonly<Record<string, { readonly module?: Buffer; readonly said?: Partial<Said>; readonly says: RegExp }>> = {
  'no module': { module: Buffer.from('#!/bin/sh'), says: /not a kernel module/ },
  'a module that is no live patch': { module: aModule({ livePatch: false }), says: /MODULE_INFO/ },
  'a module without a build id': { module: aModule({ buildID: null }), says: /--build-id=sha1/ },
  'no CVE': { said: { cves: [] }, says: /--cve/ },
  'a CVE that is none': { said: { cves: ['31431'] }, says: /cves/ },
  'a CVE twice': { said: { cves: ['CVE-2026-31431', 'CVE-2026-31431'] }, says: /cves.*twice/ },
  'a build id that is none': { said: { kernelBuildID: 'latest' }, says: /kernel\.buildID/ },
  'functions that the file shows itself': { said: { functions: ['vmlinux:a'] }, says: /leave out --function/ },
  'functions that nobody names': { module: aModule(), says: /--function OBJECT:NAME/ },
  'replace that nobody says': { module: aModule(), said: { functions: ['vmlinux:a'] }, says: /--no-replace/ },
  'replace against the file': { said: { replace: false }, says: /leave out --no-replace/ },
};

for (const [what, { module = MODULE, said, says }] of Object.entries(COMPLAINTS)) {
  test(`${what}: the command says what to do`, () => assert.match(complaint(() => makeClaims(module, { ...SAID, ...said })), says));
}

for (const [kind, { privateKey }] of Object.entries({ p256: generateKeyPairSync('ec', { namedCurve: 'prime256v1' }), ed25519: generateKeyPairSync('ed25519'), rsa: generateKeyPairSync('rsa', { modulusLength: 2048 }) })) {
  test(`a bundle signed with ${kind} is one that a node would take`, () => {
    const bundle = signBundle(SUBJECT, someClaims(), privateKey);
    assert.ok(bundle.length > 500);
  });
}

test('a key that no node would take is refused when it signs', () => {
  assert.match(complaint(() => signBundle(SUBJECT, someClaims(), generateKeyPairSync('rsa', { modulusLength: 1024 }).privateKey)), /2048 bits/);
});

test('a bundle from elsewhere is verified with its key and against the file before anything is written', () => {
  const signer = aSigner();
  const key = { name: 'cosign.pub', text: signer.publicPEM };
  assert.deepEqual(checkBundle(SUBJECT, signFile(signer, MODULE), key), someClaims());
  assert.match(complaint(() => checkBundle(SUBJECT, signFile(aSigner(), MODULE), key)), /SignatureUntrusted/);
  assert.match(complaint(() => checkBundle(SUBJECT, signFile(signer, aModule()), key)), /ClaimsOfOtherFile/);
  assert.match(complaint(() => checkBundle(SUBJECT, signFile(signer, MODULE, someClaims({ functions: ['vmlinux:another'] })), key)), /ClaimedFunctionsMismatch/);
});

test('the artifact is a layout whose blobs have their digests, and the agent finds its files there', () => {
  const bundle = Buffer.from('{}\n');
  const { sha256, files } = makeLayout('fix.ko', MODULE, bundle);
  for (const [path, bytes] of files) if (path.startsWith('blobs/')) assert.equal(path, `blobs/sha256/${createHash('sha256').update(bytes).digest('hex')}`);
  const found = findFiles(files.get(`blobs/sha256/${sha256}`) ?? Buffer.alloc(0), 'fix.ko', { sha256: createHash('sha256').update(MODULE).digest('hex'), maxBytes: MODULE.length });
  assert.ok(found.ok && files.get(`blobs/sha256/${found.value.module.sha256}`)?.equals(MODULE) && files.get(`blobs/sha256/${found.value.bundle.sha256}`)?.equals(bundle));
  assert.deepEqual(makeLayout('fix.ko', MODULE, bundle).sha256, sha256);
});

test('the command line is read, and what can not be is explained', () => {
  assert.deepEqual(readOptions(['bundle', 'dir/fix.ko', '--cve', 'A', '--cve', 'B', '--no-replace', '--key', 'k.pem', '--push', 'r.example/fix']), {
    file: 'dir/fix.ko', cves: ['A', 'B'], irreversible: false, kernelBuildID: undefined, functions: undefined, replace: false, signing: { kind: 'Key', key: 'k.pem' }, output: '.', push: 'r.example/fix', registryConfig: undefined,
  });
  assert.deepEqual(readOptions(['bundle', 'fix.ko', '--signed', 'b', '--public-key', 'p']).signing, { kind: 'Signed', bundle: 'b', publicKey: 'p' });
  const wrong: Readonly<Record<string, RegExp>> = {
    '': /give a command/,
    load: /no command load/,
    bundle: /one module file/,
    'bundle a.ko b.ko': /one module file/,
    'bundle a.ko.xz': /uncompressed/,
    'bundle a.ko --what': /what/,
    'bundle a.ko --key k --signed b': /not both/,
    'bundle a.ko --signed b': /together/,
    'bundle a.ko --push r.example/fix': /not signed is not pushed/,
  };
  for (const [line, says] of Object.entries(wrong)) assert.match(complaint(() => readOptions(line.split(' ').filter((word) => word !== ''))), says);
});
