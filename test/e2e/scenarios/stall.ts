import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from '../../cache.ts';
import { waitFor } from '../../wait.ts';
import { SLEEP, untilAsleep } from '../held.ts';
import type { Scenario } from '../scenario.ts';
import { AGENT_START, SOON, apply, assertHealthyKernel, effect, livePatch, loadByHand, patchOf, place, policy, untilNode } from '../world.ts';

const TRANSITION_SECONDS = 20;
/** The kernel's fake signal comes after this long (kernel/livepatch/transition.c, SIGNALS_TIMEOUT). */
const SIGNAL_SECONDS = 15;

export const stall: Scenario = {
  name: 'stall',
  title: 'a pod that holds a transition is named and the transition reversed, never forced; an interruptible sleeper is freed by the kernel; when the pod ends the load succeeds',
  async run(world) {
    const [first, second] = world.fleet.nodes;
    await loadByHand(world, first, 'kp_sleeper');
    await loadByHand(world, second, 'kp_sleeper', 'interruptible=1');
    await apply(world, sleepingPod(first.options.name));
    await second.must(SLEEP);
    await untilAsleep(first, AGENT_START);
    await untilAsleep(second);

    await apply(world, livePatch(world, 'held', await place(world, 'kp_held')), policy({ livePatch: { transitionSeconds: TRANSITION_SECONDS } }));
    const named = await untilNode(world, { name: first.options.name, what: 'the pod that holds the transition to be named', seconds: AGENT_START + SIGNAL_SECONDS }, ({ status }) => patchOf(status, 'kp_held')?.stalledTasks !== undefined);
    const [task] = patchOf(named.status, 'kp_held')?.stalledTasks ?? [];
    assert.equal(task?.pod, 'default/sleeper');
    assert.equal(task.comm, 'sh');
    assert.ok(task.stack?.includes('kp_sleeper_wait'), String(task.stack));
    assert.equal((await first.must(`cat /proc/${task.pid}/comm`)).trim(), 'sh', 'the PID is that of the node');

    const reversed = await untilNode(world, { name: first.options.name, what: 'the transition reversed', seconds: TRANSITION_SECONDS + SOON }, ({ status }) => patchOf(status, 'kp_held')?.message.includes('was reversed') ?? false);
    const message = patchOf(reversed.status, 'kp_held')?.message ?? '';
    assert.match(message, /within 20 s and was reversed: held by sh \(PID \d+\) in pod default\/sleeper/);
    await waitFor('the kernel to have reversed it', { seconds: SOON }, async () => (await first.run("dmesg | grep \"'kp_held': unpatching complete\"")).code === 0 || undefined);

    await untilNode(world, { name: second.options.name, what: 'the interruptible sleeper to be freed', seconds: SOON }, ({ status }) => status?.state === 'Active');
    assert.match(await second.must('dmesg'), /livepatch: signaling remaining tasks/);

    await world.fleet.plane.mustKubectl(['delete', 'pod', 'sleeper', '--grace-period=1']);
    const active = await untilNode(world, { name: first.options.name, what: 'Active without the pod', seconds: 2 * TRANSITION_SECONDS + SOON }, ({ status }) => status?.state === 'Active');
    assert.ok((patchOf(active.status, 'kp_held')?.attempts ?? 0) >= 2, 'it took another attempt');
    for (const node of [first, second]) {
      assert.match(await effect(node), /closed by kp_held/);
      assert.doesNotMatch(await node.must('dmesg'), /livepatch: .*forc/);
      await assertHealthyKernel(node);
    }
  },
};

/** Reads /proc/kp_sleeper in the one image that every node has. */
function sleepingPod(nodeName: string): object {
  const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string };
  const container = { name: 'sleeper', image: `localhost/kernelpatch:${version}`, imagePullPolicy: 'Never', command: ['sh', '-c', 'read line </proc/kp_sleeper; read line <&2'], securityContext: { runAsUser: 0 } };
  return { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'sleeper', namespace: 'default' }, spec: { nodeName, terminationGracePeriodSeconds: 1, containers: [container] } };
}
