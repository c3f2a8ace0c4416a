/** Labels on what the operator creates; it sets them and deletes nothing without them. And the name under which the API server notes the fields that it writes. */
import type { ObjectMeta } from '../crds/common.ts';

export const FIELD_MANAGER = 'kernelpatch-operator';

export const MANAGED_BY = { 'app.kubernetes.io/name': 'kernelpatch', 'app.kubernetes.io/managed-by': 'kernelpatch-operator' } as const;

export function isOurs({ labels }: ObjectMeta): boolean {
  return labels?.['app.kubernetes.io/managed-by'] === MANAGED_BY['app.kubernetes.io/managed-by'];
}

/** As the chart labels the pods of the operator. */
export function isOperator(labels: Readonly<Record<string, string>>): boolean {
  return labels['app.kubernetes.io/name'] === MANAGED_BY['app.kubernetes.io/name'] && labels['app.kubernetes.io/component'] === 'operator';
}
