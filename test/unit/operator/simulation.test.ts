/** Many clusters, many orders of events, seeded: leaders that die between two writes, two leaders at once, stale views, lost answers, reboots, silent agents. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { decide } from '../../../operator/decide.ts';
import { RELEASE, aKernelPatch, aLivePatch, aPolicy } from './builders.ts';
import { FatedWrites, UNDISTURBED } from './fate.ts';
import type { Fate } from './fate.ts';
import { Leader } from './leader.ts';
import { FOREIGN } from './machine.ts';
import type { Nature } from './machine.ts';
import { World } from './world.ts';

/** FAST_CHECK_RUNS and FAST_CHECK_SEED repeat or extend a run; a failure prints the seed and the smallest example. */
const RUNS = Number(process.env['FAST_CHECK_RUNS'] ?? 150);
const seed = process.env['FAST_CHECK_SEED'];

/** One pass of a leader. */
interface Turn extends Fate {
  readonly index: number;
  /** Decides on the view it had before. */
  readonly stale: boolean;
}

type Step =
  | { readonly kind: 'Lead'; readonly leaders: readonly Turn[] }
  | { readonly kind: 'Agent'; readonly node: number }
  | { readonly kind: 'Reboot'; readonly node: number }
  | { readonly kind: 'Kubelet'; readonly node: number }
  | { readonly kind: 'Wait'; readonly seconds: number }
  | { readonly kind: 'Release'; readonly patch: number }
  | { readonly kind: 'Withdraw'; readonly patch: number };

const patchOf = (index: number, withdrawn = false) =>
  aKernelPatch({
    name: `fix-${index}`,
    withdrawn,
    cves: [`CVE-2026-100${index}`],
    kernels: [{ release: RELEASE, state: 'Affected', livePatch: aLivePatch({ name: `livepatch_${index}`, sha256: String(index).repeat(64), replace: false }) }],
  });

const seldom = fc.oneof({ weight: 3, arbitrary: fc.constant(Infinity) }, fc.nat(4));
const leaderTurn: fc.Arbitrary<Turn> = fc.record({ index: fc.nat(1), stale: fc.boolean(), deadAt: seldom, failsAt: seldom, answerLost: fc.boolean() });
const CALM: Turn = { index: 0, stale: false, ...UNDISTURBED };
const stepArbitrary: fc.Arbitrary<Step> = fc.oneof(
  { weight: 5, arbitrary: fc.record({ kind: fc.constant('Lead'), leaders: fc.uniqueArray(leaderTurn, { minLength: 1, maxLength: 2, selector: ({ index }) => index }) }) },
  { weight: 6, arbitrary: fc.record({ kind: fc.constant('Agent'), node: fc.nat(7) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('Reboot'), node: fc.nat(7) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('Kubelet'), node: fc.nat(7) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('Wait'), seconds: fc.integer({ min: 1, max: 700 }) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('Release'), patch: fc.nat(2) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('Withdraw'), patch: fc.nat(2) }) },
);
const clusterArbitrary = fc.record({
  natures: fc.array(fc.oneof({ weight: 6, arbitrary: fc.constant<Nature>('Works') }, fc.constantFrom<Nature>('Fails', 'Refuses', 'Silent')), { minLength: 1, maxLength: 8 }),
  maxInFlight: fc.constantFrom('1', '2', '25%', '100%'),
  failureBudget: fc.integer({ min: 1, max: 3 }),
  steps: fc.array(stepArbitrary, { maxLength: 60 }),
});

class Simulation {
  readonly world = new World();
  readonly leaders: readonly { readonly leader: Leader; readonly writes: FatedWrites }[];
  readonly names: readonly string[];
  readonly #scheduler: fc.Scheduler;

  constructor({ natures, maxInFlight, failureBudget }: { natures: readonly Nature[]; maxInFlight: string; failureBudget: number }, scheduler: fc.Scheduler) {
    this.#scheduler = scheduler;
    this.leaders = [0, 1].map(() => {
      const writes = new FatedWrites(scheduler);
      return { leader: new Leader(this.world, (make) => writes.write(make)), writes };
    });
    this.names = natures.map((_, index) => `n${index}`);
    natures.forEach((nature, index) => this.world.addNode(`n${index}`, { nature }));
    this.world.putPolicy(aPolicy({ rollout: { maxInFlight, failureBudget }, livePatch: { taintUntilPatched: true } }));
    this.world.putKernelPatch(patchOf(0));
  }

  async take(step: Step): Promise<void> {
    switch (step.kind) {
      case 'Lead': {
        const turns = step.leaders.map((turn) => this.lead(turn));
        await this.#scheduler.waitFor(Promise.all(turns));
        return;
      }
      case 'Agent':
        this.world.runAgent(this.#name(step.node));
        return;
      case 'Reboot':
        this.world.boot(this.#name(step.node));
        return;
      case 'Kubelet':
        this.world.runKubelet(this.#name(step.node));
        return;
      case 'Wait':
        this.world.now += step.seconds * 1000;
        return;
      case 'Release':
        if (!this.world.kernelPatches.has(`fix-${step.patch}`)) this.world.putKernelPatch(patchOf(step.patch));
        return;
      case 'Withdraw': {
        const stored = this.world.kernelPatches.get(`fix-${step.patch}`);
        if (stored) this.world.putKernelPatch({ ...stored, spec: { ...stored.spec, withdrawn: true } });
        return;
      }
      default:
        step satisfies never;
    }
  }

  #name(index: number): string {
    return this.names[index % this.names.length] ?? '';
  }

  /** One that dies comes back knowing nothing. */
  async lead(turn: Turn): Promise<void> {
    const chosen = this.leaders[turn.index];
    chosen?.writes.begin(turn);
    await chosen?.leader.lead(turn.stale ? 'All' : 'Nothing');
    if (chosen?.writes.isDead) chosen.leader.die();
  }

  /** Every node has its NodeKernel and has reported. */
  async introduce(): Promise<void> {
    await this.#scheduler.waitFor(this.lead(CALM));
    for (const name of this.names) this.world.runAgent(name);
  }

  /** Everything that can go on goes on, with one living leader. */
  async settle(): Promise<void> {
    for (const name of this.names) this.world.runKubelet(name);
    for (let round = 0; round < 12 * this.names.length + 20; round += 1) {
      await this.#scheduler.waitFor(this.lead(CALM));
      for (const name of this.names) this.world.runAgent(name);
      this.world.now += 61_000;
    }
  }
}

test('whatever happens, the budget holds, every node comes to an end, what is withdrawn is gone, and a node that is as patched as before is not tainted', async () => {
  await fc.assert(
    fc.asyncProperty(clusterArbitrary, fc.scheduler(), async (cluster, scheduler) => {
      const simulation = new Simulation(cluster, scheduler);
      await simulation.introduce();
      for (const step of cluster.steps) await simulation.take(step);
      await simulation.settle();

      const { world } = simulation;
      assert.deepEqual(world.violations, []);
      const { verdicts, policies, intents, taints } = decide(world.view());
      assert.deepEqual(verdicts.filter(({ moves }) => moves), [], 'a node has not come to an end');
      assert.deepEqual([policies.length, intents.length, taints.length], [0, 0, 0], 'the stored state is not the decided one');
      for (const [name, { machine: { nature, loaded } }] of world.places) {
        const node = world.node(name);
        assert.ok(loaded.has(FOREIGN), `the foreign live patch of ${node.name} is gone`);
        assert.ok(!node.tainted || nature === 'Fails' || nature === 'Refuses', `${node.name} is tainted and ${nature}`);
        if (nature === 'Silent') continue;
        for (const { metadata, spec } of world.kernelPatches.values()) {
          const module = spec.kernels[0]?.livePatch?.name ?? '';
          if (spec.withdrawn) assert.ok(!loaded.has(module), `${metadata.name} is withdrawn and ${module} is loaded on ${node.name}`);
          else if (verdicts.some((each) => each.node === node.name && each.kernelPatch === metadata.name && each.verdict === 'Closed')) assert.ok(loaded.has(module), `${module} is called active on ${node.name} and is not there`);
        }
      }
    }),
    { numRuns: RUNS, ...(seed !== undefined && { seed: Number(seed) }) },
  );
});

test('a rollout of two nodes that is not disturbed costs two writes of the policy and one of the KernelPatch', async () => {
  const world = new World();
  world.addNode('n0');
  world.addNode('n1');
  world.putPolicy(aPolicy({ rollout: { maxInFlight: '100%' } }));
  const counted: Record<string, number> = {};
  const leader = new Leader(world, async (make, what) => {
    counted[what] = (counted[what] ?? 0) + 1;
    return make();
  });
  /** A pass each 100 ms; the agents look after every third. */
  async function run(passes: number): Promise<void> {
    for (let pass = 1; pass <= passes; pass += 1) {
      await leader.lead();
      if (pass % 3 === 0) for (const name of world.places.keys()) world.runAgent(name);
      world.now += 100;
    }
  }
  await run(30);
  for (const what of Object.keys(counted)) delete counted[what];
  world.putKernelPatch(patchOf(0));
  await run(30);
  assert.deepEqual(counted, { 'replaceStatus PatchPolicy': 2, 'merge NodeKernel': 2, 'replaceStatus KernelPatch': 1, 'create Event': 1 });
});
