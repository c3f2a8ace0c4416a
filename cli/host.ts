/** The one way to registries: oras pushes, and knows their credentials, certificates and proxies. */
import { spawnSync } from 'node:child_process';
import { CliError } from './errors.ts';
import type { Options } from './options.ts';

/** The artifact of the OCI image layout (DIRECTORY@DIGEST) is in the registry. Throws CliError. */
export function push(reference: string, layout: string, { registryConfig }: Pick<Options, 'registryConfig'>): void {
  const credentials = registryConfig === undefined ? [] : ['--to-registry-config', registryConfig];
  const { status, error } = spawnSync('oras', ['cp', '--no-tty', '--to-plain-http=false', '--from-oci-layout', ...credentials, layout, reference], { stdio: ['ignore', 'ignore', 'inherit'] });
  if (error !== undefined) throw new CliError(`oras, which pushes, can not be started: ${error.message}`);
  if (status !== 0) throw new CliError(`${reference} was not pushed`);
}
