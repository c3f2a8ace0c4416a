/** The operator's own Deployment: what everything that it makes in its namespace belongs to, so that helm uninstall leaves nothing. */
import type { OwnerReference } from '../crds/common.ts';
import { kindOf } from './errors.ts';
import type { Client } from './kube/client.ts';
import { deploymentsIn } from './kube/resources.ts';

export function ownedByDeployment(name: string, uid: string): OwnerReference {
  return { apiVersion: 'apps/v1', kind: 'Deployment', name, uid };
}

/** The reference to the Deployment; none when there is no such Deployment, as in an operator that is run by hand. */
export async function readOwners(client: Pick<Client, 'get'>, namespace: string, name: string): Promise<readonly OwnerReference[]> {
  try {
    const { metadata } = await client.get(deploymentsIn(namespace), name);
    return [ownedByDeployment(name, metadata.uid ?? '')];
  } catch (error) {
    if (kindOf(error) !== 'NotFound') throw error;
    return [];
  }
}
