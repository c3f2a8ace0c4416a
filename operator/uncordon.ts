/** Which cordons of ours have lost their order, pure. Whoever leads finds them by the nodes themselves, whatever was being done when they were made. */
import type { RebootOrder } from '../crds/nodekernel.ts';
import type { NodeView } from './observe.ts';
import { isCordoned } from './reboot.ts';

export interface Uncordon {
  readonly node: NodeView;
  /** Of the order that it was cordoned for. */
  readonly id: string;
}

/** `orders` are those that stand, by node. A node of no policy has none. */
export function decideUncordons(nodes: Iterable<NodeView>, orders: ReadonlyMap<string, RebootOrder>): readonly Uncordon[] {
  return [...nodes].flatMap((node) => {
    const { name, cordonedFor: id } = node;
    if (id === undefined) return [];
    const order = orders.get(name);
    return order?.id === id && isCordoned(order) ? [] : [{ node, id }];
  });
}
