/** metav1 conditions, pure. */
import type { Condition } from '../crds/common.ts';
import { instant } from './instant.ts';

/** A condition without its bookkeeping. */
export type Judgement = Pick<Condition, 'type' | 'status' | 'reason' | 'message'>;

/** The conditions to store. lastTransitionTime is that of the condition before unless its status changes. */
export function setConditions(before: readonly Condition[] | undefined, judgements: readonly Judgement[], at: { readonly generation: number | undefined; readonly now: number }): Condition[] {
  return judgements.map((judgement) => {
    const same = before?.find(({ type, status }) => type === judgement.type && status === judgement.status);
    return {
      ...judgement,
      ...(at.generation !== undefined && { observedGeneration: at.generation }),
      lastTransitionTime: same?.lastTransitionTime ?? instant(at.now),
    };
  });
}

export function conditionOf(status: { readonly conditions?: readonly Condition[] | undefined } | undefined, type: string): Condition | undefined {
  return status?.conditions?.find((condition) => condition.type === type);
}
