/** Everything that befalls objects of one kind while a scenario runs: what is true all the while can not be seen by asking now and then. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { startDaemon, tailOf } from '../process.ts';
import { waitFor } from '../wait.ts';
import { SOON } from './world.ts';
import type { World } from './world.ts';

export interface Watch {
  /** The fields of each version of each object, in the order of their writing, those it began with first. The watch has ended. */
  end(): Promise<readonly Seen[]>;
}

export interface Seen {
  readonly name: string;
  /** Empty where the object has none. */
  readonly fields: readonly string[];
}

/** Begun when it resolves, which takes an object. `paths` are jsonpaths without braces. */
export async function watch(world: World, resource: string, paths: readonly string[]): Promise<Watch> {
  const { dir, plane } = world.fleet;
  const log = join(dir, `watch-${resource}-${performance.now().toFixed(0)}.log`);
  const template = `jsonpath={.metadata.name}${paths.map((path) => `|{${path}}`).join('')}{"\\n"}`;
  const daemon = startDaemon(`watch of ${resource}`, [join(plane.bin, 'kubectl'), '--kubeconfig', plane.kubeconfig, 'get', resource, '--watch', '-o', template], { log });
  const read = () => readFileSync(log, 'utf8').split('\n').slice(0, -1);
  await waitFor(`the watch of ${resource} to begin`, { seconds: SOON }, () => read().length > 0 || undefined, () => tailOf(daemon));
  return {
    async end() {
      assert.ok(daemon.running(), `the watch of ${resource} has ended by itself: ${tailOf(daemon)}`);
      await daemon.stop();
      return read().map((line) => {
        const [name = '', ...fields] = line.split('|');
        assert.equal(fields.length, paths.length, `the watch of ${resource} printed: ${line}`);
        return { name, fields };
      });
    },
  };
}

const CORDONED = '.spec.unschedulable';
const READY = '.status.conditions[?(@.type=="Ready")].status';

export const watchNodes = (world: World): Promise<Watch> => watch(world, 'nodes', [CORDONED, READY]);
const isCordoned = ({ fields: [cordoned] }: Seen) => cordoned === 'true';
const isOut = (seen: Seen) => isCordoned(seen) || seen.fields[1] !== 'True';

/** Of what `watchNodes` saw: the most nodes that were cordoned at once. */
export const mostCordoned = (seen: readonly Seen[]): readonly string[] => mostAtOnce(seen, isCordoned);
/** The most that were cordoned or not Ready. */
export const mostOut = (seen: readonly Seen[]): readonly string[] => mostAtOnce(seen, isOut);

function mostAtOnce(seen: readonly Seen[], is: (seen: Seen) => boolean): readonly string[] {
  const now = new Set<string>();
  let most: readonly string[] = [];
  for (const each of seen) {
    if (is(each)) now.add(each.name);
    else now.delete(each.name);
    if (now.size > most.length) most = [...now];
  }
  return most;
}

/** The phases of the orders, by node and in their order. */
export const watchOrders = (world: World): Promise<Watch> => watch(world, 'nodekernels', ['.spec.reboot.id', '.spec.reboot.phase']);

/** Of what `watchOrders` saw: the phases of one node, each once, and how many orders they were of. */
export function phasesOf(seen: readonly Seen[], name: string): { readonly phases: readonly string[]; readonly orders: number } {
  const own = seen.filter((each) => each.name === name && each.fields[0] !== '');
  const phases = own.map(({ fields: [, phase = ''] }) => phase);
  return { phases: phases.filter((phase, index) => phase !== phases[index - 1]), orders: new Set(own.map(({ fields: [id] }) => id)).size };
}
