/** The leader is killed before each of its writes in turn, and its successor knows nothing: the end is always the same. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { applyDecisions } from '../../../operator/apply.ts';
import { decide } from '../../../operator/decide.ts';
import { KernelPatchError } from '../../../operator/errors.ts';
import type { Writes } from '../../../operator/kube/writes.ts';
import { makePace } from '../../../operator/pace.ts';
import { RELEASE, aKernelPatch, aLivePatch, aPolicy } from './builders.ts';
import { FOREIGN, World } from './world.ts';
import type { Nature } from './world.ts';

const QUIET = { info: () => undefined, warn: () => undefined };
const NODES = ['n0', 'n1', 'n2'] as const;

const aPatch = () =>
  aKernelPatch({ name: 'fix', kernels: [{ release: RELEASE, state: 'Affected', livePatch: aLivePatch({ name: 'livepatch_fix', replace: false }) }] });

/** One operator after the other on one cluster. */
class Cluster {
  readonly world = new World();
  /** The writes that were made, in their order. */
  readonly made: (keyof Writes)[] = [];
  killed = false;
  #pace = makePace();
  readonly #writes: Writes;

  constructor(natures: readonly Nature[], killBefore: number) {
    natures.forEach((nature, index) => this.world.addNode(`n${index}`, nature));
    this.#writes = this.world.writes(async (make, verb) => {
      if (!this.killed && this.made.length === killBefore) {
        this.killed = true;
        throw new KernelPatchError('LeaseLost', 'killed');
      }
      this.made.push(verb);
      make();
    });
  }

  /** A pass a second, until long after everything that was begun has ended. */
  async run(): Promise<void> {
    for (let second = 0; second < 40; second += 1) {
      try {
        await applyDecisions(decide(this.world.view()), this.world.now, { writes: this.#writes, pace: this.#pace, log: QUIET, instance: 'test' });
      } catch (error) {
        if (!(error instanceof KernelPatchError)) throw error;
        this.#pace = makePace();
      }
      for (const name of this.world.machines.keys()) this.world.runAgent(name);
      this.world.now += 1000;
    }
  }

  loaded(name: string): readonly string[] {
    return [...(this.world.machines.get(name)?.loaded ?? [])].sort();
  }
}

interface Story {
  readonly natures: readonly Nature[];
  readonly tell: (cluster: Cluster) => Promise<void>;
  readonly assertEnd: (cluster: Cluster) => void;
}

const STORIES: Readonly<Record<string, Story>> = {
  'a rollout, node by node': {
    natures: ['Works', 'Works', 'Works'],
    async tell(cluster) {
      cluster.world.putPolicy(aPolicy({ rollout: { maxInFlight: '1', failureBudget: 1 } }));
      cluster.world.putKernelPatch(aPatch());
      await cluster.run();
    },
    assertEnd(cluster) {
      for (const name of NODES) assert.deepEqual(cluster.loaded(name), [FOREIGN, 'livepatch_fix']);
      assert.equal(cluster.world.kernelPatches.get('fix')?.status?.closed, '3/3');
      assert.deepEqual(cluster.world.policies.get('workers')?.status?.slots, []);
    },
  },
  'a withdrawal and the removal of the policy': {
    natures: ['Works', 'Works', 'Works'],
    async tell(cluster) {
      cluster.world.putPolicy(aPolicy({ rollout: { maxInFlight: '100%', failureBudget: 1 } }));
      cluster.world.putKernelPatch(aPatch());
      await cluster.run();
      const { spec, ...stored } = cluster.world.kernelPatches.get('fix') ?? aPatch();
      cluster.world.putKernelPatch({ ...stored, spec: { ...spec, withdrawn: true } });
      await cluster.run();
      cluster.world.policies.clear();
      await cluster.run();
    },
    assertEnd(cluster) {
      for (const name of NODES) assert.deepEqual(cluster.loaded(name), [FOREIGN]);
      assert.deepEqual([...cluster.world.nodeKernels.keys()], []);
    },
  },
  'a file that takes its first node down': {
    natures: ['Quarantines', 'Works', 'Works'],
    async tell(cluster) {
      cluster.world.putPolicy(aPolicy({ rollout: { maxInFlight: '1', failureBudget: 3 } }));
      await cluster.run();
      cluster.world.putKernelPatch(aPatch());
      await cluster.run();
    },
    assertEnd(cluster) {
      for (const name of NODES) assert.deepEqual(cluster.loaded(name), [FOREIGN], 'it is started nowhere else');
      const { nodes } = cluster.world.kernelPatches.get('fix')?.status ?? {};
      assert.deepEqual([nodes?.failed, nodes?.blocked], [1, 2]);
    },
  },
};

async function play({ natures, tell, assertEnd }: Story, killBefore: number): Promise<Cluster> {
  const cluster = new Cluster(natures, killBefore);
  await tell(cluster);
  assert.deepEqual(cluster.world.violations, [], `killed before write ${killBefore}`);
  assertEnd(cluster);
  return cluster;
}

for (const [what, story] of Object.entries(STORIES)) {
  test(`an operator killed before any of its writes in ${what} changes nothing about its end`, async (t) => {
    const { made } = await play(story, Infinity);
    t.diagnostic(`effects: ${made.join(' ')}`);
    for (let write = 0; write < made.length; write += 1) assert.ok((await play(story, write)).killed, `write ${write} was reached`);
  });
}
