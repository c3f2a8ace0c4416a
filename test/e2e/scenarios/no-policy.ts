import assert from 'node:assert/strict';
import { NAMESPACE, RELEASE } from '../../fleet/product.ts';
import { waitFor } from '../../wait.ts';
import type { Scenario } from '../scenario.ts';
import { AGENT_START, SOON, apply, livePatch, place, podsOf, policy, untilNodes } from '../world.ts';
import type { World } from '../world.ts';

export const noPolicy: Scenario = {
  name: 'no-policy',
  title: 'without a policy there is no privileged pod; the last policy takes the agents with it; helm uninstall leaves nothing in the cluster',
  async run(world) {
    const { plane } = world.fleet;
    const patch = await place(world, 'kp_first');
    await apply(world, livePatch(world, 'first', patch));
    assert.deepEqual(await privilegedPods(world), []);
    assert.deepEqual(await podsOf(world, 'agent'), []);

    await apply(world, policy());
    await untilNodes(world, 'both nodes Active', AGENT_START, (node) => node.status?.state === 'Active');
    assert.equal((await privilegedPods(world)).length, 2);

    await plane.mustKubectl(['delete', 'patchpolicy', 'all']);
    await waitFor('the agents to be gone', { seconds: SOON * 2 }, async () => (await podsOf(world, 'agent')).length === 0 || undefined);
    assert.deepEqual(await privilegedPods(world), []);
    assert.equal((await plane.mustKubectl(['get', 'nodekernels', '-o', 'name'])).trim(), '');
    for (const node of world.fleet.nodes) assert.match(await node.must('cat /proc/version'), /closed by kp_first/, 'removing the product unloads nothing');

    await apply(world, policy());
    await untilNodes(world, 'the agents are back', AGENT_START, (node) => node.status?.state === 'Active');
    const { code, stderr } = await plane.helm(['uninstall', RELEASE, '--namespace', NAMESPACE, '--wait', '--timeout', '3m']);
    assert.equal(code, 0, stderr);
    await waitFor('the pods to be gone', { seconds: SOON * 2 }, async () => (await plane.mustKubectl(['get', 'pods', '-n', NAMESPACE, '-o', 'name'])).trim() === '' || undefined);
    let left: readonly string[] = [];
    // What the Deployment owned is collected by the garbage collector, a moment later.
    await waitFor('the cluster to hold nothing of ours', { seconds: SOON, every: 1000 }, async () => {
      left = await leftovers(world);
      return left.length === 0 || undefined;
    }, () => left);
    for (const node of world.fleet.nodes) {
      // Images and the logs of ended containers are containerd's and kubelet's to collect.
      const files = await node.must('find / -xdev -name "*kernelpatch*" | grep -v -e ^/var/lib/containerd/ -e ^/run/containerd/ -e ^/var/log/pods/ -e ^/var/log/containers/ || true');
      assert.equal(files.trim(), '', 'no file of ours on the node');
    }
  },
};

async function privilegedPods(world: World): Promise<readonly string[]> {
  const pods = JSON.parse(await world.fleet.plane.mustKubectl(['get', 'pods', '-A', '-o', 'json'])) as { items: { metadata: { name: string }; spec: { containers: { securityContext?: { privileged?: boolean } }[] } }[] };
  return pods.items.filter((pod) => pod.spec.containers.some((container) => container.securityContext?.privileged)).map((pod) => pod.metadata.name);
}

/** Every object of the cluster, of whatever kind, whose name or labels are ours. Events expire by themselves. */
async function leftovers(world: World): Promise<readonly string[]> {
  const { plane } = world.fleet;
  const kinds = (await plane.mustKubectl(['api-resources', '--verbs=list', '-o', 'name'])).trim().split('\n').filter((kind) => !kind.startsWith('events'));
  const objects = await plane.mustKubectl(['get', kinds.join(','), '-A', '--ignore-not-found', '-o', 'custom-columns=KIND:.kind,NAME:.metadata.name,LABEL:.metadata.labels.app\\.kubernetes\\.io/name', '--no-headers']);
  return objects.split('\n').filter((line) => line.includes('kernelpatch') && !/^Namespace +/.test(line));
}
