/** The only reader of the environment. */
import * as z from 'zod/mini';
import { KernelPatchError } from './errors.ts';

const required = (what: string) => z.string(`is not set: write ${what}`).check(z.minLength(1, `is empty: write ${what}`));
const LOG_LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'trace'] as const;

/** What the chart's values.schema.json lets through, so nothing has to be explained here. */
const AS_THE_CHART = 'is not as the chart writes it: write registry of its values as JSON';
const Registry = z.strictObject(
  {
    pullSecret: z.string(AS_THE_CHART),
    caConfigMap: z.string(AS_THE_CHART),
    mirrors: z.array(z.strictObject({ source: z.string(AS_THE_CHART), mirror: z.string(AS_THE_CHART) }, AS_THE_CHART), AS_THE_CHART),
    proxy: z.strictObject({ https: z.string(AS_THE_CHART), noProxy: z.string(AS_THE_CHART) }, AS_THE_CHART),
  },
  AS_THE_CHART,
);
const NO_REGISTRY = JSON.stringify({ pullSecret: '', caConfigMap: '', mirrors: [], proxy: { https: '', noProxy: '' } } satisfies z.infer<typeof Registry>);

const Environment = z.object({
  POD_NAME: required('the name of this pod (downward API metadata.name)'),
  POD_NAMESPACE: required('the namespace of this pod (downward API metadata.namespace)'),
  DEPLOYMENT_NAME: required('the name of the Deployment this pod belongs to; the agents are owned by it'),
  AGENT_IMAGE: required('the image of the agents, as registry/kernelpatch@sha256:...; the chart gives the operator its own'),
  AGENT_IMAGE_PULL_POLICY: z._default(z.enum(['Always', 'IfNotPresent', 'Never'], 'write Always, IfNotPresent or Never'), 'IfNotPresent'),
  AGENT_SERVICE_ACCOUNT: required('the ServiceAccount of the agents, in the same namespace'),
  AGENT_VERIFICATION: z._default(z.enum(['Require', 'Off'], 'write Require or Off'), 'Require'),
  AGENT_REGISTRY: z.pipe(z._default(z.string(), NO_REGISTRY), z.pipe(z.transform(parseJSON), Registry)),
  LOG_LEVEL: z._default(z.enum(LOG_LEVELS, `write one of ${LOG_LEVELS.join(', ')}`), 'info'),
  METRICS_PORT: z._default(z.string().check(z.regex(/^[1-9][0-9]{0,4}$/, 'write a port from 1 to 65535'), z.refine((port) => Number(port) <= 65535, 'write a port from 1 to 65535')), '9101'),
  LEASE_NAME: z._default(z.string().check(z.minLength(1, 'is empty: write the name of the Lease or leave it out')), 'kernelpatch-operator'),
});

export interface Config {
  readonly podName: string;
  readonly namespace: string;
  readonly deploymentName: string;
  readonly agentImage: string;
  readonly agentImagePullPolicy: 'Always' | 'IfNotPresent' | 'Never';
  readonly agentServiceAccount: string;
  readonly agentVerification: 'Require' | 'Off';
  readonly agentRegistry: z.infer<typeof Registry>;
  readonly logLevel: (typeof LOG_LEVELS)[number];
  readonly metricsPort: number;
  readonly leaseName: string;
}

/** The configuration. Throws ConfigInvalid with one line for each variable that is missing or wrong. */
export function readConfig(environment: Readonly<Record<string, string | undefined>> = process.env): Config {
  const parsed = Environment.safeParse(environment);
  if (!parsed.success) {
    const lines = parsed.error.issues.map((issue) => `${issue.path.join('.')} ${issue.message}`);
    throw new KernelPatchError('ConfigInvalid', `environment: ${lines.join('; ')}`);
  }
  const values = parsed.data;
  return {
    podName: values.POD_NAME,
    namespace: values.POD_NAMESPACE,
    deploymentName: values.DEPLOYMENT_NAME,
    agentImage: values.AGENT_IMAGE,
    agentImagePullPolicy: values.AGENT_IMAGE_PULL_POLICY,
    agentServiceAccount: values.AGENT_SERVICE_ACCOUNT,
    agentVerification: values.AGENT_VERIFICATION,
    agentRegistry: values.AGENT_REGISTRY,
    logLevel: values.LOG_LEVEL,
    metricsPort: Number(values.METRICS_PORT),
    leaseName: values.LEASE_NAME,
  };
}

/** undefined: it is none. */
function parseJSON(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
