import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fetchLivePatch } from '../../../../daemonset/registry/fetch.ts';
import type { RegistryAnswer } from '../../../../daemonset/registry/host.ts';
import type { Mirror } from '../../../../trust/artifact.ts';
import { sha256Of } from '../../../../trust/verify.ts';
import { aModule } from '../../../simulated/module.ts';
import { aLivePatchArtifact, anArtifact, simulatedRegistry } from '../../../simulated/registry.ts';
import type { Artifact } from '../../../simulated/registry.ts';
import { PATCHED, aSigner, ringOf, signFile } from '../../../simulated/signed.ts';

const SIGNER = aSigner();
const MODULE = aModule({ patches: [PATCHED] });
const BUNDLE = signFile(SIGNER, MODULE);
const PATH = '6.12.107.ko';
const OWN = 'registry.example/livepatches/fix';
const MIRROR = 'mirror.lan:5000/livepatches/fix';
const ARTIFACT = aLivePatchArtifact(PATH, MODULE, BUNDLE);

interface Given {
  readonly artifact?: Artifact;
  readonly places?: Readonly<Record<string, Artifact>>;
  readonly lies?: Readonly<Record<string, RegistryAnswer>>;
  readonly mirrors?: readonly Mirror[];
  readonly signer?: typeof SIGNER;
}

async function fetched({ artifact = ARTIFACT, places = { [OWN]: artifact }, lies = {}, mirrors = [], signer = SIGNER }: Given) {
  const registry = simulatedRegistry(places, lies);
  const reference = { registry: 'registry.example', repository: 'livepatches/fix', sha256: artifact.sha256 };
  const result = await fetchLivePatch({ registry, mirrors, ring: ringOf(signer) }, { reference, path: PATH, sha256: sha256Of(MODULE) });
  return { result, asked: registry.asked };
}

test('the manifest, the bundle and then the module are fetched, each within what the manifest says of it', async () => {
  const { result, asked } = await fetched({});
  assert.deepEqual(result, { ok: true, module: MODULE, bundle: BUNDLE });
  assert.deepEqual(asked.map(({ kind, limitBytes }) => `${kind} ${limitBytes}`), [`manifest ${512 * 1024}`, `blob ${BUNDLE.length}`, `blob ${MODULE.length}`]);
});

test('a module that no installed key has signed is never asked for', async () => {
  const { result, asked } = await fetched({ signer: aSigner() });
  assert.equal(result.ok ? undefined : result.refusal.reason, 'SignatureUntrusted');
  assert.ok(asked.every(({ sha256 }) => sha256 !== sha256Of(MODULE)));
});

const MIRRORS = [{ source: 'registry.example', mirror: 'mirror.lan:5000' }];

test('a mirror is asked first, and the registry where the mirror has nothing or something else', async () => {
  const both = { [OWN]: ARTIFACT, [MIRROR]: ARTIFACT };
  const alone = await fetched({ places: { [MIRROR]: ARTIFACT }, mirrors: MIRRORS });
  assert.ok(alone.result.ok && alone.asked.every(({ place }) => place === MIRROR));
  for (const lie of [{ kind: 'Bytes', bytes: Buffer.from('<html>') }, { kind: 'TooLarge' }, { kind: 'TimedOut' }, { kind: 'Failed', stderr: 'x509: unknown' }] as const) {
    const { result } = await fetched({ places: both, mirrors: MIRRORS, lies: { [MIRROR]: lie } });
    assert.equal(result.ok, true);
  }
});

test('where nobody has it, the registry says why and its mirrors are named', async () => {
  const { result } = await fetched({ places: {}, mirrors: MIRRORS, lies: { [MIRROR]: { kind: 'TimedOut' } } });
  assert.ok(!result.ok);
  assert.equal(result.refusal.reason, 'ArtifactMissing');
  assert.match(result.refusal.message, /registry\.example\/livepatches\/fix .*not found.*Its mirror: mirror\.lan:5000\/livepatches\/fix did not answer/);
});

const HOSTILE: Readonly<Record<string, { readonly given: Given; readonly reason: string }>> = {
  'another manifest': { given: { lies: { [ARTIFACT.sha256]: { kind: 'Bytes', bytes: Buffer.from('{}') } } }, reason: 'ArtifactDigestMismatch' },
  'another bundle': { given: { lies: { [sha256Of(BUNDLE)]: { kind: 'Bytes', bytes: signFile(SIGNER, aModule()) } } }, reason: 'ArtifactDigestMismatch' },
  'another module': { given: { lies: { [sha256Of(MODULE)]: { kind: 'Bytes', bytes: aModule() } } }, reason: 'ArtifactDigestMismatch' },
  'an endless body': { given: { lies: { [sha256Of(MODULE)]: { kind: 'TooLarge' } } }, reason: 'ArtifactTooLarge' },
  'no answer': { given: { lies: { [OWN]: { kind: 'TimedOut' } } }, reason: 'RegistryUnreachable' },
  'an artifact with the bundle of another module': { given: { artifact: aLivePatchArtifact(PATH, MODULE, signFile(SIGNER, aModule())) }, reason: 'ClaimsOfOtherFile' },
  'an artifact with another module': { given: { artifact: aLivePatchArtifact(PATH, aModule(), BUNDLE) }, reason: 'ClaimsOfOtherFile' },
  'an artifact without a signature': { given: { artifact: anArtifact({ [PATH]: MODULE }) }, reason: 'ArtifactWithoutFile' },
  'an artifact whose titles are paths': { given: { artifact: anArtifact({ [`../${PATH}`]: MODULE, [`/etc/${PATH}.sigstore.json`]: BUNDLE }) }, reason: 'ArtifactWithoutFile' },
};

for (const [what, { given, reason }] of Object.entries(HOSTILE)) {
  test(`a registry that answers with ${what} is refused as ${reason}`, async () => {
    const { result } = await fetched(given);
    assert.equal(result.ok ? undefined : result.refusal.reason, reason);
  });
}
