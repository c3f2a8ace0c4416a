/** Where the node keeps the certificates of the authorities that it trusts. The runtime trusts the same ones, so a registry that gives the node its images is trusted here. */
import type { Host } from '../../kernel/host.ts';

/** Debian's, the RHEL family's and SUSE's file, in the order of Go's crypto/x509. */
const FILES = ['/etc/ssl/certs/ca-certificates.crt', '/etc/pki/tls/certs/ca-bundle.crt', '/etc/ssl/ca-bundle.pem', '/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem', '/etc/ssl/cert.pem'] as const;

/** As a program of the agent opens it; undefined: the node has none. Throws HostUnreadable. */
export async function findNodeCertificates(host: Host): Promise<string | undefined> {
  for (const file of FILES) {
    const found = await host.locate(file);
    if (found !== undefined) return found;
  }
  return undefined;
}
