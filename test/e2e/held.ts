/** A load that stays in its transition for as long as a test wants: a task sleeps in a function that the patch replaces. */
import { AGENT_START, SOON, apply, livePatch, loadByHand, place, policy, untilNodes } from './world.ts';
import type { World } from './world.ts';
import type { Machine } from '../node/machine.ts';
import { waitFor } from '../wait.ts';

/** Shell: a process of the node that sleeps in the function. */
export const SLEEP = '(setsid cat /proc/kp_sleeper >/dev/null 2>&1 &)';

export async function untilAsleep(node: Machine, seconds = SOON): Promise<void> {
  await waitFor('a task to sleep in the function', { seconds }, async () => (await node.run('grep -l kp_sleeper_wait /proc/[0-9]*/stack')).code === 0 || undefined);
}

/** Both nodes' kernels are in the transition of kp_held afterwards and stay in it until `letGo`. */
export async function holdBothNodes(world: World): Promise<void> {
  for (const node of world.fleet.nodes) {
    await loadByHand(world, node, 'kp_sleeper');
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
