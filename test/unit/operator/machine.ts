/** One node in memory: its kernel, its live patches, and an agent that carries out what its NodeKernel says, one step at each look. What a reboot has led to is judged as the real agent does. */
import { STALE_INTENT } from '../../../crds/nodekernel.ts';
import type { LivePatchReport, NodeKernel, NodeKernelSpec, NodeKernelStatus, RebootOrder, RebootReport, WantedLivePatch } from '../../../crds/nodekernel.ts';
import { describeHardware, isOver, judgeOrder } from '../../../daemonset/reboot/outcome.ts';
import type { RebootRecord } from '../../../kernel/journal.ts';
import { instant } from '../../../operator/instant.ts';
import { FIXED_RELEASE, OTHER_RELEASE, RELEASE, aLivePatchReport, aReport, startsNext } from './builders.ts';

/** What comes of a load on this node. A silent one's agent never writes; one that quarantines went down with the load. */
export type Nature = 'Works' | 'Fails' | 'Refuses' | 'Quarantines' | 'Silent';

/**
 * What comes of a reboot. RefusesKexec: its kernel takes no image. ComesBackByFirmware: the kernel that kexec starts panics. NeverReturns: it stays down. StaysNotReady: its kubelet does not get on with the new kernel.
 * ForgetsJournal: as ComesBackByFirmware, and /var does not outlive a boot.
 */
export type BootNature = 'Proves' | 'RefusesKexec' | 'ComesBackByFirmware' | 'NeverReturns' | 'StaysNotReady' | 'ForgetsJournal';

/** What comes of an installation of the fixed kernel, which the node does not have. Unknown: no repository has its package. */
export type PackageNature = 'Installs' | 'Unknown';

/** On every node from the start, loaded by somebody else. */
export const FOREIGN = 'foreign_patch';

export interface MachineFields {
  readonly nature?: Nature;
  readonly boot?: BootNature;
  /** Absent: the fixed kernel is there. */
  readonly package?: PackageNature | undefined;
  /** The kernel that the boot loader starts. */
  readonly byDefault?: string;
}

export class Machine {
  readonly nature: Nature;
  readonly boot: BootNature;
  byDefault: string;
  readonly #package: PackageNature | undefined;
  /** It has the fixed kernel. */
  hasKernel: boolean;
  /** The order for which the package manager is at work. */
  #installs: string | undefined;
  release = RELEASE;
  boots = 1;
  isDown = false;
  /** Its kubelet says so once it reports. */
  isReady = true;
  /** Names of loaded modules. */
  readonly loaded = new Set([FOREIGN]);
  /** Modules whose load or unload has begun. */
  readonly busy = new Set<string>();
  /** How often it has gone down for an order. */
  wentDown = 0;
  /** What the boot before this one had. */
  #hadBefore: ReadonlySet<string> = new Set();
  /** The order whose kernel is in place. */
  #staged: string | undefined;
  #record: RebootRecord | undefined;
  /** What the boot loader starts once. */
  #once: string | undefined;
  /** On the command line of the kernel. */
  #rebootID: string | undefined;

  constructor({ nature = 'Works', boot = 'Proves', byDefault = RELEASE, package: brings }: MachineFields) {
    this.nature = nature;
    this.boot = boot;
    this.byDefault = byDefault;
    this.#package = brings;
    this.hasKernel = brings === undefined;
  }

  get bootID(): string {
    return `boot-${this.boots}`;
  }

  /** It starts, by the order it went down for or, as after a power cut, by its firmware. */
  start(): void {
    const order = this.isDown ? this.#record : undefined;
    if (order && this.boot === 'NeverReturns') return;
    const byKexec = order?.method === 'Kexec' && this.boot !== 'ComesBackByFirmware' && this.boot !== 'ForgetsJournal';
    this.release = byKexec ? order.release : this.#startByFirmware();
    this.#rebootID = byKexec ? order.id : undefined;
    if (this.boot === 'ForgetsJournal') this.#record = undefined;
    if (order && this.boot === 'StaysNotReady') this.isReady = false;
    this.isDown = false;
    this.boots += 1;
    this.#staged = undefined;
    this.busy.clear();
    this.#hadBefore = new Set(this.loaded);
    this.loaded.clear();
    this.loaded.add(FOREIGN);
  }

  #startByFirmware(): string {
    const release = this.#once ?? this.byDefault;
    this.#once = undefined;
    return release;
  }

  /** The agent looks once. `goesDown` hears of the order for which the node goes down, just before. */
  look(nodeKernel: NodeKernel, now: number, goesDown: (order: RebootOrder) => void): NodeKernelStatus {
    const { spec, status, metadata } = nodeKernel;
    if (this.#record && isOver(this.#record, this.#running, spec.reboot, status)) this.#record = undefined;
    const hardware = describeHardware({ ...this.#running, hardware: { vendor: 'acme', product: this.boot, firmware: '1' } }, this.#record, status?.hardware, instant(now));
    const wanted = spec.livePatches ?? [];
    const reports = wanted.flatMap((entry) => (this.#isStale(spec, entry, now) ? [reportOf(entry, 'Refused', STALE_INTENT)] : (this.#carryOut(entry) ?? [])));
    const left = [...this.loaded].filter((module) => !wanted.some((entry) => entry.name === module)).map((module) => aLivePatchReport({ name: module, origin: module === FOREIGN ? 'Foreign' : 'KernelPatch' }));
    const reboot = this.#judge(nodeKernel) ?? this.#carryOutOrder(spec.reboot, now, goesDown);
    return aReport({
      observedGeneration: metadata.generation,
      bootID: this.bootID,
      kernel: { release: this.release },
      installedKernels: [RELEASE, ...(this.hasKernel ? [FIXED_RELEASE] : []), OTHER_RELEASE],
      nextBoot: startsNext(this.byDefault),
      active: [...this.loaded].join(),
      livePatches: [...reports, ...left],
      hardware,
      ...(reboot && { reboot: { ...reboot, since: instant(now) } }),
    });
  }

  /** Its agent hears that there is no NodeKernel. */
  forget(): void {
    this.#staged = undefined;
  }

  get #running(): Parameters<typeof judgeOrder>[1] {
    return { bootID: this.bootID, release: this.release, buildID: 'unknown', rebootID: this.#rebootID };
  }

  /** In a later boot than the order is for. */
  #judge({ spec: { reboot: order }, status }: NodeKernel): Omit<RebootReport, 'since'> | undefined {
    if (order === undefined || order.bootID === this.bootID) return undefined;
    const reported = status?.bootID === this.bootID && status.reboot?.id === order.id ? status.reboot : undefined;
    const judged = { id: order.id, ...judgeOrder(order, this.#running, this.#record, reported) };
    if (judged.state !== 'Proven' || order.setDefault !== true || this.byDefault === this.release) return judged;
    this.byDefault = this.release;
    return { ...judged, state: 'SettingDefault' };
  }

  /** In the boot that the order is for. */
  #carryOutOrder(order: RebootOrder | undefined, now: number, goesDown: (order: RebootOrder) => void): Omit<RebootReport, 'since'> | undefined {
    if (order === undefined) {
      this.#staged = undefined;
      return undefined;
    }
    const say = (state: RebootReport['state'], reason: string = state) => ({ id: order.id, state, reason, message: `the agent says ${reason}` });
    const { id, method, notAfter, phase } = order;
    const isWanted = phase === 'Staging' || phase === 'Draining' || phase === 'Rebooting';
    if (!isWanted || now > Date.parse(notAfter)) {
      this.#staged = undefined;
      return say(isWanted ? 'Expired' : 'Unstaged');
    }
    if (!this.hasKernel) return say(...this.#install(order));
    if (method === 'Kexec' && this.boot === 'RefusesKexec') return say('Refused', 'KexecLoadDisabled');
    if (this.#staged !== id) {
      this.#staged = id;
      return say('Staging');
    }
    if (phase !== 'Rebooting') return say('Staged');
    goesDown(order);
    this.#goDown(order, now);
    return say('GoingDown');
  }

  #goDown({ id, method, release, bootID, setDefault }: RebootOrder, now: number): void {
    if (method === 'Firmware' && setDefault === true) this.#once = release;
    this.#record = { kind: 'GoingDown', id, method, release, bootID, at: instant(now) };
    this.isDown = true;
    this.wentDown += 1;
  }

  /** It is at work from one look to the next. A node that was drained is given no packages. */
  #install({ id, install, phase }: RebootOrder): [RebootReport['state'], string] {
    if (install === undefined || phase !== 'Staging') return ['Refused', 'KernelMissing'];
    if (this.#installs !== id) {
      this.#installs = id;
      return ['Installing', 'Installing'];
    }
    if (this.#package === 'Unknown') return ['Refused', 'PackageUnknown'];
    this.hasKernel = true;
    return ['Staging', 'Staging'];
  }

  /** As daemonset/freshness.ts has it, which this is the other half of. */
  #isStale({ start }: NodeKernelSpec, { name, desired, release }: WantedLivePatch, now: number): boolean {
    const isCalm = !this.loaded.has(name) && !this.busy.has(name);
    const isAsked = release === this.release && REFUSALS[this.nature] === undefined;
    if (desired === 'Absent' || start === undefined || !isCalm || !isAsked) return false;
    return start.bootID === this.bootID ? now > Date.parse(start.notAfter) : !this.#hadBefore.has(name);
  }

  /** One step towards what is wanted, and what is reported of it; nothing once it is gone. */
  #carryOut(wanted: WantedLivePatch): LivePatchReport | undefined {
    const { name, desired, release } = wanted;
    const report = (state: LivePatchReport['state']) => reportOf(wanted, state);
    const there = this.loaded.has(name);
    if (there === (desired === 'Loaded')) return there ? report('Active') : undefined;
    const refusal = release === this.release ? REFUSALS[this.nature] : 'Refused';
    if (desired === 'Loaded' && refusal !== undefined) return report(refusal);
    if (!this.busy.has(name)) {
      this.busy.add(name);
      return report(there ? 'Unloading' : 'Loading');
    }
    this.busy.delete(name);
    if (there) this.loaded.delete(name);
    else this.loaded.add(name);
    return there ? undefined : report('Active');
  }
}

function reportOf({ name, kernelPatch, sha256 }: WantedLivePatch, state: LivePatchReport['state'], reason: string = state): LivePatchReport {
  return aLivePatchReport({ name, kernelPatch, sha256, state, reason });
}

/** The end of a load that does not work. */
const REFUSALS: Readonly<Partial<Record<Nature, LivePatchReport['state']>>> = { Refuses: 'Refused', Fails: 'Failed', Quarantines: 'Quarantined' };
