/** The artifact of a live patch as an OCI image layout: a directory that every registry tool can push, copy and archive. Pure. The same files give the same bytes. */
import { ARTIFACT_TYPE, MANIFEST_MEDIA_TYPE, MODULE_MEDIA_TYPE, TITLE } from '../trust/artifact.ts';
import { BUNDLE_MEDIA_TYPE } from '../trust/envelope.ts';
import { bundleNameOf, sha256Of } from '../trust/verify.ts';

export interface Layout {
  /** Of the manifest. */
  readonly sha256: string;
  /** By their paths in the directory. */
  readonly files: ReadonlyMap<string, Buffer>;
}

/** What OCI has for an artifact without a configuration. */
const EMPTY = Buffer.from('{}');
const EMPTY_MEDIA_TYPE = 'application/vnd.oci.empty.v1+json';

export function makeLayout(fileName: string, module: Buffer, bundle: Buffer): Layout {
  const layers = [
    { ...describe(MODULE_MEDIA_TYPE, module), annotations: { [TITLE]: fileName } },
    { ...describe(BUNDLE_MEDIA_TYPE, bundle), annotations: { [TITLE]: bundleNameOf(fileName) } },
  ];
  const manifest = bytesOf({ schemaVersion: 2, mediaType: MANIFEST_MEDIA_TYPE, artifactType: ARTIFACT_TYPE, config: describe(EMPTY_MEDIA_TYPE, EMPTY), layers });
  const index = bytesOf({ schemaVersion: 2, mediaType: 'application/vnd.oci.image.index.v1+json', manifests: [{ ...describe(MANIFEST_MEDIA_TYPE, manifest), artifactType: ARTIFACT_TYPE }] });
  const blobs = [module, bundle, EMPTY, manifest].map((bytes): [string, Buffer] => [`blobs/sha256/${sha256Of(bytes)}`, bytes]);
  return { sha256: sha256Of(manifest), files: new Map([...blobs, ['index.json', index], ['oci-layout', bytesOf({ imageLayoutVersion: '1.0.0' })]]) };
}

function describe(mediaType: string, bytes: Buffer) {
  return { mediaType, digest: `sha256:${sha256Of(bytes)}`, size: bytes.length };
}

function bytesOf(json: object): Buffer {
  return Buffer.from(JSON.stringify(json));
}
