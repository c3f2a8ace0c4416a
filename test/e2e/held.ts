/** A load that stays in its transition for as long as a test wants: a task sleeps in a function that the patch replaces. */
import { SOON, apply, livePatch, place, policy, runningRelease, untilNodes, AGENT_START } from './world.ts';
import type { World } from './world.ts';
import type { Machine } from '../node/machine.ts';
import { waitFor } from '../wait.ts';

const SLEEPER = '/run/kp_sleeper.ko';

/** Shell: a process of the node that sleeps in the function. */
export const SLEEP = '(setsid cat /proc/kp_sleeper >/dev/null 2>&1 &)';

/** Reading /proc/kp_sleeper on this node sleeps from now on; with interruptible=1 until a signal. */
export async function loadSleeper(world: World, node: Machine, parameters = ''): Promise<void> {
  await node.copyIn(world.subject('kp_sleeper', runningRelease(world)).file, SLEEPER);
  await node.must(`insmod ${SLEEPER} ${parameters}`);
}

export async function untilAsleep(node: Machine, seconds = SOON): Promise<void> {
  await waitFor('a task to sleep in the function', { seconds }, async () => (await node.run('grep -l kp_sleeper_wait /proc/[0-9]*/stack')).code === 0 || undefined);
}

/** Both nodes' kernels are in the transition of kp_held afterwards and stay in it until `letGo`. */
export async function holdBothNodes(world: World): Promise<void> {
  for (const node of world.fleet.nodes) {
    await loadSleeper(world, node);
    await node.must(SLEEP);
    await untilAsleep(node);
  }
  await apply(world, livePatch(world, 'held', await place(world, 'kp_held')), policy());
  await untilNodes(world, 'both nodes Transitioning', AGENT_START, (node) => node.status?.state === 'Transitioning');
}

/** The sleeping tasks return, so the transitions can end. */
export async function letGo(world: World): Promise<void> {
  for (const node of world.fleet.nodes) await node.must('echo 1 >/proc/kp_sleeper');
}
