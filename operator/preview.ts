/** Whose drains are looked at ahead, and when, pure: of nodes whose plan is a kexec or a reboot, so that the plan says what a drain would run into before anybody consents to one. */
import type { DrainPreview } from '../crds/nodekernel.ts';
import type { DrainOptions } from '../crds/patchpolicy.ts';
import { actionOf } from './plan.ts';
import type { NodePlan } from './plan.ts';
import { isReboot } from './target.ts';

export interface DrainAsk {
  readonly node: string;
  readonly options: DrainOptions;
  /** Another one means that the node or its policy has changed, so that a preview of before is old. */
  readonly key: string;
}

export interface Preview {
  readonly node: string;
  readonly key: string;
  /** When the pods were read, in milliseconds since 1970. */
  readonly at: number;
  readonly drain: DrainPreview;
}

/** 5 min: pods come and go, and a preview that differs costs a write of the NodeKernel and one of its agent. */
const PREVIEW_MS = 300_000;

export function askFor({ node, policy, bootID, patches }: NodePlan): DrainAsk | undefined {
  const action = actionOf(patches);
  const { drain } = policy.spec;
  return isReboot(action) ? { node, options: drain, key: JSON.stringify([action, bootID, drain]) } : undefined;
}

/** True when both ask for the same. */
export function areSame(a: readonly DrainAsk[], b: readonly DrainAsk[]): boolean {
  return a.length === b.length && a.every(({ node, key }, index) => node === b[index]?.node && key === b[index].key);
}

/** In how many milliseconds it is to be looked at; 0 is now. */
export function dueInMs({ node, key }: DrainAsk, known: ReadonlyMap<string, Preview>, now: number): number {
  const preview = known.get(node);
  return preview?.key === key ? Math.max(0, preview.at + PREVIEW_MS - now) : 0;
}
