/** The status of a NodeKernel from what was seen. Pure: the earlier status and the time are arguments. */
import type { Condition } from '../crds/common.ts';
import type { BootReport, LivePatchReport, NodeKernel, NodeKernelStatus, NodeState } from '../crds/nodekernel.ts';
import type { BootLayout } from '../kernel/boot/layout.ts';
import { timestamp } from '../kernel/clock.ts';
import type { KernelFacts } from '../kernel/facts.ts';
import type { KpatchUtility } from '../kernel/kpatch.ts';
import type { KernelPatchState, Phase } from '../kernel/patches.ts';
import { isPatched, phaseOf } from '../kernel/patches.ts';
import { activeNames, judgeProgressing, judgeReady, judgeStalled } from './conditions.ts';
import type { Judgement, Outlook } from './conditions.ts';
import { describeCves } from './cves.ts';
import { describeOwner, findOwned } from './ownership.ts';
import type { Owned } from './ownership.ts';
import type { RebootLook } from './reboot/keep.ts';
import type { Stall } from './stalls.ts';

export interface ReportInput {
  readonly object: NodeKernel;
  readonly facts: KernelFacts;
  readonly layout: BootLayout;
  readonly patches: ReadonlyMap<string, KernelPatchState>;
  readonly outlooks: readonly Outlook[];
  readonly owned: readonly Owned[];
  readonly kpatch: KpatchUtility;
  readonly stall: Stall | undefined;
  readonly boot: BootReport | undefined;
  readonly reboot: Pick<RebootLook, 'report' | 'hardware' | 'inProgress'>;
  /** What the API server has: its times stay while what they belong to stays. */
  readonly previous: NodeKernelStatus | undefined;
  readonly agentVersion: string;
  readonly now: Date;
}

// Bounds of the protocol (crds/nodekernel.ts).
const MAX_PATCHES = 64;
const MAX_FUNCTIONS = 256;
const MAX_FUNCTION_CHARACTERS = 512;
const MAX_ACTIVE_CHARACTERS = 512;
const MAX_COMM_CHARACTERS = 64;
const MAX_POD_CHARACTERS = 512;
const MAX_MESSAGE_CHARACTERS = 1024;
const MAX_CONDITION_CHARACTERS = 4096;

export function buildStatus(input: ReportInput): NodeKernelStatus {
  const { object, facts, outlooks, boot, reboot } = input;
  const generation = object.metadata.generation ?? 0;
  return {
    observedGeneration: generation,
    agentVersion: input.agentVersion,
    bootID: facts.bootID,
    kernel: {
      release: facts.release,
      buildID: facts.buildID,
      taint: facts.taint,
      taintFlags: facts.taintFlags,
      lockdown: facts.lockdown,
      livePatching: facts.livePatching,
      kexec: facts.kexec,
      ...(facts.rebootID !== undefined && facts.rebootID !== 'unknown' && { rebootID: facts.rebootID }),
    },
    ...describeLayout(input.layout),
    state: sumUp(outlooks),
    ...describeCves(object.spec.plan, activeNames(outlooks), facts),
    active: describeActive(input.patches),
    livePatches: [...outlooks.flatMap((outlook) => describeWanted(outlook, input)), ...describeOthers(input), ...describeInstalled(input)].slice(0, MAX_PATCHES),
    ...(boot && { boot: { ...boot, message: clip(boot.message, MAX_MESSAGE_CHARACTERS) } }),
    ...describeReboot(input),
    hardware: reboot.hardware,
    conditions: [
      condition('Ready', judgeReady(object.spec, facts.bootID, outlooks), input),
      condition('Progressing', judgeProgressing(outlooks, reboot), input),
      condition('Stalled', judgeStalled(outlooks, reboot), input),
    ],
  };
}

function describeReboot({ reboot: { report }, previous, now }: ReportInput): Pick<NodeKernelStatus, 'reboot'> {
  if (report === undefined) return {};
  const earlier = previous?.reboot?.id === report.id && previous.reboot.state === report.state ? previous.reboot : undefined;
  return { reboot: { ...report, message: clip(report.message, MAX_MESSAGE_CHARACTERS), since: earlier?.since ?? timestamp(now) } };
}

function describeLayout({ kernels, nextBoot: { release, source, message, unsettable } }: BootLayout): Pick<NodeKernelStatus, 'installedKernels' | 'unbootableKernels' | 'nextBoot'> {
  const unbootable = kernels.flatMap((kernel) => (kernel.fault ? [{ release: kernel.release, reason: kernel.fault.reason, message: clip(kernel.fault.message, MAX_MESSAGE_CHARACTERS) }] : []));
  return {
    installedKernels: kernels.map((kernel) => kernel.release),
    ...(unbootable.length > 0 && { unbootableKernels: unbootable }),
    nextBoot: { release, ...(source !== undefined && { source }), message: clip(message, MAX_MESSAGE_CHARACTERS), ...(unsettable && { unsettable }) },
  };
}

/** From furthest to nearest to Active. */
const FURTHEST_FIRST: readonly NodeState[] = ['Quarantined', 'Failed', 'Refused', 'Unknown', 'Pending', 'Unloading', 'Loading', 'Transitioning', 'Active'];

function sumUp(outlooks: readonly Outlook[]): NodeState {
  return FURTHEST_FIRST.find((state) => outlooks.some(({ step }) => step.state === state)) ?? 'Idle';
}

function describeActive(patches: ReadonlyMap<string, KernelPatchState>): string {
  const names = [...patches.values()].filter((patch) => phaseOf(patch) === 'Enabled').map(({ name }) => name);
  return clip(names.join(','), MAX_ACTIVE_CHARACTERS);
}

function describeWanted({ wanted, kernel, step, attempts, ours }: Outlook, { stall, previous, now }: ReportInput): readonly LivePatchReport[] {
  if (step.state === 'Absent' || step.state === 'Pending') return [];
  const functions = patchedFunctions(kernel);
  const earlier = previous?.livePatches.find(({ name, state, sha256 }) => name === wanted.name && state === step.state && sha256 === wanted.sha256);
  return [
    {
      name: wanted.name,
      origin: 'KernelPatch',
      ...(wanted.kernelPatch !== '' && { kernelPatch: wanted.kernelPatch }),
      sha256: wanted.sha256,
      ...(ours && buildIDOf(kernel)),
      state: step.state,
      reason: step.reason,
      message: clip(step.message, MAX_MESSAGE_CHARACTERS),
      ...(attempts > 0 && { attempts }),
      ...(wanted.liftQuarantine !== undefined && { liftQuarantine: wanted.liftQuarantine }),
      ...(functions.length > 0 && { functions }),
      ...describeStalled(wanted.name, stall),
      since: earlier?.since ?? timestamp(now),
    },
  ];
}

/** Of a live patch that nothing is done about. */
const OTHER_STATES: Readonly<Record<Phase, LivePatchReport['state'] | undefined>> = {
  Gone: undefined,
  Coming: undefined,
  Leftover: undefined,
  Enabling: 'Transitioning',
  Enabled: 'Active',
  Disabling: 'Unloading',
  Disabled: 'Unloading',
  Unreadable: 'Unknown',
};

/** What the kernel has and nothing asks for: of an earlier KernelPatch, or of somebody else. */
function describeOthers(input: ReportInput): readonly LivePatchReport[] {
  const { patches, outlooks, owned, kpatch, stall } = input;
  const wanted = new Set(outlooks.map((outlook) => outlook.wanted.name));
  return [...patches.values()].flatMap((patch): LivePatchReport[] => {
    const state = OTHER_STATES[phaseOf(patch)];
    if (wanted.has(patch.name) || state === undefined) return [];
    const own = findOwned(patch, owned);
    const functions = patchedFunctions(patch);
    return [
      {
        name: patch.name,
        ...(own === undefined ? describeForeign(patch.name, kpatch) : describeLeft(own)),
        ...buildIDOf(patch),
        state,
        ...(functions.length > 0 && { functions }),
        ...describeStalled(patch.name, stall),
        since: sinceOf(patch.name, state, input),
      },
    ];
  });
}

function describeForeign(name: string, kpatch: KpatchUtility) {
  return { origin: 'Foreign', reason: 'Foreign', message: `loaded by ${describeOwner(name, kpatch)}; no KernelPatch asks for it, so it is shown and left alone` } as const;
}

function describeLeft({ kernelPatch, sha256 }: Owned) {
  const whose = kernelPatch === '' ? 'a KernelPatch' : `KernelPatch ${kernelPatch}`;
  const message = `loaded for ${whose}, which does not ask for it any more: it is left as it is until a cumulative live patch replaces it or the node boots. To have it removed, list it in a KernelPatch with withdrawn: true`;
  return { origin: 'KernelPatch', ...(kernelPatch !== '' && { kernelPatch }), sha256, reason: 'NotWanted', message } as const;
}

/** What the kpatch utility will load, unless the kernel has a module of that name or one is wanted. */
function describeInstalled(input: ReportInput): readonly LivePatchReport[] {
  const { kpatch, patches, outlooks } = input;
  const names = kpatch.modules.filter((name) => patches.get(name)?.module === undefined && !outlooks.some(({ wanted }) => wanted.name === name));
  const next = kpatch.atBoot
    ? 'kpatch.service loads it at the next boot. If it is cumulative, it then replaces those of KernelPatches; as long as it is there, no cumulative one of a KernelPatch is loaded'
    : 'kpatch.service is not enabled, so that nothing loads it at the next boot';
  return names.map((name) => ({
    name,
    origin: 'Foreign',
    state: 'Installed',
    reason: 'InstalledByKpatch',
    message: `the kpatch utility has it in ${kpatch.directory}, and it is not loaded: ${next}`,
    since: sinceOf(name, 'Installed', input),
  }));
}

function sinceOf(name: string, state: LivePatchReport['state'], { previous, now }: ReportInput): string {
  return previous?.livePatches.find((report) => report.name === name && report.state === state)?.since ?? timestamp(now);
}

function buildIDOf({ module }: KernelPatchState): Pick<LivePatchReport, 'buildID'> {
  return module === undefined || module.buildID === 'unknown' ? {} : { buildID: module.buildID };
}

function describeStalled(livePatch: string, stall: Stall | undefined): Pick<LivePatchReport, 'stalledTasks'> {
  if (stall?.livePatch !== livePatch || stall.tasks.length === 0) return {};
  return {
    stalledTasks: stall.tasks.map(({ tid, pid, comm, stack, pod }) => ({
      pid: tid,
      ...(pid !== tid && { process: pid }),
      comm: clip(comm, MAX_COMM_CHARACTERS),
      ...(pod && { pod: clip(pod.name ?? pod.uid, MAX_POD_CHARACTERS) }),
      ...(stack.length > 0 && { stack: stack.map((name) => clip(name, MAX_FUNCTION_CHARACTERS)) }),
    })),
  };
}

function patchedFunctions({ livePatch }: KernelPatchState): string[] {
  const functions = livePatch?.objects.filter(isPatched).flatMap((object) => object.functions) ?? [];
  return functions.slice(0, MAX_FUNCTIONS).map((name) => clip(name, MAX_FUNCTION_CHARACTERS));
}

function condition(type: string, judgement: Judgement, { object, previous, now }: ReportInput): Condition {
  const earlier = previous?.conditions?.find((candidate) => candidate.type === type && candidate.status === judgement.status);
  return {
    type,
    status: judgement.status,
    observedGeneration: object.metadata.generation ?? 0,
    lastTransitionTime: earlier?.lastTransitionTime ?? timestamp(now),
    reason: judgement.reason,
    message: clip(judgement.message, MAX_CONDITION_CHARACTERS),
  };
}

function clip(text: string, limit: number): string {
  return text.length <= limit ? text : `${text.slice(0, limit - 1)}…`;
}
