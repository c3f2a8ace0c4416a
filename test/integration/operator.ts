/** The operator's own process against a control plane on this machine. */
import { join } from 'node:path';
import { ROOT } from '../cache.ts';
import { freePorts } from '../cluster/control-plane.ts';
import type { ControlPlane } from '../cluster/control-plane.ts';
import { startDaemon } from '../process.ts';
import type { Daemon } from '../process.ts';

export const NAMESPACE = 'kernelpatch';

export interface Operator extends Daemon {
  readonly port: number;
}

/** The control plane knows our kinds, and has the Deployment that the operator looks for. */
export async function prepareForOperator(plane: ControlPlane): Promise<void> {
  await plane.mustKubectl(['apply', '--server-side', '-f', join(ROOT, 'crds/generated')]);
  await plane.mustKubectl(['wait', '--for=condition=Established', '--timeout=30s', 'crd', '--all']);
  await plane.mustKubectl(['create', 'namespace', NAMESPACE]);
  await plane.mustKubectl(['create', 'deployment', 'kernelpatch-operator', '-n', NAMESPACE, '--image=registry/kernelpatch']);
}

/** Its log is in `dir`. */
export async function startOperator(plane: ControlPlane, dir: string, name: string): Promise<Operator> {
  const [port = 0] = await freePorts(1);
  const env = {
    KUBECONFIG: plane.kubeconfig, POD_NAME: name, POD_NAMESPACE: NAMESPACE, DEPLOYMENT_NAME: 'kernelpatch-operator', AGENT_IMAGE: 'registry/kernelpatch@sha256:1',
    AGENT_SERVICE_ACCOUNT: 'kernelpatch-agent', METRICS_PORT: String(port),
  };
  const daemon = startDaemon(name, [process.execPath, join(ROOT, 'operator/main.ts')], { log: join(dir, `${name}.log`), env });
  return { ...daemon, port };
}

export async function fetchText({ port }: Operator, path: string): Promise<{ readonly code: number; readonly body: string }> {
  const response = await fetch(`http://127.0.0.1:${port}${path}`);
  return { code: response.status, body: await response.text() };
}
