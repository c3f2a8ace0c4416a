/** The bundle of a live patch, signed here or by cosign, and never written before it has been verified as a node does it. Pure. */
import type { KeyObject } from 'node:crypto';
import { parseModule } from '../kernel/elf.ts';
import { writeStatement } from '../trust/claims.ts';
import type { Claims } from '../trust/claims.ts';
import { refuseContent } from '../trust/compare.ts';
import { signedBytes, writeBundle } from '../trust/envelope.ts';
import { readKeys, signWith } from '../trust/keys.ts';
import type { KeyFile } from '../trust/keys.ts';
import { sha256Of, verifyFile } from '../trust/verify.ts';
import { CliError } from './errors.ts';

export interface Subject {
  readonly fileName: string;
  readonly module: Buffer;
}

/** Throws CliError. */
export function signBundle(subject: Subject, claims: Claims, privateKey: KeyObject): Buffer {
  const payload = writeStatement({ sha256: sha256Of(subject.module), claims }, subject.fileName);
  const signed = signWith(privateKey, signedBytes(payload));
  if (typeof signed === 'string') throw new CliError(signed);
  const bundle = writeBundle({ payload, signature: signed.signature }, signed.hint);
  checkBundle(subject, bundle, { name: 'the key', text: signed.publicPEM });
  return bundle;
}

/** The claims of a bundle that a node with this key would take for the module. Throws CliError. */
export function checkBundle({ fileName, module }: Subject, bundle: Buffer, key: KeyFile): Claims {
  const judged = verifyFile({ name: fileName, sha256: sha256Of(module), bundle }, readKeys([key]));
  if (!judged.ok) throw new CliError(`${judged.refusal.message} (${judged.refusal.reason})`);
  const refusal = refuseContent(parseModule(module), judged.value.claims);
  if (refusal !== undefined) throw new CliError(`${refusal.message} (${refusal.reason})`);
  return judged.value.claims;
}
