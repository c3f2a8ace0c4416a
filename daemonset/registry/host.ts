/**
 * The one way to registries: oras, in a process of its own for each request. It knows their credentials, redirects, certificates and proxies, the
 * agent none of it, and its memory is gone with it. Where it runs as root its children run as nobody, without a capability.
 */
import { spawn } from 'node:child_process';

export interface RegistrySettings {
  /** The program. */
  readonly oras: string;
  /** Credentials, as `docker login` writes them (config.json; a Secret of type kubernetes.io/dockerconfigjson has the same). undefined: none. */
  readonly credentialsFile: string | undefined;
  /** The authorities that registries are trusted by: those of the node, and the PEM files of a directory. */
  readonly findNodeCertificates: () => Promise<string | undefined>;
  readonly certificates: string | undefined;
  readonly proxy: { readonly https: string | undefined; readonly except: string | undefined };
  readonly timeoutMilliseconds: number;
}

export interface BlobRequest {
  /** REGISTRY/REPOSITORY */
  readonly place: string;
  readonly kind: 'manifest' | 'blob';
  readonly sha256: string;
  readonly limitBytes: number;
}

/** Bytes that the caller has to compare with the digest, or what oras said instead. */
export type RegistryAnswer = { readonly kind: 'Bytes'; readonly bytes: Buffer } | { readonly kind: 'TooLarge' | 'TimedOut' | 'NotStarted' } | { readonly kind: 'Failed'; readonly stderr: string };

export interface Registry {
  fetch(request: BlobRequest): Promise<RegistryAnswer>;
}

/** oras says why in one line, or two. */
const MAX_STDERR_BYTES = 4096;
/** nobody, as in the image. */
const NOBODY = 65_532;

export function realRegistry(settings: RegistrySettings): Registry {
  return { fetch: async (request) => fetchBlob(settings, environmentOf(settings, await settings.findNodeCertificates()), request) };
}

function fetchBlob(settings: RegistrySettings, env: Record<string, string>, { place, kind, sha256, limitBytes }: BlobRequest): Promise<RegistryAnswer> {
  // Without --plain-http=false a registry on localhost would be asked without TLS. Without a file of its own oras looks for one at home.
  const args = [kind, 'fetch', '--output', '-', '--plain-http=false', '--registry-config', settings.credentialsFile ?? '/dev/null', `${place}@sha256:${sha256}`];
  return new Promise((resolve) => {
    const child = spawn(settings.oras, args, { env, cwd: '/', stdio: ['ignore', 'pipe', 'pipe'], ...(process.getuid?.() === 0 && { uid: NOBODY, gid: NOBODY }) });
    let stopped: 'TooLarge' | 'TimedOut' | 'NotStarted' | undefined;
    const stop = (why: typeof stopped): void => {
      stopped ??= why;
      child.kill('SIGKILL');
    };
    const timer = setTimeout(() => stop('TimedOut'), settings.timeoutMilliseconds);
    const chunks: Buffer[] = [];
    let total = 0;
    child.stdout.on('data', (chunk: Buffer) => {
      total += chunk.length;
      if (total > limitBytes) stop('TooLarge');
      else chunks.push(chunk);
    });
    let stderr = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text.slice(0, MAX_STDERR_BYTES - stderr.length);
    });
    child.on('error', () => stop('NotStarted'));
    child.on('close', (exitCode) => {
      clearTimeout(timer);
      if (stopped !== undefined) resolve({ kind: stopped });
      else if (exitCode === 0) resolve({ kind: 'Bytes', bytes: Buffer.concat(chunks, total) });
      else resolve({ kind: 'Failed', stderr });
    });
  });
}

function environmentOf({ certificates, proxy }: RegistrySettings, ofNode: string | undefined): Record<string, string> {
  return {
    LC_ALL: 'C',
    PATH: '/usr/sbin:/usr/bin:/sbin:/bin',
    // oras looks for its configuration there; nobody has none.
    HOME: '/nonexistent',
    // Go looks at its usual places where neither is set; the image has nothing there.
    ...(ofNode !== undefined && { SSL_CERT_FILE: ofNode }),
    ...(certificates !== undefined && { SSL_CERT_DIR: certificates }),
    ...(proxy.https !== undefined && { HTTPS_PROXY: proxy.https }),
    ...(proxy.except !== undefined && { NO_PROXY: proxy.except }),
  };
}
