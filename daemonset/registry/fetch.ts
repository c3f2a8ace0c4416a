/** Fetches a live patch and its bundle from the first registry that has them. The signature is verified before the module is asked for. */
import { MAX_MODULE_BYTES } from '../../kernel/livepatch.ts';
import { MAX_MANIFEST_BYTES, findFiles, placesOf } from '../../trust/artifact.ts';
import type { Blob, Mirror, Reference } from '../../trust/artifact.ts';
import type { KeyRing } from '../../trust/keys.ts';
import type { TrustRefusal } from '../../trust/refusal.ts';
import { sha256Of, verifyFile } from '../../trust/verify.ts';
import { describeAnswer } from './answer.ts';
import type { FetchRefusal } from './answer.ts';
import type { Registry } from './host.ts';

export interface FetchOrder {
  readonly reference: Reference;
  /** The module's title in the artifact. */
  readonly path: string;
  /** Of the module. */
  readonly sha256: string;
}

export interface FetchContext {
  readonly registry: Registry;
  readonly mirrors: readonly Mirror[];
  /** undefined: nobody has to have signed it. */
  readonly ring: KeyRing | undefined;
}

export type Fetched = { readonly ok: true; readonly module: Buffer; readonly bundle: Buffer } | { readonly ok: false; readonly refusal: FetchRefusal | TrustRefusal };

type Got = { readonly ok: true; readonly bytes: Buffer } | { readonly ok: false; readonly refusal: FetchRefusal };

/** Each byte returned has the digest that led to it, from the reference on, and a key of the ring has signed the module's. */
export async function fetchLivePatch(context: FetchContext, { reference, path, sha256 }: FetchOrder): Promise<Fetched> {
  const places = placesOf(reference, context.mirrors);
  const get = (kind: 'manifest' | 'blob', blob: Blob) => getFromFirst(context.registry, places, { kind, ...blob });
  const manifest = await get('manifest', { sha256: reference.sha256, bytes: MAX_MANIFEST_BYTES });
  if (!manifest.ok) return manifest;
  const files = findFiles(manifest.bytes, path, { sha256, maxBytes: MAX_MODULE_BYTES });
  if (!files.ok) return files;
  const bundle = await get('blob', files.value.bundle);
  if (!bundle.ok) return bundle;
  const vouched = context.ring && verifyFile({ name: path, sha256, bundle: bundle.bytes }, context.ring);
  if (vouched?.ok === false) return vouched;
  const module = await get('blob', files.value.module);
  return module.ok ? { ok: true, module: module.bytes, bundle: bundle.bytes } : module;
}

/** Of what the places answered instead, the last says most: it is the registry that the KernelPatch names. */
async function getFromFirst(registry: Registry, [place = '', ...others]: readonly string[], blob: Blob & { readonly kind: 'manifest' | 'blob' }): Promise<Got> {
  const { kind, sha256, bytes: limitBytes } = blob;
  const answer = await registry.fetch({ place, kind, sha256, limitBytes });
  const found = answer.kind === 'Bytes' ? sha256Of(answer.bytes) : undefined;
  if (answer.kind === 'Bytes' && found === sha256) return { ok: true, bytes: answer.bytes };
  const refusal = describeAnswer(answer, { place, sha256, limitBytes, found });
  if (others.length === 0) return { ok: false, refusal };
  const other = await getFromFirst(registry, others, blob);
  return other.ok ? other : { ok: false, refusal: { ...other.refusal, message: `${other.refusal.message}. Its mirror: ${refusal.message}` } };
}
