/** What loading a live patch at boot costs a node's boot: by how much later kubelet is started with it than without it. Its unit runs beside others, which wait for the same processor. */
import { bootTimes } from '../e2e/boot.ts';
import type { BootTimes } from '../e2e/boot.ts';
import { AGENT_START, apply, livePatch, place, policy, timesEnabled, untilNodes } from '../e2e/world.ts';
import type { World } from '../e2e/world.ts';
import type { Machine } from '../node/machine.ts';
import { round } from './figure.ts';
import type { Figure } from './figure.ts';

const ROUNDS = 2;

export async function bootLoadCost(world: World): Promise<readonly Figure[]> {
  await apply(world, livePatch(world, 'first', await place(world, 'kp_first')), policy());
  await untilNodes(world, 'both nodes kept for their next boot', AGENT_START, ({ status }) => status?.boot?.state === 'Kept');
  // By turns, and as many of each: what else the machine does changes from boot to boot.
  const skipped: BootTimes[] = [];
  const loaded: BootTimes[] = [];
  for (let round_ = 0; round_ < ROUNDS; round_++) {
    skipped.push(...(await bootBoth(world, 'kernelpatch.boot=0')));
    loaded.push(...(await bootBoth(world, '')));
  }
  const [without, with_] = [meanStart(skipped), meanStart(loaded)];
  const unit = round(Math.max(...loaded.map((times) => (times.unit === undefined ? Number.NaN : times.unit.to - times.unit.from))));
  const value = round(with_ - without);
  const baseline = `kubelet was started ${without} s after the kernel with kernelpatch.boot=0, ${with_} s with the load, whose unit took ${unit} s at most (means of ${loaded.length} boots, two nodes at once)`;
  return [{ name: 'boot-load', value, unit: 's', baseline, goal: '<= 5', ok: value <= 5 }];
}

/** Both at once, since that is how the nodes of one machine are comparable. In order: after two boots that were cut off the load would be held back. */
function bootBoth({ fleet, say }: World, words: string): Promise<readonly BootTimes[]> {
  return Promise.all(
    fleet.nodes.map(async (node: Machine) => {
      if (words) await node.nextBootWith(words);
      await node.reboot('init');
      const times = await bootTimes(node);
      if ((times.unit !== undefined) !== ((await timesEnabled(node, 'kp_first')) > 0)) throw new Error(`${node.options.name}: the unit ran and has loaded nothing`);
      say(`${node.options.name} booted${words && ` with ${words}`}: ${JSON.stringify(times)}`);
      return times;
    }),
  );
}

function meanStart(boots: readonly BootTimes[]): number {
  return round(boots.reduce((sum, { kubelet }) => sum + kubelet, 0) / boots.length);
}
