/** Which policy a node belongs to. */
import type { KernelPatch } from '../crds/kernelpatch.ts';
import type { PatchPolicy } from '../crds/patchpolicy.ts';
import type { NodeView, View } from './observe.ts';
import { selects } from './selector.ts';

export interface Assignment {
  readonly policy: PatchPolicy;
  /** The nodes that belong to the policy, by name. */
  readonly nodes: readonly NodeView[];
  /** The KernelPatches it selects, oldest first. */
  readonly kernelPatches: readonly KernelPatch[];
  /** Nodes it selects that belong to an older policy, by name. */
  readonly lost: readonly { readonly node: string; readonly to: string }[];
}

/** One assignment for each policy, oldest first. A node that several policies select belongs to the oldest of them. */
export function assign(view: View): readonly Assignment[] {
  const owner = new Map<string, string>();
  const nodes = [...view.nodes.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  return view.policies.map((policy) => {
    const { nodeSelector, patchSelector } = policy.spec;
    const selected = nodes.filter((node) => selects(nodeSelector, node.labels));
    const lost = selected.flatMap(({ name }) => {
      const to = owner.get(name);
      return to === undefined ? [] : [{ node: name, to }];
    });
    const own = selected.filter(({ name }) => !owner.has(name));
    for (const { name } of own) owner.set(name, policy.metadata.name);
    return { policy, nodes: own, lost, kernelPatches: view.kernelPatches.filter(({ metadata }) => selects(patchSelector, metadata.labels ?? {})) };
  });
}
