/** The cluster's certificate authority and the certificates it signs, by openssl. */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { must } from '../process.ts';

export interface CertificatePaths {
  readonly cert: string;
  readonly key: string;
}

export interface CertificateRequest {
  /** The file's name and the common name's default. */
  readonly name: string;
  readonly commonName: string;
  readonly organization?: string;
  /** subjectAltName entries, as DNS:kubernetes or IP:127.0.0.1. */
  readonly altNames?: readonly string[];
}

/** Ten years: a warm cluster in the cache must not expire between sessions. */
const DAYS = '3650';
/** Client and server certificates name what they are for (RFC 5280 extended key usage). */
const LEAF = 'basicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth,clientAuth\n';

/** One authority in one directory; certificates that exist are kept. */
export class Authority {
  readonly dir: string;
  readonly ca: string;
  #key: string;

  private constructor(dir: string) {
    this.dir = dir;
    this.ca = join(dir, 'ca.crt');
    this.#key = join(dir, 'ca.key');
  }

  static async open(dir: string): Promise<Authority> {
    mkdirSync(dir, { recursive: true });
    const authority = new Authority(dir);
    if (!existsSync(authority.ca)) {
      await must(['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', DAYS, '-subj', '/CN=kernelpatch-test-ca', '-keyout', authority.#key, '-out', authority.ca]);
    }
    return authority;
  }

  async issue(request: CertificateRequest): Promise<CertificatePaths> {
    const cert = join(this.dir, `${request.name}.crt`);
    const key = join(this.dir, `${request.name}.key`);
    if (existsSync(cert)) return { cert, key };
    const extensions = join(this.dir, `${request.name}.ext`);
    writeFileSync(extensions, LEAF + (request.altNames ? `subjectAltName=${request.altNames.join(',')}\n` : ''));
    const subject = `${request.organization ? `/O=${request.organization}` : ''}/CN=${request.commonName}`;
    const csr = await must(['openssl', 'req', '-new', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-subj', subject, '-keyout', key]);
    await must(['openssl', 'x509', '-req', '-CA', this.ca, '-CAkey', this.#key, '-CAcreateserial', '-days', DAYS, '-extfile', extensions, '-out', cert], { stdin: csr });
    return { cert, key };
  }
}

/** A kubeconfig for one client of one server; certificates are named by path. */
export function kubeconfigOf(client: { server: string; ca: string; cert: string; key: string; name: string }): string {
  return JSON.stringify({
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'test', cluster: { server: client.server, 'certificate-authority': client.ca } }],
    users: [{ name: client.name, user: { 'client-certificate': client.cert, 'client-key': client.key } }],
    contexts: [{ name: 'test', context: { cluster: 'test', user: client.name } }],
    'current-context': 'test',
  }, undefined, 2);
}
