/** Whose cordon a node has, pure. A cordon of ours carries the id of the order it was made for, from the same write on. */
import type { KubeObject } from './kube/resources.ts';
import { FIELD_MANAGER } from './labels.ts';

/** Its value is the order's id. Without it, or with another id, a cordon is somebody else's and stays. */
export const CORDONED_FOR = 'kernelpatch.dev/cordoned-for';

export interface Cordoning {
  readonly unschedulable: boolean;
  /** The id of the order that it was cordoned for. It stays when a person uncordons. */
  readonly cordonedFor: string | undefined;
}

/** No pod is scheduled to the node until the order is over: its cordon is the order's, or a person's. One of an earlier order is about to be undone. */
export function holds(node: Cordoning, id: string): boolean {
  return node.unschedulable && (node.cordonedFor === undefined || node.cordonedFor === id);
}

export function readCordoning({ metadata, spec }: KubeObject): Cordoning {
  return { unschedulable: (spec as { readonly unschedulable?: boolean } | undefined)?.unschedulable ?? false, cordonedFor: metadata.annotations?.[CORDONED_FOR] };
}

/** Fields of a Node for a merge: null removes. */
export interface CordonFields {
  readonly metadata: { readonly annotations: Readonly<Record<string, string | null>> };
  readonly spec?: { readonly unschedulable: true | null };
}

export function cordoned(id: string): CordonFields {
  return { metadata: { annotations: { [CORDONED_FOR]: id } }, spec: { unschedulable: true } };
}

/** What takes the order's cordon off the node; undefined: there is none. The cordon of somebody who uncordoned the node meanwhile and cordoned it again stays, and only our note about the earlier one goes. */
export function uncordoned(node: KubeObject, id: string): CordonFields | undefined {
  if (readCordoning(node).cordonedFor !== id) return undefined;
  const metadata = { annotations: { [CORDONED_FOR]: null } };
  const cordoners = cordonersOf(node);
  return cordoners.length === 0 || cordoners.includes(FIELD_MANAGER) ? { metadata, spec: { unschedulable: null } } : { metadata };
}

/** metav1.ManagedFieldsEntry. */
interface ManagedFields {
  readonly manager?: string;
  readonly fieldsV1?: { readonly 'f:spec'?: { readonly 'f:unschedulable'?: object } };
}

/** Who gave the node its cordon, as the API server notes it; a write that changes nothing is not noted. Empty: it tells of nobody. */
function cordonersOf({ metadata }: KubeObject): readonly string[] {
  const { managedFields = [] } = metadata as { readonly managedFields?: readonly ManagedFields[] };
  return managedFields.flatMap(({ manager, fieldsV1 }) => (manager !== undefined && fieldsV1?.['f:spec']?.['f:unschedulable'] !== undefined ? [manager] : []));
}
