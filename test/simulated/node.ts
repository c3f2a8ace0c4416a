/** A node of a cluster: a simulated machine, its NodeKernel, and the real agent between them. */
import { createHash } from 'node:crypto';
import { pino } from 'pino';
import type { LivePatchReport, NodeKernel, NodeKernelSpec, NodeKernelStatus, Plan, WantedLivePatch } from '../../crds/nodekernel.ts';
import { createAgent } from '../../daemonset/agent.ts';
import type { Agent } from '../../daemonset/agent.ts';
import type { BootFiles } from '../../daemonset/boot/install.ts';
import { createMetrics } from '../../daemonset/metrics.ts';
import type { Registries } from '../../daemonset/registry/keep.ts';
import type { Verification } from '../../daemonset/trust/vouch.ts';
import { KernelPatchError } from '../../kernel/errors.ts';
import { simulatedClock, until } from './clock.ts';
import { someFacts } from './facts.ts';
import { SimulatedMachine } from './host.ts';
import type { WriteFate } from './disk.ts';
import { aLife, hostOf } from './life.ts';
import type { Life } from './life.ts';
import { RELEASE, aModule } from './module.ts';
import { BOOT_MILLISECONDS } from './reboot.ts';
import { simulatedRegistry } from './registry.ts';

export const HOST_PATH = '/var/lib/livepatches/livepatch_fix.ko';

/** For an agent to end by itself. */
const STOP_MILLISECONDS = 500;

export const BOOT_FILES: BootFiles = { loader: '#!/bin/sh\n', unit: '[Unit]\n' };

export const NO_VERIFICATION: Verification = { policy: 'Off', readKeyFiles: () => Promise.resolve([]) };

export function sha256Of(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}

export function aWanted(changes: Partial<WantedLivePatch> = {}): WantedLivePatch {
  return {
    name: 'livepatch_fix',
    kernelPatch: 'fix',
    desired: 'Loaded',
    release: RELEASE,
    hostPath: HOST_PATH,
    sha256: sha256Of(aModule()),
    replace: true,
    reversible: true,
    ...changes,
  };
}

/** About the first boot of the machine. */
export function aPlan(changes: Partial<Plan> = {}): Plan {
  return {
    policy: 'workers',
    mode: 'Apply',
    bootID: someFacts().bootID,
    action: 'LivePatch',
    reason: 'LivePatchFits',
    message: 'fix has a live patch for this kernel',
    patches: [{ kernelPatch: 'fix', action: 'LivePatch', reason: 'LivePatchFits', message: 'a live patch for this kernel is listed', cves: ['CVE-2026-31431'], livePatch: 'livepatch_fix' }],
    ...changes,
  };
}

/** Disposed of at the end of a test, whatever its outcome: no agent goes on. */
export interface SimulatedNode extends AsyncDisposable {
  readonly machine: SimulatedMachine;
  readonly object: NodeKernel;
  /** Every status the API server was given. */
  readonly writes: readonly NodeKernelStatus[];
  /** The API server refuses this many writes from now on. */
  refuseWrites(count: number): void;
  /** How long the API server takes for a write. */
  writeMilliseconds: number;
  /** Publishes a new intent. */
  want(livePatches: readonly WantedLivePatch[], changes?: Partial<NodeKernelSpec>): void;
  /** The node is cut off from the API server: its agent is told nothing, and can neither ask nor write. */
  cutOff(): void;
  /** The agent is told nothing any more, although the API server answers it. */
  deafen(): void;
  /** The API server is there again; its agent is told at once. */
  reconnect(): void;
  /** The API server has this again, as after a restore of its backup. */
  restore(backup: NodeKernel): void;
  /** The NodeKernel is deleted, and the agent is told. */
  unwant(): void;
  /** What the agent is answered when it ends. */
  removed: boolean;
  /** Of the agents that are started from now on; at first nothing has to be signed. */
  verification: Verification;
  /** Of the agents that are started from now on; at first there is none. */
  registries: Registries;
  /** Starts an agent, with nothing but what is on the machine and in the object. */
  start(diesAtEffect?: number): void;
  /** The power fails and comes back: the agent is dead, the kernel empty, and nobody has started a new agent yet. */
  cutPower(fate?: WriteFate): void;
  /** Ends the agent as SIGTERM does. */
  stop(): Promise<void>;
  /** Settled: the API server has a report of the newest intent, and nothing is in progress. */
  settle(): Promise<NodeKernelStatus>;
  until(what: string, condition: () => boolean): Promise<void>;
  report(name?: string): LivePatchReport | undefined;
  /** The life of the agent that runs, or ran last. */
  readonly life: Life;
}

export function aNode(spec: NodeKernelSpec = {}): SimulatedNode {
  const clock = simulatedClock();
  const machine = new SimulatedMachine(clock);
  machine.files.set(HOST_PATH, aModule());
  const writes: NodeKernelStatus[] = [];
  let object: NodeKernel = { metadata: { name: 'node-1', uid: 'uid-1', generation: 1 }, spec };
  let running: { agent: Agent; stop: AbortController; ended: Promise<void> } | undefined;
  let life = aLife();
  let refusals = 0;
  let cut = false;
  let deaf = false;

  function tell(): void {
    if (!cut && !deaf) running?.agent.accept(object);
  }

  function reach(): void {
    if (cut) throw new KernelPatchError('ApiUnreachable', 'GET failed: no route to host');
  }

  async function writeStatus(status: NodeKernelStatus): Promise<void> {
    reach();
    if (node.writeMilliseconds > 0) await clock.sleep(node.writeMilliseconds);
    if (refusals > 0) {
      refusals -= 1;
      throw new KernelPatchError('ApiBusy', 'PATCH was answered with 503');
    }
    const stored = JSON.parse(JSON.stringify(status)) as NodeKernelStatus;
    writes.push(stored);
    object = { ...object, status: stored };
  }

  /** The agent has been told to end with all other pods, and is started again by the node that has booted. */
  async function reboot(): Promise<void> {
    running?.stop.abort();
    await clock.sleep(STOP_MILLISECONDS);
    life.end();
    if (!machine.comeUp()) return;
    const booted = life;
    await clock.sleep(BOOT_MILLISECONDS);
    if (booted === life) node.start();
  }

  machine.goneDown = () => void reboot();

  const node: SimulatedNode = {
    machine,
    get object() {
      return object;
    },
    writes,
    get life() {
      return life;
    },
    refuseWrites(count) {
      refusals = count;
    },
    want(livePatches, changes = {}) {
      const wanted = { plan: aPlan(), loadAtBoot: true, livePatches: [...livePatches], ...changes };
      object = { ...object, metadata: { ...object.metadata, generation: (object.metadata.generation ?? 0) + 1 }, spec: wanted };
      tell();
    },
    cutOff() {
      cut = true;
    },
    deafen() {
      deaf = true;
    },
    reconnect() {
      cut = false;
      deaf = false;
      tell();
    },
    restore(backup) {
      object = backup;
      tell();
    },
    unwant() {
      running?.agent.accept(undefined);
    },
    removed: false,
    verification: NO_VERIFICATION,
    registries: { registry: simulatedRegistry({}), mirrors: [] },
    writeMilliseconds: 0,
    start(diesAtEffect) {
      const own = aLife(diesAtEffect);
      life = own;
      const agent = createAgent({
        machine: { host: hostOf(machine.host, own), clock, verification: node.verification, registries: node.registries },
        writeStatus: (status) => own.effect(() => writeStatus(status)),
        readIntent: () =>
          own.look(async () => {
            reach();
            return object;
          }),
        isRemoved: async () => node.removed,
        bootFiles: BOOT_FILES,
        agentVersion: '0.1.0',
        log: pino({ level: 'silent' }),
        metrics: createMetrics(),
      });
      const stop = new AbortController();
      if (!cut) agent.accept(object);
      running = { agent, stop, ended: agent.run(stop.signal) };
    },
    cutPower(fate = 'kept') {
      life.end();
      running?.stop.abort();
      machine.cutPower(fate);
    },
    async stop() {
      running?.stop.abort();
      await running?.ended;
    },
    async settle() {
      await node.until('the newest intent is reported and settled', () => isSettled(object));
      return object.status as NodeKernelStatus;
    },
    until: (what, condition) => until(clock, what, condition),
    async [Symbol.asyncDispose]() {
      running?.stop.abort();
      clock.stop();
    },
    report: (name = 'livepatch_fix') => object.status?.livePatches.find((patch) => patch.name === name),
  };
  return node;
}

/** The report is about the newest intent, and nothing is in progress. */
export function isSettled({ metadata, status }: NodeKernel): boolean {
  const progressing = status?.conditions?.find(({ type }) => type === 'Progressing');
  return status?.observedGeneration === metadata.generation && progressing?.status === 'False';
}
