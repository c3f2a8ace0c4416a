/** The public keys that an admin has installed, and what they have signed. By node:crypto, without the network and without a clock. */
import { createHash, createPublicKey, sign, verify } from 'node:crypto';
import type { KeyObject } from 'node:crypto';

export interface KeyFile {
  readonly name: string;
  readonly text: string;
}

export interface TrustedKey {
  /** The file, and the number in it where it has several. */
  readonly name: string;
  /** The beginning of the SHA-256 of the key (SubjectPublicKeyInfo). */
  readonly fingerprint: string;
  readonly verify: (data: Buffer, signature: Buffer) => boolean;
}

export interface KeyRing {
  readonly keys: readonly TrustedKey[];
  /** Why what is installed beside them is no key that can be used. */
  readonly unusable: readonly string[];
}

/** More are for mistakes only: a signature is tried against each. */
const MAX_KEYS = 32;
const MAX_KEY_FILE_BYTES = 64 * 1024;
const MIN_RSA_BITS = 2048;
const BLOCK = /-----BEGIN PUBLIC KEY-----[A-Za-z0-9+/=\s]+-----END PUBLIC KEY-----/g;

/** The digest that goes with each kind of key, as cosign pairs them; null: the kind has its own. cosign 3.1 can not verify its own attestations by P-384 and P-521, so nobody can agree on theirs. */
const DIGESTS: Readonly<Record<string, string | null>> = { ed25519: null, rsa: 'sha256', prime256v1: 'sha256' };

/** Files of PEM blocks `PUBLIC KEY`. Anything else in them makes the whole file unusable: a private key or a certificate there is a mistake. */
export function readKeys(files: readonly KeyFile[]): KeyRing {
  const keys: TrustedKey[] = [];
  const unusable: string[] = [];
  for (const { name, text } of files) {
    const found = readKeyFile(name, text);
    if (typeof found === 'string') unusable.push(`${name}: ${found}`);
    else keys.push(...found);
  }
  return keys.length > MAX_KEYS ? { keys: [], unusable: [...unusable, `${keys.length} keys are installed, more than ${MAX_KEYS}`] } : { keys, unusable };
}

function readKeyFile(name: string, text: string): readonly TrustedKey[] | string {
  if (text.length > MAX_KEY_FILE_BYTES) return `it has ${text.length} bytes, more than ${MAX_KEY_FILE_BYTES}`;
  const blocks = text.match(BLOCK) ?? [];
  if (blocks.length === 0 || text.replaceAll(BLOCK, '').trim() !== '') return 'it must hold PUBLIC KEY blocks (PEM) and nothing else, as cosign.pub does';
  const keys: TrustedKey[] = [];
  for (const [index, block] of blocks.entries()) {
    const key = readKey(blocks.length === 1 ? name : `${name}#${index + 1}`, block);
    if (typeof key === 'string') return key;
    keys.push(key);
  }
  return keys;
}

function readKey(name: string, pem: string): TrustedKey | string {
  let key: KeyObject;
  try {
    key = createPublicKey(pem);
  } catch {
    return 'its PUBLIC KEY block can not be read';
  }
  const digest = digestOf(key);
  if (typeof digest === 'string') return digest;
  const { name: digestName } = digest;
  return { name, fingerprint: hashOf(key).toString('hex').slice(0, 16), verify: (data, signature) => verifies(digestName, key, { data, signature }) };
}

/** The digest that goes with the key, or why it is not used. */
function digestOf(key: KeyObject): { readonly name: string | null } | string {
  const kind = key.asymmetricKeyType === 'ec' ? key.asymmetricKeyDetails?.namedCurve : key.asymmetricKeyType;
  const name = DIGESTS[kind ?? ''];
  if (name === undefined) return `a key of kind ${kind} is not used: take ECDSA P-256, as cosign generate-key-pair makes it, Ed25519 or RSA`;
  if (kind === 'rsa' && (key.asymmetricKeyDetails?.modulusLength ?? 0) < MIN_RSA_BITS) return `an RSA key of less than ${MIN_RSA_BITS} bits is not used`;
  return { name };
}

/** Of SubjectPublicKeyInfo. */
function hashOf(publicKey: KeyObject): Buffer {
  return createHash('sha256').update(publicKey.export({ type: 'spki', format: 'der' })).digest();
}

/** The signature, and the hint by which cosign names the key; or why the key is not used. */
export function signWith(privateKey: KeyObject, data: Buffer): { readonly signature: Buffer; readonly hint: string; readonly publicPEM: string } | string {
  const publicKey = createPublicKey(privateKey);
  const digest = digestOf(publicKey);
  if (typeof digest === 'string') return digest;
  return { signature: sign(digest.name, data, privateKey), hint: hashOf(publicKey).toString('base64'), publicPEM: publicKey.export({ type: 'spki', format: 'pem' }).toString() };
}

/** A signature that is not even well formed is a wrong one. */
function verifies(digest: string | null, key: KeyObject, { data, signature }: { readonly data: Buffer; readonly signature: Buffer }): boolean {
  try {
    return verify(digest, data, key, signature);
  } catch {
    return false;
  }
}
