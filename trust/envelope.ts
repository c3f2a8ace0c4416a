/**
 * A Sigstore bundle (media type v0.3) that holds a DSSE envelope, as `cosign attest-blob --bundle` writes it. Only what the signature is made of is
 * read from it. The rest (a hint at the key, entries of a transparency log) is not signed by the key and decides nothing.
 */
import * as z from 'zod/mini';
import { MAX_STATEMENT_BYTES, describeIssues, parseJSON } from './claims.ts';
import { distrusted, trusted } from './refusal.ts';
import type { Judged } from './refusal.ts';

export const BUNDLE_MEDIA_TYPE = 'application/vnd.dev.sigstore.bundle.v0.3+json';
/** The same, as tools of before 2024 wrote it. */
const OLDER_BUNDLE_MEDIA_TYPE = 'application/vnd.dev.sigstore.bundle+json;version=0.3';
export const PAYLOAD_TYPE = 'application/vnd.in-toto+json';
/** The statement in base64, and room for a log's entry beside it. */
export const MAX_BUNDLE_BYTES = 512 * 1024;
/** An RSA signature of 8192 bits has 1024. */
const MAX_SIGNATURE_BYTES = 2048;

const base64 = (bytes: number) => z.string().check(z.minLength(1), z.maxLength(Math.ceil(bytes / 3) * 4), z.regex(/^[A-Za-z0-9+/]*={0,2}$/), z.refine((text) => text.length % 4 === 0, 'is cut short'));

const bundleSchema = () =>
  z.looseObject({
    mediaType: z.enum([BUNDLE_MEDIA_TYPE, OLDER_BUNDLE_MEDIA_TYPE]),
    verificationMaterial: z.looseObject({ publicKey: z.looseObject({}) }),
    dsseEnvelope: z.strictObject({
      payload: base64(MAX_STATEMENT_BYTES),
      payloadType: z.literal(PAYLOAD_TYPE),
      signatures: z.array(z.strictObject({ sig: base64(MAX_SIGNATURE_BYTES), keyid: z.optional(z.string().check(z.maxLength(512))) })).check(z.minLength(1), z.maxLength(1)),
    }),
  });

export interface Envelope {
  readonly payload: Buffer;
  readonly signature: Buffer;
}

/** `where` names the bundle in messages. */
export function readBundle(bytes: Buffer, where: string): Judged<Envelope> {
  if (bytes.length > MAX_BUNDLE_BYTES) return distrusted('SignatureMalformed', `${where} has ${bytes.length} bytes, more than ${MAX_BUNDLE_BYTES}`);
  const json = parseJSON(bytes);
  if (isKeyless(json)) {
    return distrusted('SignatureKeyless', `${where} was signed keyless, by a certificate, and only installed keys are trusted: sign it with a key (cosign attest-blob --key, or kernelpatch bundle --key)`);
  }
  const parsed = z.safeParse(bundleSchema(), json);
  if (!parsed.success) {
    const why = json === undefined ? 'it is no JSON' : describeIssues(parsed.error.issues);
    return distrusted('SignatureMalformed', `${where} is no Sigstore bundle with a DSSE envelope: ${why}. Make it with kernelpatch bundle or cosign attest-blob`);
  }
  const { payload, signatures } = parsed.data.dsseEnvelope;
  return trusted({ payload: Buffer.from(payload, 'base64'), signature: Buffer.from(signatures[0]?.sig ?? '', 'base64') });
}

function isKeyless(json: unknown): boolean {
  const { success } = z.safeParse(z.looseObject({ verificationMaterial: z.union([z.looseObject({ certificate: z.looseObject({}) }), z.looseObject({ x509CertificateChain: z.looseObject({}) })]) }), json);
  return success;
}

/** What is signed: the payload with its type and both lengths (DSSE's pre-authentication encoding). */
export function signedBytes(payload: Buffer): Buffer {
  return Buffer.concat([Buffer.from(`DSSEv1 ${PAYLOAD_TYPE.length} ${PAYLOAD_TYPE} ${payload.length} `), payload]);
}

/** `keyHint` names the key to tools that look for it; nothing is decided by it. */
export function writeBundle({ payload, signature }: Envelope, keyHint: string): Buffer {
  const bundle = {
    mediaType: BUNDLE_MEDIA_TYPE,
    verificationMaterial: { publicKey: { hint: keyHint } },
    dsseEnvelope: { payload: payload.toString('base64'), payloadType: PAYLOAD_TYPE, signatures: [{ sig: signature.toString('base64') }] },
  };
  return Buffer.from(`${JSON.stringify(bundle)}\n`);
}
