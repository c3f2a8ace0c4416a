/** Many clusters that boot into a fixed kernel, many orders of events, seeded: leaders that die between two writes, two at once, watches that lag behind, lost answers, power cuts, nodes that are deleted and come again, people who cordon and change their minds. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { isActive } from '../../../crds/nodekernel.ts';
import type { KernelPatch } from '../../../crds/kernelpatch.ts';
import { decide } from '../../../operator/decide.ts';
import { FIXED_RELEASE, OTHER_RELEASE, RELEASE, aKernelPatch, aPolicy } from './builders.ts';
import { FatedWrites, UNDISTURBED } from './fate.ts';
import type { Fate } from './fate.ts';
import { Leader } from './leader.ts';
import type { Stale } from './leader.ts';
import type { BootNature, MachineFields, PackageNature } from './machine.ts';
import { World } from './world.ts';
import type { PodNature } from './world.ts';

/** As in simulation.test.ts. */
const RUNS = Number(process.env['FAST_CHECK_RUNS'] ?? 60);
const seed = process.env['FAST_CHECK_SEED'];

/** One pass of a leader, or one look at its drains. */
interface Turn extends Fate {
  readonly index: number;
  readonly what: 'lead' | 'drain';
  readonly stale: Stale;
}

/** What happens at a node. Recordon: a person uncordons it and cordons it again. Relent: nothing holds its pod any more. Delete: its Node is deleted; Collect: and its NodeKernel collected. Register: its kubelet starts anew. */
type NodeAct = 'Agent' | 'PowerCut' | 'Boot' | 'Kubelet' | 'Cordon' | 'Uncordon' | 'Recordon' | 'Relent' | 'Delete' | 'Collect' | 'Register';

type Step =
  | { readonly kind: 'Lead'; readonly turns: readonly Turn[] }
  | { readonly kind: 'Node'; readonly act: NodeAct; readonly node: number }
  | { readonly kind: 'Wait'; readonly seconds: number }
  | { readonly kind: 'Mode'; readonly mode: 'Apply' | 'Plan' }
  | { readonly kind: 'Retry'; readonly word: string }
  | { readonly kind: 'Release' };

/** Closed on the old kernel, and not known to be closed on the other one. */
const CLOSED = aKernelPatch({ name: 'closed', cves: ['CVE-2026-1001'], kernels: [{ release: RELEASE, state: 'NotAffected' }, { release: FIXED_RELEASE, state: 'Fixed' }] });
const FIX = aKernelPatch({ name: 'fix', cves: ['CVE-2026-1002'], kernels: [{ release: RELEASE, state: 'Affected', rebootInto: FIXED_RELEASE, package: { name: 'linux-image-fixed' } }, { release: FIXED_RELEASE, state: 'Fixed' }] });
/** Asks for a kernel that would open the nodes to the first. */
const TRAP = aKernelPatch({ name: 'trap', cves: ['CVE-2026-1003'], kernels: [{ release: RELEASE, state: 'Affected', rebootInto: OTHER_RELEASE }, { release: OTHER_RELEASE, state: 'Fixed' }, { release: FIXED_RELEASE, state: 'Affected', rebootInto: OTHER_RELEASE }] });

const CALM = { stale: 'Nothing', ...UNDISTURBED } as const;
const seldom = fc.oneof({ weight: 3, arbitrary: fc.constant(Infinity) }, fc.nat(4));
const turn: fc.Arbitrary<Turn> = fc.record({
  index: fc.nat(1),
  what: fc.oneof({ weight: 2, arbitrary: fc.constant('lead' as const) }, fc.constant('drain' as const)),
  stale: fc.oneof({ weight: 3, arbitrary: fc.constant<Stale>('Nothing') }, fc.constantFrom<Stale>('All', 'NodeKernels')),
  deadAt: seldom,
  failsAt: seldom,
  answerLost: fc.boolean(),
});
const atNode = (weight: number, ...acts: NodeAct[]) => ({ weight, arbitrary: fc.record({ kind: fc.constant('Node' as const), act: fc.constantFrom(...acts), node: fc.nat(4) }) });
const stepArbitrary: fc.Arbitrary<Step> = fc.oneof(
  { weight: 12, arbitrary: fc.record({ kind: fc.constant('Lead'), turns: fc.uniqueArray(turn, { minLength: 1, maxLength: 2, selector: ({ index }) => index }) }) },
  atNode(12, 'Agent'),
  atNode(4, 'Boot', 'Kubelet'),
  atNode(3, 'PowerCut', 'Cordon', 'Uncordon', 'Recordon', 'Relent'),
  atNode(1, 'Delete', 'Collect', 'Register', 'Register'),
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('Wait'), seconds: fc.oneof(fc.integer({ min: 1, max: 30 }), fc.integer({ min: 1, max: 1000 })) }) },
  { weight: 1, arbitrary: fc.oneof(fc.record({ kind: fc.constant('Mode'), mode: fc.constantFrom('Apply', 'Plan') }), fc.record({ kind: fc.constant('Retry'), word: fc.constantFrom('a', 'b') }), fc.constant<Step>({ kind: 'Release' })) },
);
const machineArbitrary: fc.Arbitrary<MachineFields & { readonly pods: PodNature }> = fc.record({
  boot: fc.oneof({ weight: 5, arbitrary: fc.constant<BootNature>('Proves') }, fc.constantFrom<BootNature>('RefusesKexec', 'ComesBackByFirmware', 'NeverReturns', 'StaysNotReady', 'ForgetsJournal')),
  byDefault: fc.constantFrom(RELEASE, FIXED_RELEASE),
  package: fc.oneof({ weight: 3, arbitrary: fc.constant(undefined) }, fc.constantFrom<PackageNature>('Installs', 'Unknown')),
  pods: fc.constantFrom('None', 'Moves', 'Moves', 'Blocked', 'Hangs'),
});
const clusterArbitrary = fc.record({
  machines: fc.array(machineArbitrary, { minLength: 1, maxLength: 5 }),
  maxDisruption: fc.constantFrom('Kexec', 'Reboot'),
  onKexecFailure: fc.constantFrom('Firmware', 'Block'),
  setDefault: fc.boolean(),
  onTimeout: fc.constantFrom('Park', 'Delete'),
  maxUnavailable: fc.constantFrom('1', '2', '40%'),
  failureBudget: fc.integer({ min: 1, max: 3 }),
  steps: fc.array(stepArbitrary, { maxLength: 120 }),
});
type Given = typeof clusterArbitrary extends fc.Arbitrary<infer T> ? T : never;

class Simulation {
  readonly world = new World();
  readonly names: readonly string[];
  readonly #leaders: readonly { readonly leader: Leader; readonly writes: FatedWrites }[];
  readonly #given: Given;
  readonly #scheduler: fc.Scheduler;

  constructor(given: Given, scheduler: fc.Scheduler) {
    this.#given = given;
    this.#scheduler = scheduler;
    this.names = given.machines.map((_, index) => `n${index}`);
    given.machines.forEach((machine, index) => this.world.addNode(`n${index}`, machine));
    this.#leaders = [0, 1].map(() => {
      const writes = new FatedWrites(scheduler);
      return { leader: new Leader(this.world, (make) => writes.write(make)), writes };
    });
    this.setMode('Apply');
    for (const patch of [CLOSED, FIX]) this.world.putKernelPatch(patch);
  }

  setMode(mode: 'Apply' | 'Plan'): void {
    const { maxDisruption, onKexecFailure, setDefault, onTimeout, maxUnavailable, failureBudget } = this.#given;
    const { status } = this.world.policies.get('workers') ?? {};
    this.world.putPolicy(aPolicy({ mode, maxDisruption, rollout: { maxUnavailable, failureBudget }, reboot: { onKexecFailure, setDefault, install: 'Package' }, drain: { onTimeout, timeoutSeconds: 300 } }, status && { status }));
  }

  /** The KernelPatch as it is now to be. */
  #put(patch: KernelPatch): void {
    const { status } = this.world.kernelPatches.get(patch.metadata.name) ?? {};
    this.world.putKernelPatch({ ...patch, ...(status && { status }) });
  }

  async take(step: Step): Promise<void> {
    switch (step.kind) {
      case 'Lead':
        await this.#scheduler.waitFor(Promise.all(step.turns.map((each) => this.#act(each))));
        return;
      case 'Wait':
        this.world.now += step.seconds * 1000;
        return;
      case 'Mode':
        this.setMode(step.mode);
        return;
      case 'Retry':
        this.#put({ ...FIX, spec: { ...FIX.spec, retryReboot: step.word } });
        return;
      case 'Release':
        this.#put(TRAP);
        return;
      case 'Node':
        this.#takeAt(step.act, this.names[step.node % this.names.length] ?? '');
        return;
      default:
        step satisfies never;
    }
  }

  #takeAt(act: NodeAct, name: string): void {
    const { world } = this;
    const { isDown } = world.machine(name);
    const acts = {
      Agent: () => world.runAgent(name),
      Kubelet: () => world.runKubelet(name),
      Boot: () => isDown && world.boot(name),
      PowerCut: () => !isDown && world.boot(name),
      Cordon: () => world.cordon(name),
      Uncordon: () => world.uncordon(name),
      Recordon: () => {
        world.uncordon(name);
        world.cordon(name);
      },
      Relent: () => world.relent(name),
      Delete: () => world.deleteNode(name),
      Collect: () => world.collect(),
      Register: () => world.register(name),
    };
    acts[act]();
  }

  /** One that dies comes back knowing nothing. */
  async #act(each: Turn): Promise<void> {
    const { leader, writes } = this.#leaders[each.index] ?? {};
    writes?.begin(each);
    // The other one may have written since this one was woken.
    await this.#scheduler.schedule(Promise.resolve());
    await (each.what === 'lead' ? leader?.lead(each.stale) : leader?.drain());
    if (writes?.isDead) leader?.die();
  }

  /** Everything that can go on goes on, with one living leader, for so long. */
  async #go(rounds: number, seconds: number): Promise<void> {
    for (let round = 0; round < rounds; round += 1) {
      for (const what of ['lead', 'drain'] as const) await this.#scheduler.waitFor(this.#act({ ...CALM, index: 0, what }));
      for (const name of this.names) for (const act of ['Agent', 'Boot', 'Kubelet', 'Agent'] as const) this.#takeAt(act, name);
      this.world.now += seconds * 1000;
    }
  }

  /** Every node has its NodeKernel and has reported. */
  async introduce(): Promise<void> {
    await this.#go(1, 1);
  }

  /** People want it done and let pods go, and all nodes are there: it comes to rest, but for nodes that are asked again from time to time. */
  async settle(): Promise<void> {
    this.setMode('Apply');
    for (const name of this.names) {
      this.world.register(name);
      this.world.relent(name);
    }
    await this.#go(40 * this.names.length + 20, 30);
    for (let round = 0; round < 60 && !this.#isAtRest(); round += 1) await this.#go(1, 3);
  }

  /** Nodes that failed are replaced by others of their names, and time goes on. */
  async replaceFailed(): Promise<void> {
    for (const name of this.names.filter((each) => this.world.order(each)?.phase === 'Failed')) {
      this.world.deleteNode(name);
      this.world.register(name);
    }
    await this.#go(20, 30);
    assert.deepEqual(this.world.violations, []);
  }

  #isAtRest(): boolean {
    const { policies, intents, kernelPatches, uncordons } = decide(this.world.view());
    return policies.length + intents.length + kernelPatches.length + uncordons.length === 0 && this.names.every((name) => !isActive(this.world.order(name)));
  }

  assertRest(): void {
    const { world } = this;
    assert.deepEqual(world.violations, []);
    assert.ok(this.#isAtRest(), 'it does not come to rest');
    for (const name of this.names) {
      const { unschedulable, cordonedFor } = world.node(name);
      assert.deepEqual({ unschedulable, cordonedFor }, { unschedulable: world.place(name).isForeign, cordonedFor: undefined }, `the cordon of ${name}`);
      const { release, byDefault, boot } = world.machine(name);
      // Of a node without its journal nothing is proven by the firmware.
      if (this.#given.setDefault && boot !== 'ForgetsJournal') assert.ok(release !== FIXED_RELEASE || byDefault === FIXED_RELEASE, `${name} runs the fixed kernel, and starts another one next`);
      assert.ok(this.#endsOf(name).includes(this.#endOf(name)), `${name} ends ${this.#endOf(name)}: ${JSON.stringify([world.order(name), decide(world.view()).verdicts])}`);
    }
  }

  #endOf(name: string): string {
    const { release, isDown } = this.world.machine(name);
    return `${release === FIXED_RELEASE && !isDown ? 'fixed' : 'open'} ${this.world.order(name)?.phase ?? '-'}`;
  }

  /** What may become of a node: fixed, or open for a reason that lies in it, or in what others have come to. */
  #endsOf(name: string): readonly string[] {
    const { boot, byDefault, hasKernel } = this.world.machine(name);
    const { failureBudget, maxDisruption, onKexecFailure, setDefault } = this.#given;
    const halted = (this.world.policies.get('workers')?.status?.rebootFailures ?? []).length >= failureBudget;
    const noFirmware = maxDisruption === 'Kexec' || onKexecFailure === 'Block' || (byDefault !== FIXED_RELEASE && !setDefault);
    const isGamble = boot === 'ComesBackByFirmware' || boot === 'ForgetsJournal';
    const ends: readonly (readonly [when: boolean, ends: readonly string[]])[] = [
      [true, ['fixed -']],
      [boot === 'StaysNotReady', ['fixed Failed']],
      [isGamble || boot === 'NeverReturns' || this.#isCut, ['open Failed']],
      [halted, ['open -', 'open Parked', 'open Refused']],
      [boot === 'RefusesKexec' && noFirmware, ['open Refused']],
      [!hasKernel, ['open Refused']],
      // One of its class has failed, and it may not be booted otherwise.
      [isGamble && noFirmware, ['open -', 'open Parked', 'open Refused']],
    ];
    return ends.flatMap(([when, each]) => (when ? each : []));
  }

  /** A power was cut: it may have hit a node that was going down. */
  get #isCut(): boolean {
    return this.#given.steps.some((step) => step.kind === 'Node' && step.act === 'PowerCut');
  }
}

test('whatever happens, no more nodes are out of service than may be, none goes down undrained or into fewer fixes, no cordon is left or taken, and every node ends where it should', async () => {
  await fc.assert(
    fc.asyncProperty(clusterArbitrary, fc.scheduler(), async (given, scheduler) => {
      const simulation = new Simulation(given, scheduler);
      await simulation.introduce();
      for (const step of given.steps) await simulation.take(step);
      await simulation.settle();
      simulation.assertRest();
      await simulation.replaceFailed();
    }),
    { numRuns: RUNS, ...(seed !== undefined && { seed: Number(seed) }) },
  );
});

test('a kexec that is not disturbed costs the operator eight writes: four of the NodeKernel, two of the Node, one of the slots, one to tell of it; and a rollout four more', async () => {
  const world = new World();
  for (const name of ['n0', 'n1']) world.addNode(name, { pods: 'Moves' });
  world.putPolicy(aPolicy({ maxDisruption: 'Kexec' }));
  const made: string[] = [];
  const leader = new Leader(world, async (make, what) => {
    made.push(what);
    return make();
  });
  /** A pass each 100 ms; the agents look once a second, and a node that goes down is back after 20 s. */
  async function run(seconds: number): Promise<void> {
    let back = 0;
    for (let pass = 1; pass <= seconds * 10; pass += 1) {
      await leader.lead();
      await leader.drain();
      for (const [name, { machine }] of world.places) {
        if (pass % 10 === 0) world.runAgent(name);
        if (machine.isDown) back += 1;
        if (back === 200) {
          world.boot(name);
          back = 0;
        }
        world.runKubelet(name);
      }
      world.now += 100;
    }
  }
  await run(5);
  made.length = 0;
  world.putKernelPatch(FIX);
  await run(70);
  assert.deepEqual([...world.places.values()].map(({ machine }) => machine.release), [FIXED_RELEASE, FIXED_RELEASE]);
  const counts = Object.fromEntries(Map.groupBy(made.filter((what) => what !== 'create Event'), (what) => what).entries().map(([what, { length }]) => [what, length]));
  assert.deepEqual(counts, {
    'merge NodeKernel': 2 * 4 + 1, // the second one is told its plan before its turn
    'merge Node': 2 * 2,
    'create Eviction': 2,
    'replaceStatus PatchPolicy': 2 + 1, // one slot is released and the next one taken at once
    'replaceStatus KernelPatch': 2 + 1,
  });
});
