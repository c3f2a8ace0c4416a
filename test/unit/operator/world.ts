/** A cluster in memory: objects with resourceVersions and generations as the API server keeps them, agents that load and unload. It checks what must never happen at every write. */
import assert from 'node:assert/strict';
import type { KernelPatch } from '../../../crds/kernelpatch.ts';
import type { LivePatchReport, NodeKernel, WantedLivePatch } from '../../../crds/nodekernel.ts';
import type { PatchPolicy } from '../../../crds/patchpolicy.ts';
import { KernelPatchError } from '../../../operator/errors.ts';
import { startsSomething } from '../../../operator/intent.ts';
import type { Writes } from '../../../operator/kube/writes.ts';
import type { NodeView, View } from '../../../operator/observe.ts';
import { limitOf } from '../../../operator/rollout.ts';
import { NOW, aLivePatchReport, aNode, aReport, aView } from './builders.ts';

/** What comes of a load on this node. A silent one's agent never writes; one that quarantines went down with the load. */
export type Nature = 'Works' | 'Fails' | 'Refuses' | 'Quarantines' | 'Silent';

/** On every node from the start, loaded by somebody else. */
export const FOREIGN = 'foreign_patch';

interface Machine {
  node: NodeView;
  readonly nature: Nature;
  /** Names of loaded modules. */
  readonly loaded: Set<string>;
  /** Modules whose load or unload has begun. */
  readonly busy: Set<string>;
  /** When a start was published that the agent has not brought to an end; undefined otherwise. */
  startedAt: number | undefined;
  boots: number;
}

export class World {
  now = NOW;
  readonly machines = new Map<string, Machine>();
  readonly nodeKernels = new Map<string, NodeKernel>();
  readonly kernelPatches = new Map<string, KernelPatch>();
  readonly policies = new Map<string, PatchPolicy>();
  /** What must never happen and did. A write that throws may be retried by the operator, so it is kept here. */
  readonly violations: string[] = [];
  #version = 1;

  addNode(name: string, nature: Nature): void {
    const node = aNode(name);
    this.machines.set(name, { node, nature, loaded: new Set([FOREIGN]), busy: new Set(), startedAt: undefined, boots: 1 });
  }

  view(): View {
    return aView({
      now: this.now,
      nodes: [...this.machines.values()].map(({ node }) => node),
      nodeKernels: [...this.nodeKernels.values()],
      kernelPatches: [...this.kernelPatches.values()],
      policies: [...this.policies.values()],
    });
  }

  putKernelPatch(kernelPatch: KernelPatch): void {
    this.kernelPatches.set(kernelPatch.metadata.name, this.#stamp(kernelPatch));
  }

  putPolicy(policy: PatchPolicy): void {
    this.policies.set(policy.metadata.name, this.#stamp(policy));
  }

  #stamp<T extends { readonly metadata: NodeKernel['metadata'] }>(object: T): T {
    this.#version += 1;
    return { ...object, metadata: { ...object.metadata, resourceVersion: String(this.#version) } };
  }

  /** As the API server would take them. `around` gets each as a function that makes it; it may wait, throw before, or throw afterwards. */
  writes(around: (make: () => void, verb: keyof Writes) => Promise<void>): Writes {
    return {
      setPolicyStatus: (seen, status) => around(() => this.policies.set(seen.metadata.name, this.#stamp({ ...swapped(this.policies, seen), status })), 'setPolicyStatus'),
      setKernelPatchStatus: (seen, status) => around(() => this.kernelPatches.set(seen.metadata.name, this.#stamp({ ...swapped(this.kernelPatches, seen), status })), 'setKernelPatchStatus'),
      createNodeKernel: ({ name, uid }, labels, spec) =>
        around(() => {
          if (this.nodeKernels.has(name)) throw new KernelPatchError('Conflict', 'already exists');
          const ownerReferences = [{ apiVersion: 'v1', kind: 'Node', name, uid }];
          this.nodeKernels.set(name, this.#stamp({ metadata: { name, uid: `nk-${name}`, generation: 1, creationTimestamp: new Date(this.now).toISOString(), labels, ownerReferences }, spec }));
        }, 'createNodeKernel'),
      setNodeKernelSpec: (seen, spec) =>
        around(() => {
          const stored = swapped(this.nodeKernels, seen);
          this.#checkStart(stored, startsSomething(spec, stored));
          this.nodeKernels.set(stored.metadata.name, this.#stamp({ ...stored, spec, metadata: { ...stored.metadata, generation: (stored.metadata.generation ?? 0) + 1 } }));
        }, 'setNodeKernelSpec'),
      deleteNodeKernel: (seen) => around(() => this.nodeKernels.delete(seen.metadata.name), 'deleteNodeKernel'),
      setTaint: (seen, wanted) =>
        around(() => {
          const machine = this.#machine(seen.name);
          if (wanted && machine.boots === 1) this.violations.push(`${seen.name} is tainted and has not booted`);
          machine.node = { ...machine.node, tainted: wanted };
        }, 'setTaint'),
      cordon: (seen, id) =>
        around(() => {
          const machine = this.#machine(seen.name);
          if (!machine.node.unschedulable) machine.node = { ...machine.node, unschedulable: true, cordonedFor: id };
        }, 'cordon'),
      uncordon: (seen, id) =>
        around(() => {
          const machine = this.#machine(seen.name);
          if (machine.node.cordonedFor === id) machine.node = { ...machine.node, unschedulable: false, cordonedFor: undefined };
        }, 'uncordon'),
      evict: () => Promise.resolve({ kind: 'Gone' }),
      remove: () => Promise.resolve({ kind: 'Gone' }),
      createEvent: () => around(() => undefined, 'createEvent'),
    };
  }

  #checkStart({ metadata: { name } }: NodeKernel, starts: boolean): void {
    if (!starts) return;
    const [policy] = this.policies.values();
    const machine = this.#machine(name);
    if (!policy?.status?.slots?.some(({ node }) => node === name)) this.violations.push(`${name} starts without a slot`);
    machine.startedAt = this.now;
    const inFlight = [...this.machines.values()].filter(({ startedAt }) => startedAt !== undefined && startedAt + 600_000 > this.now);
    const limit = limitOf(policy?.spec.rollout.maxInFlight ?? '0', this.machines.size);
    if (inFlight.length > limit) this.violations.push(`${inFlight.map(({ node }) => node.name).join()} are in flight, ${limit} may be`);
  }

  #machine(name: string): Machine {
    const machine = this.machines.get(name);
    assert.ok(machine);
    return machine;
  }

  /** The live patches are gone, as after any boot; neither kubelet nor agent has told yet. */
  reboot(name: string): void {
    const machine = this.#machine(name);
    machine.loaded.clear();
    machine.loaded.add(FOREIGN);
    machine.busy.clear();
    machine.boots += 1;
  }

  /** The kubelet reports the boot. */
  runKubelet(name: string): void {
    const machine = this.#machine(name);
    machine.node = { ...machine.node, bootID: `boot-${machine.boots}` };
  }

  /** The agent looks once: begins what is wanted, or ends what it has begun, and reports. */
  runAgent(name: string): void {
    const machine = this.#machine(name);
    const nodeKernel = this.nodeKernels.get(name);
    if (!nodeKernel || machine.nature === 'Silent') return;
    const wanted = nodeKernel.spec.livePatches ?? [];
    const reports = wanted.flatMap((entry) => carryOut(machine, entry) ?? []);
    const left = [...machine.loaded].filter((module) => !wanted.some((entry) => entry.name === module)).map((module) => aLivePatchReport({ name: module, origin: module === FOREIGN ? 'Foreign' : 'KernelPatch' }));
    if (reports.every(({ state }) => !['Loading', 'Unloading'].includes(state))) machine.startedAt = undefined;
    const status = aReport({ observedGeneration: nodeKernel.metadata.generation, bootID: `boot-${machine.boots}`, active: [...machine.loaded].join(), livePatches: [...reports, ...left] });
    this.nodeKernels.set(name, this.#stamp({ ...nodeKernel, status }));
  }
}

function swapped<T extends { readonly metadata: NodeKernel['metadata'] }>(objects: ReadonlyMap<string, T>, seen: T): T {
  const stored = objects.get(seen.metadata.name);
  if (!stored) throw new KernelPatchError('NotFound', 'gone');
  if (stored.metadata.resourceVersion !== seen.metadata.resourceVersion) throw new KernelPatchError('Conflict', 'changed');
  return stored;
}

/** The end of a load that does not work. */
const REFUSALS: Readonly<Partial<Record<Nature, LivePatchReport['state']>>> = { Refuses: 'Refused', Fails: 'Failed', Quarantines: 'Quarantined' };

/** One step towards what is wanted, and what is reported of it; nothing once it is gone. */
function carryOut({ nature, loaded, busy }: Machine, { name, kernelPatch, sha256, desired }: WantedLivePatch): LivePatchReport | undefined {
  const report = (state: LivePatchReport['state']) => aLivePatchReport({ name, kernelPatch, sha256, state, reason: state });
  const there = loaded.has(name);
  if (there === (desired === 'Loaded')) return there ? report('Active') : undefined;
  const refusal = desired === 'Loaded' ? REFUSALS[nature] : undefined;
  if (refusal !== undefined) return report(refusal);
  if (!busy.has(name)) {
    busy.add(name);
    return report(there ? 'Unloading' : 'Loading');
  }
  busy.delete(name);
  if (there) loaded.delete(name);
  else loaded.add(name);
  return there ? undefined : report('Active');
}
