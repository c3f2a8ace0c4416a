/** Registries that hold artifacts in memory, and answer as they are told to. */
import type { BlobRequest, Registry, RegistryAnswer } from '../../daemonset/registry/host.ts';
import { ARTIFACT_TYPE, MANIFEST_MEDIA_TYPE, TITLE } from '../../trust/artifact.ts';
import { bundleNameOf, sha256Of } from '../../trust/verify.ts';

export interface Artifact {
  /** Of the manifest. */
  readonly sha256: string;
  readonly blobs: ReadonlyMap<string, Buffer>;
}

/** An artifact of these files, by their titles. */
export function anArtifact(files: Readonly<Record<string, Buffer>>): Artifact {
  const layers = Object.entries(files).map(([title, bytes]) => ({ mediaType: 'application/octet-stream', digest: `sha256:${sha256Of(bytes)}`, size: bytes.length, annotations: { [TITLE]: title } }));
  const config = Buffer.from('{}');
  const manifest = Buffer.from(
    JSON.stringify({ schemaVersion: 2, mediaType: MANIFEST_MEDIA_TYPE, artifactType: ARTIFACT_TYPE, config: { mediaType: 'application/vnd.oci.empty.v1+json', digest: `sha256:${sha256Of(config)}`, size: config.length }, layers }),
  );
  return { sha256: sha256Of(manifest), blobs: new Map([config, manifest, ...Object.values(files)].map((bytes) => [sha256Of(bytes), bytes])) };
}

/** A module and its bundle. */
export function aLivePatchArtifact(path: string, module: Buffer, bundle: Buffer): Artifact {
  return anArtifact({ [path]: module, [bundleNameOf(path)]: bundle });
}

export interface SimulatedRegistry extends Registry {
  readonly asked: BlobRequest[];
}

/** `lies` are answered instead of what is there, by place or by the digest asked for. */
export function simulatedRegistry(artifacts: Readonly<Record<string, Artifact>>, lies: Readonly<Record<string, RegistryAnswer>> = {}): SimulatedRegistry {
  const asked: BlobRequest[] = [];
  const fetch = (request: BlobRequest): Promise<RegistryAnswer> => {
    asked.push(request);
    const bytes = artifacts[request.place]?.blobs.get(request.sha256);
    const missing: RegistryAnswer = { kind: 'Failed', stderr: `Error response from registry: ${request.place}@sha256:${request.sha256}: not found\n` };
    return Promise.resolve(lies[request.place] ?? lies[request.sha256] ?? (bytes === undefined ? missing : answerOf(bytes, request.limitBytes)));
  };
  return { asked, fetch };
}

function answerOf(bytes: Buffer, limitBytes: number): RegistryAnswer {
  return bytes.length > limitBytes ? { kind: 'TooLarge' } : { kind: 'Bytes', bytes };
}
