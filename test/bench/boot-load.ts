/** What loading a live patch at boot costs a node's boot: the seconds of its unit, and when kubelet is started with it and without it. */
import { bootTimes } from '../e2e/boot.ts';
import type { BootTimes } from '../e2e/boot.ts';
import { AGENT_START, apply, flush, livePatch, place, policy, untilNodes } from '../e2e/world.ts';
import type { World } from '../e2e/world.ts';
import type { Machine } from '../node/machine.ts';
import { round } from './figure.ts';
import type { Figure } from './figure.ts';

export async function bootLoadCost(world: World): Promise<readonly Figure[]> {
  await apply(world, livePatch(world, 'first', await place(world, 'kp_first')), policy());
  await untilNodes(world, 'both nodes kept for their next boot', AGENT_START, ({ status }) => status?.boot?.state === 'Kept');
  const [without, ...loaded] = [await bootBoth(world, 'kernelpatch.boot=0'), await bootBoth(world, ''), await bootBoth(world, '')];
  const units = loaded.flat().map(({ unit }) => (unit === undefined ? Number.NaN : unit.to - unit.from));
  const value = round(Math.max(...units));
  const baseline = `kubelet was started ${meanStart(loaded.flat())} s after the kernel with it, ${meanStart(without ?? [])} s with kernelpatch.boot=0 (mean of two nodes at once)`;
  return [{ name: 'boot-load', value, unit: 's', baseline, goal: '<= 5', ok: value <= 5 }];
}

/** Both at once, since that is how the nodes of one machine are comparable. */
function bootBoth({ fleet, say }: World, words: string): Promise<readonly BootTimes[]> {
  return Promise.all(
    fleet.nodes.map(async (node: Machine) => {
      if (words) await node.nextBootWith(words);
      await flush(node);
      await node.powerOff();
      await node.boot();
      const times = await bootTimes(node);
      say(`${node.options.name} booted${words && ` with ${words}`}: ${JSON.stringify(times)}`);
      return times;
    }),
  );
}

function meanStart(boots: readonly BootTimes[]): number {
  return round(boots.reduce((sum, { kubelet }) => sum + kubelet, 0) / boots.length);
}
