/** Which operator leads, and its end. */
import assert from 'node:assert/strict';
import { NAMESPACE } from '../fleet/product.ts';
import type { Machine } from '../node/machine.ts';
import { waitFor } from '../wait.ts';
import { SOON, podsOf } from './world.ts';
import type { World } from './world.ts';

/** Two of them are available. */
export async function startSecondOperator({ fleet: { plane } }: World): Promise<void> {
  await plane.mustKubectl(['scale', '-n', NAMESPACE, 'deployment/kernelpatch-operator', '--replicas=2']);
  await plane.mustKubectl(['rollout', 'status', '-n', NAMESPACE, 'deployment/kernelpatch-operator', '--timeout=120s']);
}

/** The pod that holds the lease, as `pod/NAME`. */
export function leaderOf(world: World): Promise<string> {
  return waitFor('one operator to hold the lease', { seconds: SOON }, async () => {
    const holder = await readLease(world, 'holderIdentity');
    const pods = await podsOf(world, 'operator');
    return pods.find((pod) => holder.includes(pod.slice('pod/'.length)));
  });
}

/** How often the lease has passed to another process. */
export async function transitionsOf(world: World): Promise<number> {
  return Number(await readLease(world, 'leaseTransitions'));
}

function readLease({ fleet: { plane } }: World, field: string): Promise<string> {
  return plane.mustKubectl(['get', 'lease', '-n', NAMESPACE, 'kernelpatch-operator', '-o', `jsonpath={.spec.${field}}`]);
}

/** The node that the pod runs on. */
export async function nodeOf({ fleet: { plane, nodes } }: World, pod: string): Promise<Machine> {
  const name = await plane.mustKubectl(['get', '-n', NAMESPACE, pod, '-o', 'jsonpath={.spec.nodeName}']);
  const node = nodes.find(({ options }) => options.name === name);
  assert.ok(node, `${pod} runs on a node of ours`);
  return node;
}

/** The operator's process there is killed; its kubelet starts another one. */
export async function killOperator(node: Machine): Promise<void> {
  const killed = await node.must('for each in /proc/[0-9]*; do if grep -qzxF /app/operator.cjs $each/cmdline; then kill -9 ${each#/proc/} && echo killed; fi; done 2>/dev/null; true');
  assert.match(killed, /killed/, `an operator ran on ${node.options.name}`);
}
