import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { findFiles, parseReference, placesOf } from '../../../trust/artifact.ts';
import type { TrustRefusalReason } from '../../../trust/refusal.ts';

const A = 'a1'.repeat(32);
const B = 'b2'.repeat(32);
const REFERENCE = `registry.example/livepatches/fix@sha256:${A}`;
const MAX = 1000;

const layer = (title: string, sha256: string, changes: object = {}) => ({ mediaType: 'application/octet-stream', digest: `sha256:${sha256}`, size: 9, annotations: { 'org.opencontainers.image.title': title }, ...changes });
const MANIFEST = {
  schemaVersion: 2,
  mediaType: 'application/vnd.oci.image.manifest.v1+json',
  config: { mediaType: 'application/vnd.oci.empty.v1+json', digest: `sha256:${A}`, size: 2 },
  layers: [layer('6.12.107.ko', A), layer('6.12.107.ko.sigstore.json', B), layer('6.12.108.ko', B)],
};
const [MODULE, BUNDLE] = MANIFEST.layers;

const find = (manifest: unknown, fileName = '6.12.107.ko', sha256 = A) => findFiles(Buffer.from(typeof manifest === 'string' ? manifest : JSON.stringify(manifest)), fileName, { sha256, maxBytes: MAX });

test('a module and its bundle are found by their titles', () => {
  assert.deepEqual(find(MANIFEST), { ok: true, value: { module: { sha256: A, bytes: 9 }, bundle: { sha256: B, bytes: 9 } } });
});

test('a manifest may lack its own type and say more than is read', () => {
  assert.equal(find({ ...MANIFEST, mediaType: undefined, subject: { digest: 'x' }, annotations: { a: 'b' } }).ok, true);
});

const REFUSED: Readonly<Record<string, { readonly reason: TrustRefusalReason; readonly manifest: unknown; readonly fileName?: string; readonly sha256?: string }>> = {
  'no JSON': { reason: 'ArtifactMalformed', manifest: '<html>' },
  'an index': { reason: 'ArtifactMalformed', manifest: { schemaVersion: 2, mediaType: 'application/vnd.oci.image.index.v1+json', manifests: [] } },
  'an image of docker': { reason: 'ArtifactMalformed', manifest: { ...MANIFEST, mediaType: 'application/vnd.docker.distribution.manifest.v2+json' } },
  'no layers': { reason: 'ArtifactMalformed', manifest: { ...MANIFEST, layers: [] } },
  'more layers than its bound': { reason: 'ArtifactMalformed', manifest: { ...MANIFEST, layers: Array.from({ length: 513 }, () => MODULE) } },
  'a digest that is a path': { reason: 'ArtifactMalformed', manifest: { ...MANIFEST, layers: [{ ...MODULE, digest: 'sha256:../../etc/passwd' }, BUNDLE] } },
  'a digest of another kind': { reason: 'ArtifactMalformed', manifest: { ...MANIFEST, layers: [{ ...MODULE, digest: `sha512:${A}${A}` }, BUNDLE] } },
  'a size below nothing': { reason: 'ArtifactMalformed', manifest: { ...MANIFEST, layers: [{ ...MODULE, size: -1 }, BUNDLE] } },
  'a size that is no whole number': { reason: 'ArtifactMalformed', manifest: { ...MANIFEST, layers: [{ ...MODULE, size: 1e300 }, BUNDLE] } },
  'a module beyond all bounds': { reason: 'ArtifactMalformed', manifest: { ...MANIFEST, layers: [{ ...MODULE, size: MAX + 1 }, BUNDLE] } },
  'a bundle beyond all bounds': { reason: 'ArtifactMalformed', manifest: { ...MANIFEST, layers: [MODULE, { ...BUNDLE, size: 512 * 1024 + 1 }] } },
  'the same title twice': { reason: 'ArtifactMalformed', manifest: { ...MANIFEST, layers: [MODULE, BUNDLE, MODULE] } },
  'no such file': { reason: 'ArtifactWithoutFile', manifest: MANIFEST, fileName: '6.12.109.ko' },
  'a file that climbs up to the name': { reason: 'ArtifactWithoutFile', manifest: { ...MANIFEST, layers: [{ ...MODULE, annotations: { 'org.opencontainers.image.title': '../6.12.107.ko' } }, BUNDLE] } },
  'a module without its bundle': { reason: 'ArtifactWithoutFile', manifest: MANIFEST, fileName: '6.12.108.ko' },
  'another module of that name': { reason: 'ClaimsOfOtherFile', manifest: MANIFEST, sha256: B },
};

for (const [what, { reason, manifest, fileName, sha256 }] of Object.entries(REFUSED)) {
  test(`an artifact with ${what} is refused as ${reason}`, () => {
    const judged = find(manifest, fileName, sha256);
    assert.equal(judged.ok ? undefined : judged.refusal.reason, reason);
  });
}

test('whatever a registry answers, it is judged, never more', () => {
  const anywhere = fc.tuple(fc.constantFrom('schemaVersion', 'mediaType', 'layers'), fc.jsonValue()).map(([key, value]) => ({ ...MANIFEST, [key]: value }));
  const inLayer = fc.tuple(fc.constantFrom('digest', 'size', 'annotations'), fc.jsonValue()).map(([key, value]) => ({ ...MANIFEST, layers: [{ ...MODULE, [key]: value }, BUNDLE] }));
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.json(), anywhere, inLayer), (manifest) => {
      const judged = find(manifest);
      if (judged.ok) assert.equal(judged.value.module.sha256, A);
    }),
    { numRuns: 1000, seed: 6 },
  );
});

test('a reference names its registry and a digest', () => {
  assert.deepEqual(parseReference(REFERENCE), { registry: 'registry.example', repository: 'livepatches/fix', sha256: A });
  assert.equal(parseReference(`localhost:5000/fix@sha256:${A}`)?.registry, 'localhost:5000');
  assert.equal(parseReference(`registry:5000/a/b__c/d-e.f@sha256:${A}`)?.repository, 'a/b__c/d-e.f');
});

const NO_REFERENCES = [
  '', 'fix', `fix@sha256:${A}`, `library/fix@sha256:${A}`, 'registry.example/fix:1', `registry.example/fix:1@sha256:${A}`, `registry.example/fix@sha512:${A}`, `registry.example/fix@sha256:${A}0`,
  `registry.example/Fix@sha256:${A}`, `registry.example/../fix@sha256:${A}`, `registry.example//fix@sha256:${A}`, `registry.example/fix/@sha256:${A}`, `https://registry.example/fix@sha256:${A}`,
  `-o.example/fix@sha256:${A}`, `registry.example/fix@sha256:${A}\n`, `--registry-config=x/fix@sha256:${A}`, `user@registry.example/fix@sha256:${A}`, ` registry.example/fix@sha256:${A}`, `registry.example/${'a'.repeat(600)}@sha256:${A}`,
];

for (const text of NO_REFERENCES) {
  test(`${JSON.stringify(text.slice(0, 60))} is no reference`, () => assert.equal(parseReference(text), undefined));
}

test('mirrors are asked first, the closest match before others, and the registry itself last', () => {
  const reference = parseReference(REFERENCE);
  assert.ok(reference);
  const mirrors = [
    { source: 'registry.example', mirror: 'mirror.lan:5000/all' },
    { source: 'registry.example/livepatches', mirror: 'mirror.lan:5000/livepatches' },
    { source: 'registry.example/live', mirror: 'never.lan' },
    { source: 'other.example', mirror: 'never.lan' },
  ];
  assert.deepEqual(placesOf(reference, mirrors), ['mirror.lan:5000/livepatches/fix', 'mirror.lan:5000/all/livepatches/fix', 'registry.example/livepatches/fix']);
  assert.deepEqual(placesOf(reference, []), ['registry.example/livepatches/fix']);
});
