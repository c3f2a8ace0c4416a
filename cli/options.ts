/** The words of the command line. Pure. */
import { parseArgs } from 'node:util';
import { CliError } from './errors.ts';

export const USAGE = `kernelpatch bundle FILE.ko --cve CVE... [--key KEY | --signed BUNDLE --public-key KEY] [--output DIRECTORY] [--push REGISTRY/REPOSITORY[:TAG]]

Makes the signed bundle of a live patch: FILE.ko.sigstore.json, which nodes want beside the file, and FILE.ko.oci, an OCI image layout with both.
The kernel, the build id, the functions and whether it is cumulative are taken from the file.

  --cve CVE             a CVE that it closes; at least one
  --irreversible        it can not be disabled once it is loaded
  --kernel-build-id ID  it is for this build of the kernel only (readelf -n vmlinux)
  --function F          OBJECT:NAME, for a file that does not show what it patches
  --replace, --no-replace  for a file that does not show whether it is cumulative
  --key KEY             a private key (PEM: ECDSA P-256, Ed25519 or RSA); its passphrase is taken from KERNELPATCH_PASSPHRASE
  --signed BUNDLE       what cosign attest-blob --bundle wrote, for keys that only cosign can use (KMS, hardware, cosign.key)
  --public-key KEY      the public key that --signed is verified with
  --output DIRECTORY    where to write to; here by default
  --push REFERENCE      push the artifact, and print the reference by digest
  --registry-config F   credentials for --push, as docker login writes them
Without --key and --signed it writes FILE.ko.claims.json, and prints the cosign commands that sign it.
`;

/** Who signs: a key here, somebody who has done it already, or somebody who will. */
export type Signing = { readonly kind: 'Key'; readonly key: string } | { readonly kind: 'Signed'; readonly bundle: string; readonly publicKey: string } | { readonly kind: 'Later' };

export interface Options {
  readonly file: string;
  readonly cves: readonly string[];
  readonly irreversible: boolean;
  readonly kernelBuildID: string | undefined;
  readonly functions: readonly string[] | undefined;
  readonly replace: boolean | undefined;
  readonly signing: Signing;
  readonly output: string;
  readonly push: string | undefined;
  readonly registryConfig: string | undefined;
}

const FILE_NAME = /^[A-Za-z0-9][A-Za-z0-9._+~@-]*\.ko$/;

const WORDS = {
  cve: { type: 'string', multiple: true },
  irreversible: { type: 'boolean' },
  'kernel-build-id': { type: 'string' },
  function: { type: 'string', multiple: true },
  replace: { type: 'boolean' },
  key: { type: 'string' },
  signed: { type: 'string' },
  'public-key': { type: 'string' },
  output: { type: 'string' },
  push: { type: 'string' },
  'registry-config': { type: 'string' },
} as const;

/** Throws CliError. */
export function readOptions(words: readonly string[]): Options {
  const [command, ...args] = words;
  if (command !== 'bundle') throw new CliError(command === undefined ? 'give a command' : `there is no command ${command}`);
  const { values, positionals } = parse(args);
  const signing = signingOf(values);
  if (values.push !== undefined && signing.kind === 'Later') throw new CliError('give --key or --signed with --push: what is not signed is not pushed');
  return {
    file: fileOf(positionals),
    cves: values.cve ?? [],
    irreversible: values.irreversible ?? false,
    kernelBuildID: values['kernel-build-id'],
    functions: values.function,
    replace: values.replace,
    signing,
    output: values.output ?? '.',
    push: values.push,
    registryConfig: values['registry-config'],
  };
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({ args: [...args], options: WORDS, allowPositionals: true, allowNegative: true });
  } catch (error) {
    throw new CliError((error as Error).message);
  }
}

/** Its name becomes a title in the artifact, and the path of the KernelPatch. */
function fileOf([file, second]: readonly string[]): string {
  if (file === undefined || second !== undefined) throw new CliError('give one module file');
  if (!FILE_NAME.test(file.split('/').at(-1) ?? '')) throw new CliError('the file must be an uncompressed module, its name of letters, digits and ._+~@- and ending in .ko');
  return file;
}

function signingOf({ key, signed, 'public-key': publicKey }: ReturnType<typeof parse>['values']): Signing {
  if (key !== undefined && signed !== undefined) throw new CliError('give --key or --signed, not both');
  if (key !== undefined) return { kind: 'Key', key };
  if (signed !== undefined && publicKey !== undefined) return { kind: 'Signed', bundle: signed, publicKey };
  if (signed !== undefined || publicKey !== undefined) throw new CliError('give --signed together with --public-key');
  return { kind: 'Later' };
}
