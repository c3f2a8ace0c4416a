/** A load that stays in its transition for as long as a test wants: a task sleeps in a function that the patch replaces. */
import { SOON, apply, livePatch, place, policy, runningRelease, untilNodes, AGENT_START } from './world.ts';
import type { World } from './world.ts';
import { waitFor } from '../wait.ts';

const SLEEPER = '/run/kp_sleeper.ko';

/** Both nodes' kernels are in the transition of kp_held afterwards and stay in it until `letGo`. */
export async function holdBothNodes(world: World): Promise<void> {
  const sleeper = world.subject('kp_sleeper', runningRelease(world));
  for (const node of world.fleet.nodes) {
    await node.copyIn(sleeper.file, SLEEPER);
    await node.must(`insmod ${SLEEPER} && (setsid cat /proc/kp_sleeper >/dev/null 2>&1 &)`);
    await waitFor('a task to sleep in the function', { seconds: SOON }, async () => (await node.run('grep -l kp_sleeper_wait /proc/[0-9]*/stack')).code === 0 || undefined);
  }
  await apply(world, livePatch(world, 'held', await place(world, 'kp_held')), policy());
  await untilNodes(world, 'both nodes Transitioning', AGENT_START, (node) => node.status?.state === 'Transitioning');
}

/** The sleeping tasks return, so the transitions can end. */
export async function letGo(world: World): Promise<void> {
  for (const node of world.fleet.nodes) await node.must('echo 1 >/proc/kp_sleeper');
}
