/** Events, pure: on a KernelPatch one for each outcome and none for the steps towards it, on a Node for its taint. */
import { API_VERSION } from '../crds/common.ts';
import type { KernelPatch, KernelPatchStatus } from '../crds/kernelpatch.ts';
import { conditionOf } from './conditions.ts';
import type { TaintChange } from './taint.ts';
import { nameSome } from './names.ts';

export interface EventNote {
  readonly type: 'Normal' | 'Warning';
  readonly reason: string;
  readonly note: string;
}

/** The event for a stored change of status: all nodes closed, or the rollout came to a stand for another reason than before. */
export function describeEvent(before: KernelPatchStatus | undefined, after: KernelPatchStatus): EventNote | undefined {
  const ready = conditionOf(after, 'Ready');
  if (ready?.status === 'True' && conditionOf(before, 'Ready')?.status !== 'True') return { type: 'Normal', reason: ready.reason, note: ready.message };
  const stalled = conditionOf(after, 'Stalled');
  const was = conditionOf(before, 'Stalled');
  if (stalled?.status !== 'True' || (was?.status === 'True' && was.reason === stalled.reason)) return undefined;
  return { type: 'Warning', reason: stalled.reason, note: stalled.message };
}

/** The event for a taint that was set or removed. */
export function describeTaint({ node, holders }: TaintChange): EventNote {
  if (holders.size === 0) return { type: 'Normal', reason: 'UnpatchedTaintRemoved', note: 'taint kernelpatch.dev/unpatched removed: nothing holds it any more' };
  const note = `tainted with kernelpatch.dev/unpatched since the node has booted: it goes when ${nameSome([...holders])} is closed here again; spec.plan and status of NodeKernel ${node.name} say how far it is and what stands in the way`;
  return { type: 'Normal', reason: 'UnpatchedSinceBoot', note };
}

/** What an Event is about, and what was done with it. */
interface Subject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly name: string;
  readonly uid: string;
  readonly action: string;
}

export function aboutKernelPatch({ metadata: { name, uid = '' } }: KernelPatch): Subject {
  return { apiVersion: API_VERSION, kind: 'KernelPatch', name, uid, action: 'RollOut' };
}

export function aboutNode({ node: { name, uid } }: TaintChange): Subject {
  return { apiVersion: 'v1', kind: 'Node', name, uid, action: 'Taint' };
}

/** An events.k8s.io/v1 Event; its note holds 1024 characters. */
export function eventObject({ action, ...regarding }: Subject, { type, reason, note }: EventNote, at: { readonly now: number; readonly instance: string }): object {
  return {
    metadata: { name: `${regarding.name}.${at.now.toString(16)}`, namespace: 'default' },
    eventTime: new Date(at.now).toISOString().replace('Z', '000Z'),
    reportingController: 'kernelpatch.dev/operator',
    reportingInstance: at.instance,
    action,
    type,
    reason,
    note: note.slice(0, 1024),
    regarding,
  };
}
