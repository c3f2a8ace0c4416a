/** The taint of a node that has booted, as it is decided from a view, and as it is told to the API server. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { LivePatchReport, NodeKernel, WantedLivePatch } from '../../../crds/nodekernel.ts';
import type { PatchPolicy } from '../../../crds/patchpolicy.ts';
import { decide } from '../../../operator/decide.ts';
import type { Client } from '../../../operator/kube/client.ts';
import type { KubeObject } from '../../../operator/kube/resources.ts';
import { Store } from '../../../operator/kube/store.ts';
import { makeWrites } from '../../../operator/kube/writes.ts';
import { readNode } from '../../../operator/observe.ts';
import type { NodeView, View } from '../../../operator/observe.ts';
import { FIXED_RELEASE, RELEASE, aKernelPatch, aLivePatch, aLivePatchReport, aNode, aNodeKernel, aPolicy, aReport, aView, aWanted } from './builders.ts';

const asking = aPolicy({ livePatch: { taintUntilPatched: true } });
const fix = aKernelPatch();
const patched = () => aNodeKernel('n1', { spec: specOf({}), status: reportOf({}) });

/** The plan of boot-1 with what was asked for then. */
function specOf({ bootID = 'boot-1', livePatches = [aWanted()], held = [] }: { bootID?: string; livePatches?: WantedLivePatch[]; held?: readonly string[] }): NodeKernel['spec'] {
  const patches = held.map((kernelPatch) => ({ kernelPatch, action: 'LivePatch' as const, reason: 'Some', message: '', holdsTaint: true }));
  return { plan: { policy: 'workers', mode: 'Apply', bootID, action: 'LivePatch', reason: 'Some', message: '', patches }, livePatches };
}

function reportOf({ bootID = 'boot-1', release = RELEASE, livePatches = [aLivePatchReport()] }: { bootID?: string; release?: string; livePatches?: LivePatchReport[] }) {
  return aReport({ bootID, kernel: { release }, livePatches, active: livePatches.filter(({ state }) => state === 'Active').map(({ name }) => name).join() });
}

interface Scene {
  readonly node?: Partial<NodeView>;
  readonly nodeKernel?: NodeKernel;
  readonly policies?: readonly PatchPolicy[];
  readonly kernelPatches?: View['kernelPatches'];
}

const aScene = ({ node = {}, nodeKernel = patched(), policies = [asking], kernelPatches = [fix] }: Scene) => aView({ nodes: [aNode('n1', node)], nodeKernels: [nodeKernel], policies, kernelPatches });

/** What is done about the taint, and by which KernelPatches it is held. */
function taintOf(scene: Scene): string {
  const [change] = decide(aScene(scene)).taints;
  if (!change) return 'unchanged';
  return change.holders.size === 0 ? 'goes' : `set for ${[...change.holders].join()}`;
}

const booted = { bootID: 'boot-2' };
const tainted = { ...booted, tainted: true };
const waiting = specOf({ bootID: 'boot-2', held: ['fix-a'] });
const again = (fields: Parameters<typeof reportOf>[0]) => aNodeKernel('n1', { spec: waiting, status: reportOf({ bootID: 'boot-2', ...fields }) });
const failed = aLivePatchReport({ state: 'Failed', reason: 'TransitionTimeout' });
const newPatch = aKernelPatch({ name: 'fix-b', cves: ['CVE-2026-31999'], kernels: [{ release: RELEASE, state: 'Affected', livePatch: aLivePatch({ name: 'livepatch_b', replace: false }) }] });

const CASES: Readonly<Record<string, Scene & { readonly taint: string }>> = {
  'a node that runs is not tainted': { taint: 'unchanged' },
  'a node that has booted and has not reported is tainted': { node: booted, taint: 'set for fix-a' },
  'so it is when the agent has reported first, and no operator ran meanwhile': { node: booted, nodeKernel: aNodeKernel('n1', { spec: specOf({}), status: reportOf({ bootID: 'boot-2', livePatches: [] }) }), taint: 'set for fix-a' },
  'it is not when all is active again by then': { node: booted, nodeKernel: aNodeKernel('n1', { spec: specOf({}), status: reportOf({ bootID: 'boot-2' }) }), taint: 'unchanged' },
  'a kubelet that is late with the boot id is no boot': { nodeKernel: aNodeKernel('n1', { spec: specOf({}), status: reportOf({ bootID: 'boot-2', livePatches: [] }) }), taint: 'unchanged' },
  'without the kubelet\'s boot id the agent\'s counts': { node: { bootID: '' }, nodeKernel: aNodeKernel('n1', { spec: specOf({}), status: reportOf({ bootID: 'boot-2', livePatches: [] }) }), taint: 'set for fix-a' },
  'a policy that does not ask for it gets none': { node: booted, policies: [aPolicy()], taint: 'unchanged' },
  'a node without live patches before its boot gets none': { node: booted, nodeKernel: aNodeKernel('n1', { spec: specOf({ livePatches: [] }) }), taint: 'unchanged' },
  'a live patch that was to be removed is none that it had': { node: booted, nodeKernel: aNodeKernel('n1', { spec: specOf({ livePatches: [aWanted({ desired: 'Absent' })] }) }), taint: 'unchanged' },
  'a plan without a boot id tells of no boot': { node: booted, nodeKernel: aNodeKernel('n1', { spec: { ...specOf({ bootID: 'unknown' }) } }), taint: 'unchanged' },
  'a new patch that is rolled out taints no running node': { nodeKernel: aNodeKernel('n1', { spec: specOf({ livePatches: [aWanted(), aWanted({ name: 'livepatch_b', kernelPatch: 'fix-b', replace: false })] }), status: reportOf({}) }), kernelPatches: [fix, newPatch], taint: 'unchanged' },
  'the taint stays while the live patch is not active': { node: tainted, nodeKernel: again({ livePatches: [] }), taint: 'unchanged' },
  'it stays when the live patch fails': { node: tainted, nodeKernel: again({ livePatches: [failed] }), taint: 'unchanged' },
  'it comes back when somebody removes it meanwhile': { node: booted, nodeKernel: again({ livePatches: [failed] }), taint: 'set for fix-a' },
  'it goes when the live patch is active': { node: tainted, nodeKernel: again({}), taint: 'goes' },
  'it goes though a new patch is still being rolled out': { node: tainted, nodeKernel: again({}), kernelPatches: [fix, newPatch], taint: 'goes' },
  'it goes when the node has booted into a fixed kernel': { node: tainted, nodeKernel: again({ release: FIXED_RELEASE, livePatches: [] }), kernelPatches: [aKernelPatch({ kernels: [{ release: FIXED_RELEASE, state: 'Fixed' }] })], taint: 'goes' },
  'it stays when the node has booted into a kernel that is open': { node: tainted, nodeKernel: again({ release: FIXED_RELEASE, livePatches: [] }), kernelPatches: [aKernelPatch({ kernels: [{ release: FIXED_RELEASE, state: 'Affected' }] })], taint: 'unchanged' },
  'it goes when the KernelPatch is withdrawn': { node: tainted, nodeKernel: again({ livePatches: [failed] }), kernelPatches: [aKernelPatch({ withdrawn: true })], taint: 'goes' },
  'it goes when the KernelPatch is deleted': { node: tainted, nodeKernel: again({ livePatches: [failed] }), kernelPatches: [], taint: 'goes' },
  'it goes when the policy no longer asks for it': { node: tainted, nodeKernel: again({ livePatches: [] }), policies: [aPolicy()], taint: 'goes' },
  'it goes when the policy is in mode Plan': { node: tainted, nodeKernel: again({ livePatches: [] }), policies: [aPolicy({ mode: 'Plan', livePatch: { taintUntilPatched: true } })], taint: 'goes' },
  'it goes when no policy selects the node': { node: tainted, nodeKernel: again({ livePatches: [] }), policies: [aPolicy({ nodeSelector: { matchLabels: { pool: 'other' } }, livePatch: { taintUntilPatched: true } })], taint: 'goes' },
  'it goes when the last policy is deleted': { node: tainted, nodeKernel: again({ livePatches: [] }), policies: [], taint: 'goes' },
  'a second boot meanwhile holds it too': { node: { ...tainted, bootID: 'boot-3' }, nodeKernel: again({ livePatches: [] }), taint: 'unchanged' },
};

for (const [sentence, { taint, ...scene }] of Object.entries(CASES)) {
  test(sentence, () => assert.equal(taintOf(scene), taint));
}

test('what holds the taint is stored with the plan, and the live patches are still asked for, so the next leader decides the same', () => {
  const [change] = decide(aScene({ node: booted })).intents;
  assert.ok(change?.kind === 'Publish');
  assert.deepEqual(change.spec.plan?.patches.map(({ kernelPatch, holdsTaint, reason }) => [kernelPatch, holdsTaint, reason]), [['fix-a', true, 'ReportOfOtherBoot']]);
  assert.deepEqual(change.spec.livePatches, [aWanted()]);
  assert.equal(change.underSlotOf, undefined, 'nothing is started by it');
  const stored = aNodeKernel('n1', { spec: change.spec, generation: 2 });
  assert.equal(taintOf({ node: tainted, nodeKernel: stored }), 'unchanged');
  assert.deepEqual(decide(aScene({ node: tainted, nodeKernel: stored })).intents, []);
});

test('once closed again it does not hold any more, whatever comes later in that boot', () => {
  const [change] = decide(aScene({ node: tainted, nodeKernel: again({}) })).intents;
  assert.ok(change?.kind === 'Publish');
  assert.deepEqual(change.spec.plan?.patches.map(({ holdsTaint }) => holdsTaint), [undefined]);
  assert.equal(taintOf({ node: booted, nodeKernel: aNodeKernel('n1', { spec: change.spec, status: reportOf({ bootID: 'boot-2', livePatches: [failed] }) }) }), 'unchanged');
});

function aStore<T>(project: (object: KubeObject) => T): Store<T> {
  return new Store<T>({ project, onUnreadable: (_name, error) => assert.ifError(error) });
}

/** A node as the API server has it, and what is sent to change it. */
function aWrittenNode(taints: readonly object[] | undefined) {
  const sent: object[] = [];
  const object: KubeObject = { metadata: { name: 'n1', resourceVersion: '7' }, ...(taints && { spec: { taints } }) };
  const client = {
    get: async () => object,
    merge: async (_resource: unknown, _name: string, fields: object) => {
      sent.push(fields);
      return { ...object, ...fields, metadata: { ...object.metadata, resourceVersion: '8' } };
    },
  } as unknown as Client;
  const nodes = aStore(readNode);
  nodes.upsert(object);
  const unused = aStore<never>(() => assert.fail('only the node is written'));
  const caches = { nodes, policies: unused, kernelPatches: unused, nodeKernels: unused };
  return { sent, nodes, writes: makeWrites({ client, isLeader: () => true, namespace: 'ns', caches }) };
}

const ours = { key: 'kernelpatch.dev/unpatched', effect: 'NoSchedule' };
const foreign = { key: 'node.kubernetes.io/not-ready', effect: 'NoExecute', timeAdded: '2026-11-24T12:00:00Z' };
const namesake = { ...ours, effect: 'NoExecute' };

for (const [sentence, before, wanted, after] of [
  ['our taint is set on a node without any', undefined, true, [ours]],
  ['our taint is set behind others', [foreign, namesake], true, [foreign, namesake, ours]],
  ['only our taint is removed', [foreign, ours, namesake], false, [foreign, namesake]],
] as const) {
  test(`${sentence}, and only if the node has not changed meanwhile`, async () => {
    const { sent, nodes, writes } = aWrittenNode(before);
    await writes.setTaint(aNode('n1'), wanted);
    assert.deepEqual(sent, [{ metadata: { resourceVersion: '7' }, spec: { taints: after } }]);
    assert.equal(nodes.get('n1')?.tainted, wanted, 'the next decision sees it');
  });
}
