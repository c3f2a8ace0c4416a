/** Events on KernelPatches, pure: one for each outcome, none for the steps towards it. */
import { API_VERSION } from '../crds/common.ts';
import type { KernelPatch, KernelPatchStatus } from '../crds/kernelpatch.ts';
import { conditionOf } from './conditions.ts';

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

/** An events.k8s.io/v1 Event; its note holds 1024 characters. */
export function eventObject(kernelPatch: KernelPatch, { type, reason, note }: EventNote, at: { readonly now: number; readonly instance: string }): object {
  const { name, uid } = kernelPatch.metadata;
  return {
    metadata: { name: `${name}.${at.now.toString(16)}`, namespace: 'default' },
    eventTime: new Date(at.now).toISOString().replace('Z', '000Z'),
    reportingController: 'kernelpatch.dev/operator',
    reportingInstance: at.instance,
    action: 'RollOut',
    type,
    reason,
    note: note.slice(0, 1024),
    regarding: { apiVersion: API_VERSION, kind: 'KernelPatch', name, uid },
  };
}
