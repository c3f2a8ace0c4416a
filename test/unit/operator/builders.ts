/** Objects as the caches hold them, with only what a test is about written out. */
import { KernelPatchSpec } from '../../../crds/kernelpatch.ts';
import type { KernelPatch } from '../../../crds/kernelpatch.ts';
import type { LivePatchReport, NodeKernel, NodeKernelSpec, NodeKernelStatus, RebootOrder, WantedLivePatch } from '../../../crds/nodekernel.ts';
import { PatchPolicySpec } from '../../../crds/patchpolicy.ts';
import type { PatchPolicy, PatchPolicyStatus } from '../../../crds/patchpolicy.ts';
import type { NodeView, View } from '../../../operator/observe.ts';
import type { DrainReport } from '../../../operator/drains.ts';
import type { Preview } from '../../../operator/preview.ts';
import type { Rollout } from '../../../operator/rollout.ts';
import type { Turns } from '../../../operator/verdict.ts';
import { byAge } from '../../../operator/observe.ts';
import { kexecFailuresOf } from '../../../operator/hardware.ts';
import { planNode } from '../../../operator/plan.ts';
import type { NodePlan } from '../../../operator/plan.ts';

export const NOW = Date.parse('2026-11-24T12:00:00Z');
export const RELEASE = '6.12.107+deb13-cloud-amd64';
export const FIXED_RELEASE = '6.12.117+deb13-cloud-amd64';
/** One that has fewer fixes than FIXED_RELEASE where a test says so. */
export const OTHER_RELEASE = '6.12.118+deb13-cloud-amd64';
export const SHA = 'a'.repeat(64);

export function aNode(name: string, fields: Partial<NodeView> = {}): NodeView {
  return { name, uid: `uid-${name}`, labels: {}, kernelVersion: RELEASE, bootID: 'boot-1', tainted: false, ready: true, unschedulable: false, cordonedFor: undefined, ...fields };
}

export interface KernelPatchFields {
  readonly name?: string;
  readonly created?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly status?: KernelPatch['status'];
  readonly cves?: readonly string[];
  readonly withdrawn?: boolean;
  readonly kernels?: readonly unknown[];
  readonly retryReboot?: string;
}

export function aLivePatch(fields: object = {}): object {
  return { name: 'livepatch_a', source: { hostPath: '/var/lib/livepatches/a.ko' }, sha256: SHA, ...fields };
}

/** Affected, with a live patch, unless told. */
export function aKernelPatch(fields: KernelPatchFields = {}): KernelPatch {
  const { name = 'fix-a', created = '2026-11-24T10:00:00Z', labels, status, cves = ['CVE-2026-31431'], kernels = [{ release: RELEASE, state: 'Affected', livePatch: aLivePatch() }] } = fields;
  return {
    metadata: { name, uid: `uid-${name}`, generation: 1, resourceVersion: '1', creationTimestamp: created, ...(labels && { labels }) },
    spec: KernelPatchSpec.parse({ cves: cves.map((id) => ({ id })), withdrawn: fields.withdrawn ?? false, kernels, ...(fields.retryReboot !== undefined && { retryReboot: fields.retryReboot }) }),
    ...(status && { status }),
  };
}

export function aPolicy(spec: object = {}, fields: { readonly name?: string; readonly created?: string; readonly status?: PatchPolicyStatus } = {}): PatchPolicy {
  const { name = 'workers', created = '2026-11-24T09:00:00Z', status } = fields;
  return { metadata: { name, uid: `uid-${name}`, generation: 1, resourceVersion: '1', creationTimestamp: created }, spec: PatchPolicySpec.parse(spec), ...(status && { status }) };
}

export function startsNext(release: string): NonNullable<NodeKernelStatus['nextBoot']> {
  return { release, source: '/boot/grub/grub.cfg', message: release === 'unknown' ? 'line 7 has the command "configfile", which is not read' : 'GRUB starts "Debian GNU/Linux"' };
}

export function aReport(fields: Omit<Partial<NodeKernelStatus>, 'kernel'> & { readonly kernel?: Partial<NodeKernelStatus['kernel']> } = {}): NodeKernelStatus {
  return {
    observedGeneration: 1,
    agentVersion: '0.1.0',
    bootID: 'boot-1',
    installedKernels: [RELEASE],
    nextBoot: startsNext(RELEASE),
    state: 'Idle',
    active: '',
    livePatches: [],
    ...fields,
    kernel: { release: RELEASE, buildID: 'unknown', taint: 0, taintFlags: '', lockdown: 'none', livePatching: 'Available', kexec: 'Available', ...fields.kernel },
  };
}

export function aWanted(fields: Partial<WantedLivePatch> = {}): WantedLivePatch {
  return { name: 'livepatch_a', kernelPatch: 'fix-a', desired: 'Loaded', release: RELEASE, hostPath: '/var/lib/livepatches/a.ko', sha256: SHA, replace: true, reversible: true, cves: ['CVE-2026-31431'], transitionSeconds: 75, ...fields };
}

export function aLivePatchReport(fields: Partial<LivePatchReport> = {}): LivePatchReport {
  return { name: 'livepatch_a', origin: 'KernelPatch', kernelPatch: 'fix-a', sha256: SHA, state: 'Active', reason: 'Active', message: 'active', since: '2026-11-24T11:00:00Z', ...fields };
}

/** A kexec into FIXED_RELEASE for fix-a, decided in boot-1; made ready, and given up after a minute, unless told. */
export function anOrder(fields: Partial<RebootOrder> = {}): RebootOrder {
  const { phase = 'Staging' } = fields;
  return {
    id: 'order-1', kernelPatch: 'fix-a', method: 'Kexec', release: FIXED_RELEASE, bootID: 'boot-1', notAfter: '2026-11-24T12:33:00Z', phase, since: '2026-11-24T12:00:00Z', deadline: '2026-11-24T12:01:00Z', reason: phase, message: `in phase ${phase}`,
    ...fields,
  };
}

export interface NodeKernelFields {
  readonly spec?: NodeKernelSpec;
  readonly status?: NodeKernelStatus | 'none';
  readonly generation?: number;
  readonly labels?: Readonly<Record<string, string>>;
  readonly ownerUID?: string;
}

/** Made by the operator, reported by the agent, unless told. */
export function aNodeKernel(name: string, fields: NodeKernelFields = {}): NodeKernel {
  const { spec = { livePatches: [] }, status = aReport(), generation = 1, labels = { 'app.kubernetes.io/managed-by': 'kernelpatch-operator' }, ownerUID = `uid-${name}` } = fields;
  return {
    metadata: { name, uid: `uid-nk-${name}`, generation, resourceVersion: '1', labels, ownerReferences: [{ apiVersion: 'v1', kind: 'Node', name, uid: ownerUID }] },
    spec,
    ...(status !== 'none' && { status }),
  };
}

export interface ViewFields {
  readonly now?: number;
  readonly nodes?: readonly NodeView[];
  readonly nodeKernels?: readonly NodeKernel[];
  readonly kernelPatches?: readonly KernelPatch[];
  readonly policies?: readonly PatchPolicy[];
  readonly previews?: readonly Preview[];
  readonly drains?: readonly DrainReport[];
}

export function aView({ now = NOW, nodes = [], nodeKernels = [], kernelPatches = [], policies = [], previews = [], drains = [] }: ViewFields): View {
  return {
    now,
    nodes: new Map(nodes.map((node) => [node.name, node])),
    nodeKernels: new Map(nodeKernels.map((nodeKernel) => [nodeKernel.metadata.name, nodeKernel])),
    kernelPatches: [...kernelPatches].sort(byAge),
    policies: [...policies].sort(byAge),
    previews: new Map(previews.map((preview) => [preview.node, preview])),
    drains: new Map(drains.map((report) => [report.task.node, report])),
  };
}

/** Nobody boots. */
export function withoutReboots(rollout: Rollout): Turns {
  return { ...rollout, reboots: { orders: new Map(), slots: [], failures: [], waits: new Map(), nextDeadline: undefined } };
}

/** No kexec has failed elsewhere. */
export function aPlan(node: NodeView, nodeKernel: NodeKernel | undefined, policy: PatchPolicy, kernelPatches: readonly KernelPatch[]): NodePlan {
  return planNode(node, nodeKernel, { policy, kernelPatches }, kexecFailuresOf(nodeKernel ? [nodeKernel] : []));
}
