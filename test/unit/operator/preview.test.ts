/** Which drains are looked at ahead of time, how often, and what the plan shows of them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { DrainPreview } from '../../../crds/nodekernel.ts';
import { decide } from '../../../operator/decide.ts';
import { KernelPatchError } from '../../../operator/errors.ts';
import { makePreviews } from '../../../operator/kube/previews.ts';
import type { Reader } from '../../../operator/kube/drains.ts';
import type { DrainAsk, Preview } from '../../../operator/preview.ts';
import { FIXED_RELEASE, NOW, RELEASE, aKernelPatch, aNode, aNodeKernel, aPolicy, aReport, aView, startsNext } from './builders.ts';
import type { NodeKernelFields } from './builders.ts';
import { aBudget, aPod, drainOptions } from './pods.ts';

const rebootFixes = aKernelPatch({ kernels: [{ release: RELEASE, state: 'Affected', rebootInto: FIXED_RELEASE }] });
const installed = aReport({ installedKernels: [RELEASE, FIXED_RELEASE] });
const drain = (evict: number): DrainPreview => ({ evict, leave: 1, blockedPods: 0, blocked: [] });

interface Given {
  readonly policy?: object;
  readonly nodeKernel?: NodeKernelFields;
  readonly previews?: readonly Preview[];
}

function decided({ policy = { maxDisruption: 'Kexec' }, nodeKernel = {}, previews = [] }: Given) {
  const decisions = decide(
    aView({ nodes: [aNode('n1')], nodeKernels: [aNodeKernel('n1', { status: installed, ...nodeKernel })], kernelPatches: [rebootFixes], policies: [aPolicy(policy)], previews }),
  );
  const [intent] = decisions.intents;
  return { asked: decisions.previews.map(({ node }) => node), previews: decisions.previews, plan: intent?.spec.plan };
}

for (const [sentence, given, asked] of [
  ['a kexec that is planned is looked at', {}, ['n1']],
  ['a reboot that is planned is looked at', { policy: { maxDisruption: 'Reboot' }, nodeKernel: { status: aReport({ installedKernels: [FIXED_RELEASE], nextBoot: startsNext(FIXED_RELEASE), kernel: { kexec: 'Unavailable' } }) } }, ['n1']],
  ['one that is only planned is looked at before anybody consents', { policy: { maxDisruption: 'Kexec', mode: 'Plan' } }, ['n1']],
  ['a node that may not be drained is not', { policy: { maxDisruption: 'LivePatch' } }, []],
  ['a node that needs no reboot is not', { nodeKernel: { status: aReport({ kernel: { release: '6.1.0' } }) } }, []],
] as const satisfies readonly (readonly [string, Given, readonly string[]])[]) {
  test(sentence, () => assert.deepEqual(decided(given).asked, asked));
}

test('the plan shows what was seen, keeps what a leader before has seen, and drops it with the kexec', () => {
  assert.equal(decided({}).plan?.drain, undefined);
  const seen = decided({ previews: [{ node: 'n1', key: 'k', at: NOW, drain: drain(3) }] });
  assert.equal(seen.plan?.action, 'Kexec');
  assert.deepEqual(seen.plan?.drain, drain(3));
  assert.ok(seen.plan);
  assert.deepEqual(decided({ nodeKernel: { spec: { plan: seen.plan } } }).plan?.drain, drain(3));
  assert.deepEqual(decided({ nodeKernel: { spec: { plan: seen.plan } }, previews: [{ node: 'n1', key: 'k', at: NOW, drain: drain(4) }] }).plan?.drain, drain(4));
  assert.equal(decided({ policy: { maxDisruption: 'LivePatch' }, nodeKernel: { spec: { plan: seen.plan } } }).plan?.drain, undefined);
});

test('another boot, another action and other options of the policy ask anew; another message does not', () => {
  const [first] = decided({}).previews;
  for (const given of [{ policy: { maxDisruption: 'Kexec', drain: { force: true } } }, { policy: { maxDisruption: 'Reboot' }, nodeKernel: { status: aReport({ installedKernels: [FIXED_RELEASE], nextBoot: startsNext(FIXED_RELEASE), kernel: { kexec: 'Unavailable' as const } }) } }]) {
    assert.notEqual(decided(given).previews[0]?.key, first?.key);
  }
  assert.equal(decided({ policy: { maxDisruption: 'Kexec', rollout: { maxInFlight: '2' } } }).previews[0]?.key, first?.key);
});

const ask = (node: string, key = 'k'): DrainAsk => ({ node, key, options: drainOptions() });

const answer = (items: readonly unknown[]) => ({ items, resourceVersion: '1', next: '' });

/** Previews of a cluster in which each node has two pods under a budget that allows none. */
function makeScene() {
  const scene = { now: NOW, looked: [] as string[], budgetReads: 0, changes: 0, atOnce: 0, mostAtOnce: 0, failing: new Set<string>() };
  const client: Reader = {
    get: async () => Promise.reject(new KernelPatchError('NotFound', 'not asked')),
    async listPage({ kind }, { fieldSelector = '' }) {
      if (kind === 'PodDisruptionBudget') {
        scene.budgetReads += 1;
        return answer([aBudget('web', { status: { disruptionsAllowed: 0, currentHealthy: 2 } }), aBudget('far', { namespace: 'far' })]);
      }
      const node = fieldSelector.replace('spec.nodeName=', '');
      scene.looked.push(node);
      scene.atOnce += 1;
      scene.mostAtOnce = Math.max(scene.mostAtOnce, scene.atOnce);
      await Promise.resolve();
      scene.atOnce -= 1;
      if (scene.failing.has(node)) throw new KernelPatchError('Network', 'away');
      return answer([aPod('web-1'), aPod('done', { phase: 'Succeeded' }), aPod('ds', { owner: 'DaemonSet' })]);
    },
  };
  const previews = makePreviews({ client, now: () => scene.now, onChange: () => (scene.changes += 1) });
  return { scene, previews };
}

test('a node is looked at once in five minutes, and at once when its plan has changed', async () => {
  const { scene, previews } = makeScene();
  assert.equal(await previews.refresh([ask('n1')]), 300_000);
  assert.equal(await previews.refresh([ask('n1')]), 300_000);
  scene.now += 299_000;
  assert.equal(await previews.refresh([ask('n1')]), 1000);
  assert.deepEqual([scene.looked.length, scene.changes], [1, 1]);
  scene.now += 1000;
  await previews.refresh([ask('n1')]);
  await previews.refresh([ask('n1', 'other')]);
  assert.deepEqual([scene.looked.length, scene.changes], [3, 3]);
  assert.deepEqual([...previews.values()].map(({ drain: { evict, leave, blocked } }) => [evict, leave, blocked.map(({ pod, reason, pdb }) => `${pod} ${reason} ${pdb}`)]), [[0, 1, ['shop/web-1 BudgetExhausted shop/web']]]);
});

test('without anybody to ask for nothing is read, and what was seen is forgotten', async () => {
  const { scene, previews } = makeScene();
  await previews.refresh([ask('n1')]);
  assert.equal(await previews.refresh([]), undefined);
  assert.deepEqual([[...previews.values()], scene.budgetReads], [[], 1]);
});

test('many nodes are looked at 50 in one go and 4 at a time, with one read of all budgets', async () => {
  const { scene, previews } = makeScene();
  const asks = Array.from({ length: 120 }, (_, index) => ask(`n${index}`));
  assert.equal(await previews.refresh(asks), 0);
  assert.deepEqual([scene.looked.length, scene.mostAtOnce, scene.budgetReads, scene.changes], [50, 4, 1, 1]);
  await previews.refresh(asks);
  assert.equal(await previews.refresh(asks), 300_000);
  assert.equal(new Set(scene.looked).size, 120);
});

test('a node that can not be read holds up no other and is looked at again', async () => {
  const { scene, previews } = makeScene();
  scene.failing.add('n1');
  await assert.rejects(previews.refresh([ask('n1'), ask('n2')]), { code: 'Network' });
  assert.deepEqual([...previews.values()].map(({ node }) => node), ['n2']);
  scene.failing.clear();
  await previews.refresh([ask('n1'), ask('n2')]);
  assert.deepEqual(scene.looked, ['n1', 'n2', 'n1']);
});
