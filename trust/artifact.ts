/**
 * A live patch in a registry: an OCI artifact, named by its digest, with the module and its bundle as layers whose titles are their file names, as
 * `oras push` makes it too. The signature is in the artifact and not beside it (no referrers), so it gets through every mirror and copy. Pure.
 */
import * as z from 'zod/mini';
import { IMAGE_PATTERN } from '../crds/common.ts';
import { describeIssues, parseJSON } from './claims.ts';
import { MAX_BUNDLE_BYTES } from './envelope.ts';
import { distrusted, trusted } from './refusal.ts';
import type { Judged } from './refusal.ts';
import { bundleNameOf } from './verify.ts';

export const ARTIFACT_TYPE = 'application/vnd.kernelpatch.livepatch.v1';
export const MODULE_MEDIA_TYPE = 'application/vnd.kernelpatch.livepatch.module';
export const MANIFEST_MEDIA_TYPE = 'application/vnd.oci.image.manifest.v1+json';
export const TITLE = 'org.opencontainers.image.title';
/** One for each file of some hundred kernels. */
const MAX_LAYERS = 512;
export const MAX_MANIFEST_BYTES = 512 * 1024;

const MAX_REFERENCE = 512;

export interface Reference {
  readonly registry: string;
  readonly repository: string;
  /** Of the manifest. */
  readonly sha256: string;
}

/** undefined: it is none. */
export function parseReference(text: string): Reference | undefined {
  if (text.length > MAX_REFERENCE || !IMAGE_PATTERN.test(text)) return undefined;
  const slash = text.indexOf('/');
  const at = text.indexOf('@');
  return { registry: text.slice(0, slash), repository: text.slice(slash + 1, at), sha256: text.slice(at + '@sha256:'.length) };
}

/** What begins with `source` is asked for at `mirror` first: another registry, or a path in one. */
export interface Mirror {
  readonly source: string;
  readonly mirror: string;
}

/** REGISTRY/REPOSITORY of each place that is asked, in order; its own is the last. Wherever the bytes come from, they are compared with the digest. */
export function placesOf({ registry, repository }: Reference, mirrors: readonly Mirror[]): readonly string[] {
  const own = `${registry}/${repository}`;
  const matching = mirrors.filter(({ source }) => own === source || own.startsWith(`${source}/`)).sort((a, b) => b.source.length - a.source.length);
  return [...new Set([...matching.map(({ source, mirror }) => `${mirror}${own.slice(source.length)}`), own])];
}

const manifestSchema = () =>
  z.looseObject({
    schemaVersion: z.literal(2),
    mediaType: z.optional(z.literal(MANIFEST_MEDIA_TYPE)),
    layers: z
      .array(
        z.looseObject({
          digest: z.string().check(z.maxLength(71), z.regex(/^sha256:[0-9a-f]{64}$/)),
          size: z.int().check(z.minimum(1)),
          annotations: z.optional(z.record(z.string(), z.string())),
        }),
      )
      .check(z.minLength(1), z.maxLength(MAX_LAYERS)),
  });
type Manifest = z.infer<ReturnType<typeof manifestSchema>>;

export interface Blob {
  readonly sha256: string;
  readonly bytes: number;
}

export interface ArtifactFiles {
  readonly module: Blob;
  readonly bundle: Blob;
}

/** Where the module `fileName` and its bundle are. The titles are compared with that name, never used as one. */
export function findFiles(manifest: Buffer, fileName: string, wanted: { readonly sha256: string; readonly maxBytes: number }): Judged<ArtifactFiles> {
  const json = parseJSON(manifest);
  const parsed = z.safeParse(manifestSchema(), json);
  if (!parsed.success) {
    const why = json === undefined ? 'its manifest is no JSON' : describeIssues(parsed.error.issues);
    return distrusted('ArtifactMalformed', `the artifact is none with a live patch: ${why}. Take the digest that kernelpatch bundle prints, which is of a manifest and not of an index`);
  }
  const module = findLayer(parsed.data, fileName);
  if (!module.ok) return module;
  const bundle = findLayer(parsed.data, bundleNameOf(fileName));
  if (!bundle.ok) return bundle;
  if (module.value.sha256 !== wanted.sha256) {
    return distrusted('ClaimsOfOtherFile', `${fileName} of the artifact has sha256 ${module.value.sha256}, the KernelPatch asks for ${wanted.sha256}: correct sha256, or the artifact's digest`);
  }
  const large = [
    { ...module.value, name: fileName, most: wanted.maxBytes },
    { ...bundle.value, name: bundleNameOf(fileName), most: MAX_BUNDLE_BYTES },
  ].find(({ bytes, most }) => bytes > most);
  if (large !== undefined) return distrusted('ArtifactMalformed', `${large.name} of the artifact has ${large.bytes} bytes, more than ${large.most}`);
  return trusted({ module: module.value, bundle: bundle.value });
}

function findLayer({ layers }: Manifest, title: string): Judged<Blob> {
  const [layer, second] = layers.filter(({ annotations }) => annotations?.[TITLE] === title);
  if (layer === undefined) return distrusted('ArtifactWithoutFile', `the artifact has no file ${title}: correct source.path, or make the artifact with kernelpatch bundle`);
  if (second !== undefined) return distrusted('ArtifactMalformed', `the artifact has ${title} more than once`);
  return trusted({ sha256: layer.digest.slice('sha256:'.length), bytes: layer.size });
}
