/** What a scenario sees and does: an installed cluster, through kubectl as an admin and through the nodes' own consoles. */
import assert from 'node:assert/strict';
import type { KernelPatch } from '../../crds/kernelpatch.ts';
import type { NodeKernel, NodeKernelStatus } from '../../crds/nodekernel.ts';
import type { PatchPolicy } from '../../crds/patchpolicy.ts';
import type { Fleet, Say } from '../fleet/fleet.ts';
import { NAMESPACE } from '../fleet/product.ts';
import type { Machine } from '../node/machine.ts';
import type { Subject, SubjectName } from '../subjects/subjects.ts';
import { waitFor } from '../wait.ts';

/** Where the scenarios put modules on a node. */
export const MODULES = '/var/lib/livepatches';
/** Seconds for an agent's first report after its policy was applied: pod, node and first run under emulation take 15 to 40. */
export const AGENT_START = 180;
/** Seconds for what an agent that runs does: it takes one or two; the deadline is for a busy machine. */
export const SOON = 60;

/** Seconds until the agent has looked again by itself at what it refused, or at what others did (30 s, daemonset/rules.ts and agent.ts), and what follows from it. */
export const LOOK = 30 + SOON;

export interface World {
  readonly fleet: Fleet;
  readonly subject: (name: SubjectName, release: string) => Subject;
  readonly say: Say;
}

/** Seconds from a reset to the agent's report of the new boot: kernel, kubelet and pod take 90 under emulation on an idle machine, and have taken 300 on a busy one. */
export const BOOT = 600;

/** The kernel all nodes of a fleet boot. */
export const runningRelease = (world: World) => world.fleet.image.kernels[0];

/** The module for the nodes' kernel is at its place on every node. Gives what a KernelPatch says of it. */
export async function place(world: World, name: SubjectName): Promise<{ name: string; source: { hostPath: string }; sha256: string }> {
  const subject = world.subject(name, runningRelease(world));
  const hostPath = `${MODULES}/${name}.ko`;
  await Promise.all(world.fleet.nodes.map((node) => node.copyIn(subject.file, hostPath)));
  return { name, source: { hostPath }, sha256: subject.sha256 };
}

/** Somebody loads the module without us. */
export async function loadByHand(world: World, node: Machine, name: SubjectName, parameters = ''): Promise<void> {
  await node.copyIn(world.subject(name, runningRelease(world)).file, `/run/${name}.ko`);
  await node.must(`insmod /run/${name}.ko ${parameters}`);
}

export async function apply(world: World, ...objects: readonly object[]): Promise<void> {
  await world.fleet.plane.mustKubectl(['apply', '-f', '-'], JSON.stringify({ apiVersion: 'v1', kind: 'List', items: objects }));
}

export function kernelPatch(name: string, spec: object): object {
  return { apiVersion: 'kernelpatch.dev/v1alpha1', kind: 'KernelPatch', metadata: { name }, spec: { cves: [{ id: 'CVE-2026-31431', severity: 'Critical' }], ...spec } };
}

/** A KernelPatch that closes the nodes' kernel with a live patch. */
export function livePatch(world: World, name: string, patch: object, more: object = {}): object {
  return kernelPatch(name, { kernels: [{ release: runningRelease(world), state: 'Affected', livePatch: patch }], ...more });
}

export function policy(spec: object = {}, name = 'all'): object {
  return { apiVersion: 'kernelpatch.dev/v1alpha1', kind: 'PatchPolicy', metadata: { name }, spec: { rollout: { maxInFlight: '100%' }, ...spec } };
}

/** Of a policy: this node and no other. */
export const onlyNode = (name: string) => ({ nodeSelector: { matchLabels: { 'kubernetes.io/hostname': name } } });

export async function getNodeKernels(world: World): Promise<readonly NodeKernel[]> {
  return (JSON.parse(await world.fleet.plane.mustKubectl(['get', 'nodekernels', '-o', 'json'])) as { items: NodeKernel[] }).items;
}

export async function getKernelPatch(world: World, name: string): Promise<KernelPatch> {
  return JSON.parse(await world.fleet.plane.mustKubectl(['get', 'kernelpatch', name, '-o', 'json'])) as KernelPatch;
}

export async function getPolicy(world: World, name: string): Promise<PatchPolicy> {
  return JSON.parse(await world.fleet.plane.mustKubectl(['get', 'patchpolicy', name, '-o', 'json'])) as PatchPolicy;
}

/** Both nodes' reports satisfy `look`; says how long it took and what they were. */
export async function untilNodes(world: World, what: string, seconds: number, look: (node: NodeKernel) => boolean): Promise<readonly NodeKernel[]> {
  return untilSeen(world, { what, seconds }, (seen) => (seen.length === world.fleet.nodes.length && seen.every(look) ? seen : undefined));
}

/** As untilNodes, of one node. */
export async function untilNode(world: World, { name, what, seconds }: { readonly name: string; readonly what: string; readonly seconds: number }, look: (node: NodeKernel) => boolean): Promise<NodeKernel> {
  return untilSeen(world, { what: `${name}: ${what}`, seconds }, (seen) => seen.find((node) => node.metadata.name === name && look(node)));
}

async function untilSeen<T>(world: World, { what, seconds }: { readonly what: string; readonly seconds: number }, find: (seen: readonly NodeKernel[]) => T | undefined): Promise<T> {
  const started = performance.now();
  let seen: readonly NodeKernel[] = [];
  const found = await waitFor(what, { seconds, every: 200 }, async () => {
    seen = await getNodeKernels(world);
    return find(seen);
  }, () => seen.map((node) => ({ node: node.metadata.name, plan: node.spec.plan, reboot: node.spec.reboot, status: node.status })));
  world.say(`${what} after ${((performance.now() - started) / 1000).toFixed(1)} s`);
  return found;
}

/** The report says Active, and is about the boot that the node is in now. */
export async function activeAgain(world: World, node: Machine): Promise<NodeKernel> {
  const bootID = await node.bootID();
  return untilNode(world, { name: node.options.name, what: 'Active in its new boot', seconds: BOOT }, ({ status }) => status?.bootID === bootID && status.state === 'Active');
}

/** Agents run on all nodes that these policies select, and have touched nothing yet; a crash of a node from now on does not hit them in their start. */
export async function startAgents(world: World, policies: readonly object[] = [policy()]): Promise<void> {
  await apply(world, ...policies.map((each) => inPlanMode(each as { readonly spec: object })));
  await untilNodes(world, 'agents have reported', AGENT_START, ({ status }) => status !== undefined);
  await Promise.all(world.fleet.nodes.map(flush));
}

const inPlanMode = (object: { readonly spec: object }) => ({ ...object, spec: { ...object.spec, mode: 'Plan' } });

/**
 * What was written on the node is on its disk. The network plug-ins do not flush what they keep of a pod, and a crash in the half minute after the pod's start leaves it
 * empty on the disk: then kubelet can not end the old sandbox ("failed to get network cached result: unexpected end of JSON input"), and the pod never comes back.
 */
export async function flush(node: Machine): Promise<void> {
  await node.must('sync');
}

/** The report is about the intent that is there now. */
export const isCurrent = (node: NodeKernel) => node.status?.observedGeneration === node.metadata.generation;
export const patchOf = (status: NodeKernelStatus | undefined, name: string) => status?.livePatches.find((patch) => patch.name === name);

/** What the patched function shows: /proc/version. */
export const effect = (node: Machine) => node.must('cat /proc/version').then((text) => text.trim());

/** How often the kernel was asked to enable this patch since boot, from its own log. */
export async function timesEnabled(node: Machine, name: string): Promise<number> {
  return Number((await node.must(`dmesg | grep -c "livepatch: enabling patch '${name}'" || true`)).trim());
}

/** Nothing in the kernel's log that an admin would be woken for. */
export async function assertHealthyKernel(node: Machine): Promise<void> {
  const bad = await node.must("dmesg | grep -E 'BUG:|Oops|WARNING:|Call Trace|soft lockup|rcu_.*stall|Kernel panic' || true");
  assert.equal(bad.trim(), '', `${node.options.name}: the kernel's log is clean`);
}

/** Bits of /proc/sys/kernel/tainted that loading the test's modules sets: O (out of tree), E (unsigned), K (live patched). */
const MODULES_TAINT = 2 ** 12 + 2 ** 13 + 2 ** 15;

/** Nothing but modules has tainted the kernel: no forced transition or unload, no warning, no oops. */
export async function assertTaintedByModulesOnly(node: Machine): Promise<void> {
  const taint = Number(await node.must('cat /proc/sys/kernel/tainted'));
  assert.equal(taint & ~MODULES_TAINT, 0, `${node.options.name}: tainted ${taint}`);
}

export async function podsOf(world: World, component: 'operator' | 'agent'): Promise<readonly string[]> {
  const out = await world.fleet.plane.mustKubectl(['get', 'pods', '-n', NAMESPACE, '-l', `app.kubernetes.io/component=${component}`, '-o', 'name']);
  return out.trim().split('\n').filter(Boolean);
}
