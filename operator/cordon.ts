/** Whose cordon a node has, pure. A cordon of ours carries the id of the order it was made for, from the same write on. */
import type { KubeObject } from './kube/resources.ts';

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
  readonly spec: { readonly unschedulable: true | null };
}

export function cordoned(id: string): CordonFields {
  return { metadata: { annotations: { [CORDONED_FOR]: id } }, spec: { unschedulable: true } };
}

export const UNCORDONED: CordonFields = { metadata: { annotations: { [CORDONED_FOR]: null } }, spec: { unschedulable: null } };
