/** kernelpatch bundle: see options.ts. Exits with 2 for what its user can correct. */
import { createPrivateKey } from 'node:crypto';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { CLAIMS_TYPE } from '../trust/claims.ts';
import type { Claims } from '../trust/claims.ts';
import { bundleNameOf, sha256Of } from '../trust/verify.ts';
import { makeClaims } from './claims.ts';
import { CliError } from './errors.ts';
import { push } from './host.ts';
import { makeLayout } from './layout.ts';
import { USAGE, readOptions } from './options.ts';
import type { Options, Signing } from './options.ts';
import { checkBundle, signBundle } from './sign.ts';
import type { Subject } from './sign.ts';

function main(words: readonly string[]): void {
  if (words.length === 0 || words.includes('--help') || words.includes('-h')) {
    process.stdout.write(USAGE);
    return;
  }
  const options = readOptions(words);
  const subject = { fileName: basename(options.file), module: read(options.file) };
  const target = join(options.output, subject.fileName);
  if (options.signing.kind === 'Later') {
    write(`${target}.claims.json`, `${JSON.stringify(makeClaims(subject.module, options), undefined, 2)}\n`);
    // Without a signing configuration cosign sends what it signs to the public transparency log.
    print(`cosign signing-config create --out signing-config.json\ncosign attest-blob ${options.file} --predicate ${target}.claims.json --type ${CLAIMS_TYPE} --bundle ${bundleNameOf(target)} --signing-config signing-config.json --key KEY`);
    return;
  }
  const { claims, bundle } = signed(subject, options.signing, options);
  const layout = makeLayout(subject.fileName, subject.module, bundle);
  write(bundleNameOf(target), bundle);
  rmSync(`${target}.oci`, { recursive: true, force: true });
  for (const [path, bytes] of layout.files) write(join(`${target}.oci`, path), bytes);
  if (options.push !== undefined) push(options.push, `${target}.oci@sha256:${layout.sha256}`, options);
  const source = options.push === undefined ? '' : `\n  source: {image: '${withoutTag(options.push)}@sha256:${layout.sha256}', path: ${subject.fileName}}`;
  print(`livePatch:\n  name: ${claims.name}${source}\n  sha256: ${sha256Of(subject.module)}\n  replace: ${claims.replace}\n  reversible: ${claims.reversible}`);
}

function signed(subject: Subject, signing: Exclude<Signing, { kind: 'Later' }>, options: Options): { readonly claims: Claims; readonly bundle: Buffer } {
  if (signing.kind === 'Key') {
    const claims = makeClaims(subject.module, options);
    return { claims, bundle: signBundle(subject, claims, readPrivateKey(signing.key)) };
  }
  const bundle = read(signing.bundle);
  return { claims: checkBundle(subject, bundle, { name: signing.publicKey, text: read(signing.publicKey).toString() }), bundle };
}

function readPrivateKey(path: string) {
  const text = read(path).toString();
  if (text.includes('ENCRYPTED SIGSTORE PRIVATE KEY') || text.includes('ENCRYPTED COSIGN PRIVATE KEY')) {
    throw new CliError(`${path} is a key that only cosign can open: leave out --key, sign with the cosign commands that are then printed, and give the result as --signed`);
  }
  try {
    const passphrase = process.env['KERNELPATCH_PASSPHRASE'];
    return createPrivateKey({ key: text, ...(passphrase !== undefined && { passphrase }) });
  } catch {
    throw new CliError(`${path} can not be read as a private key: it must be PEM, and its passphrase in KERNELPATCH_PASSPHRASE`);
  }
}

/** A colon behind the last slash is that of a tag. */
function withoutTag(reference: string): string {
  return reference.replace(/:[^:/]+$/, '');
}

function read(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    throw new CliError((error as Error).message);
  }
}

function write(path: string, content: string | Buffer): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, content);
}

function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

try {
  main(process.argv.slice(2));
} catch (error) {
  if (!(error instanceof CliError)) throw error;
  process.stderr.write(`kernelpatch: ${error.message}\nkernelpatch --help says more\n`);
  process.exitCode = 2;
}
