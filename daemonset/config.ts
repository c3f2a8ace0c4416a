/** The agent's settings. The only file that reads the environment. */
import * as z from 'zod/mini';
import type { Mirror } from '../trust/artifact.ts';
import type { RegistrySettings } from './registry/host.ts';
import { VERIFICATION_POLICIES } from './trust/vouch.ts';

/** SOURCE=MIRROR, and a comma before each further one. Four places with three requests each stay within what the liveness probe allows (main.ts). */
const MIRRORS = /^([a-z0-9._:/-]+=[a-z0-9._:/-]+(,[a-z0-9._:/-]+=[a-z0-9._:/-]+)*)?$/;
const REGISTRY_TIMEOUT_MILLISECONDS = 20_000;

const SERVICE_ACCOUNT = '/var/run/secrets/kubernetes.io/serviceaccount';

/** Set by the DaemonSet, except the last seven, which have the defaults of a pod and are there for tests. Without a word on it, live patches must be signed. */
const Environment = z.object({
  NODE_NAME: z.string().check(z.minLength(1)),
  HOST_ROOT: z._default(z.string().check(z.startsWith('/')), '/host'),
  LOG_LEVEL: z._default(z.enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal']), 'info'),
  METRICS_PORT: z._default(z.coerce.number().check(z.int(), z.minimum(0), z.maximum(65_535)), 9102),
  VERIFICATION: z._default(z.enum(VERIFICATION_POLICIES), 'Require'),
  REGISTRY_CREDENTIALS: z.optional(z.string().check(z.startsWith('/'))),
  REGISTRY_CERTIFICATES: z.optional(z.string().check(z.startsWith('/'))),
  REGISTRY_MIRRORS: z._default(z.string().check(z.regex(MIRRORS)), ''),
  REGISTRY_PROXY: z.optional(z.string().check(z.minLength(1))),
  REGISTRY_NO_PROXY: z.optional(z.string().check(z.minLength(1))),
  KUBERNETES_SERVICE_HOST: z.optional(z.string()),
  KUBERNETES_SERVICE_PORT: z._default(z.string(), '443'),
  API_URL: z.optional(z.url()),
  API_CA_FILE: z._default(z.string(), `${SERVICE_ACCOUNT}/ca.crt`),
  API_TOKEN_FILE: z._default(z.string(), `${SERVICE_ACCOUNT}/token`),
  STAGING_DIRECTORY: z._default(z.string(), '/run/kernelpatch'),
  BOOT_FILES: z._default(z.string(), '/app'),
  VERIFICATION_KEYS: z._default(z.string(), '/etc/kernelpatch/keys'),
  ORAS: z._default(z.string(), 'oras'),
});

export interface Config {
  readonly nodeName: string;
  readonly hostRoot: string;
  readonly stagingDirectory: string;
  /** The directory of the image with load.sh and kernelpatch-boot.service, which are installed on the node. */
  readonly bootFiles: string;
  readonly logLevel: z.infer<typeof Environment>['LOG_LEVEL'];
  readonly metricsPort: number;
  /** Whether live patches must be signed, and the directory of the keys. */
  readonly verification: { readonly policy: z.infer<typeof Environment>['VERIFICATION']; readonly keys: string };
  readonly registries: Omit<RegistrySettings, 'findNodeCertificates'> & { readonly mirrors: readonly Mirror[] };
  readonly api: { readonly baseURL: string; readonly caFile: string; readonly tokenFile: string };
}

/** The settings, or one sentence for each variable that is wrong. */
export function readConfig(environment: Readonly<Record<string, string | undefined>>): Config | readonly string[] {
  const parsed = z.safeParse(Environment, environment);
  if (!parsed.success) return parsed.error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`);
  const set = parsed.data;
  const baseURL = set.API_URL ?? (set.KUBERNETES_SERVICE_HOST && `https://${bracketed(set.KUBERNETES_SERVICE_HOST)}:${set.KUBERNETES_SERVICE_PORT}`);
  if (!baseURL) return ['KUBERNETES_SERVICE_HOST: missing; run the agent in a pod, or set API_URL, API_CA_FILE and API_TOKEN_FILE'];
  return {
    nodeName: set.NODE_NAME,
    hostRoot: set.HOST_ROOT,
    stagingDirectory: set.STAGING_DIRECTORY,
    bootFiles: set.BOOT_FILES,
    logLevel: set.LOG_LEVEL,
    metricsPort: set.METRICS_PORT,
    verification: { policy: set.VERIFICATION, keys: set.VERIFICATION_KEYS },
    registries: {
      oras: set.ORAS,
      credentialsFile: set.REGISTRY_CREDENTIALS,
      certificates: set.REGISTRY_CERTIFICATES,
      proxy: { https: set.REGISTRY_PROXY, except: set.REGISTRY_NO_PROXY },
      timeoutMilliseconds: REGISTRY_TIMEOUT_MILLISECONDS,
      mirrors: parseMirrors(set.REGISTRY_MIRRORS),
    },
    api: { baseURL, caFile: set.API_CA_FILE, tokenFile: set.API_TOKEN_FILE },
  };
}

function parseMirrors(text: string): readonly Mirror[] {
  return text.split(',').filter((pair) => pair !== '').map((pair) => {
    const [source = '', mirror = ''] = pair.split('=');
    return { source, mirror };
  });
}

export function readEnvironment(): Config | readonly string[] {
  return readConfig(process.env);
}

/** An IPv6 address in a URL. */
function bracketed(host: string): string {
  return host.includes(':') ? `[${host}]` : host;
}
