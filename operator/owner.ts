/** The operator's own Deployment: what everything that it makes in its namespace belongs to, so that helm uninstall leaves nothing. */
import type { OwnerReference } from '../crds/common.ts';
import { KernelPatchError, kindOf } from './errors.ts';
import type { Client } from './kube/client.ts';
import { deploymentsIn } from './kube/resources.ts';
import type { KubeObject } from './kube/resources.ts';

export function ownedByDeployment(name: string, uid: string): OwnerReference {
  return { apiVersion: 'apps/v1', kind: 'Deployment', name, uid };
}

/** Throws DeploymentNotFound when it is gone: then everything is being uninstalled, and what is made now would stay for ever. */
export async function readDeployment(client: Pick<Client, 'get'>, namespace: string, name: string): Promise<KubeObject> {
  try {
    return await client.get(deploymentsIn(namespace), name);
  } catch (cause) {
    if (kindOf(cause) !== 'NotFound') throw cause;
    throw new KernelPatchError('DeploymentNotFound', `Deployment ${name} is not in namespace ${namespace}: set DEPLOYMENT_NAME to the operator's own`, { cause });
  }
}
