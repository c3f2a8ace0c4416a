/** Which nodes may boot now. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RebootOrder, RebootReport } from '../../../crds/nodekernel.ts';
import { PatchPolicySpec } from '../../../crds/patchpolicy.ts';
import { instant } from '../../../operator/instant.ts';
import type { RebootView } from '../../../operator/reboot.ts';
import { decideReboots } from '../../../operator/reboots.ts';
import type { RebootFailure, RebootSlot } from '../../../operator/reboots.ts';
import type { Target } from '../../../operator/target.ts';
import { FIXED_RELEASE, NOW, OTHER_RELEASE, RELEASE, aKernelPatch, aNode, aNodeKernel, aReport, anOrder } from './builders.ts';

const TARGET: Target = { kernelPatch: 'fix-a', method: 'Kexec', release: FIXED_RELEASE };
const SECOND = 1000;
const LATER = instant(NOW + 600 * SECOND);

interface Fields extends Partial<Pick<RebootView, 'retry' | 'slotted' | 'drain'>> {
  readonly order?: RebootOrder;
  readonly report?: RebootReport['state'];
  readonly target?: Partial<Target> | 'none';
  readonly node?: Parameters<typeof aNode>[1];
}

/** Wanted in the fixed kernel, unless told. */
function view(name: string, { order, report, target = {}, node, retry, slotted = true, drain }: Fields = {}): RebootView {
  const reboot = order && report && { id: order.id, state: report, reason: report, message: report, since: LATER };
  const nodeKernel = aNodeKernel(name, { spec: { ...(order && { reboot: order }) }, status: aReport({ bootID: node?.bootID ?? 'boot-1', ...(reboot && { reboot }) }) });
  return { node: aNode(name, node), nodeKernel, target: target === 'none' ? undefined : { ...TARGET, ...target }, asked: true, retry, slotted, policy: PatchPolicySpec.parse({}), drain, now: NOW };
}

/** In a phase that lasts. */
const inPhase = (phase: RebootOrder['phase'], fields: Partial<RebootOrder> = {}) => anOrder({ phase, deadline: LATER, id: `order-${phase}`, ...fields });
const rested = (phase: 'Parked' | 'Refused', since: number) => inPhase(phase, { deadline: instant(NOW), since: instant(NOW - since * SECOND) });

interface Budget {
  readonly maxUnavailable?: string;
  readonly failureBudget?: number;
  readonly selected?: number;
  readonly busy?: readonly string[];
  readonly stored?: readonly RebootSlot[];
  readonly told?: readonly RebootFailure[];
  readonly retry?: string;
}

function decided(views: readonly RebootView[], { maxUnavailable = '1', failureBudget = 1, selected = views.length, busy = [], stored = [], told = [], retry }: Budget = {}) {
  const isKnown = (uid: string) => views.some(({ node }) => node.uid === uid);
  const kernelPatches = new Map([['fix-a', aKernelPatch({ kernels: [{ release: RELEASE, state: 'Affected', rebootInto: FIXED_RELEASE }], ...(retry !== undefined && { retryReboot: retry }) }).spec]]);
  const reboots = decideReboots(views, { rollout: { maxInFlight: '1', maxUnavailable, failureBudget }, selected, busy: new Map(busy.map((node) => [node, {}])), stored, told, isKnown, kernelPatches }, NOW);
  const before = new Map(views.map(({ node, nodeKernel }) => [node.name, nodeKernel.spec.reboot?.id]));
  return {
    ...reboots,
    begun: [...reboots.orders].filter(([node, { id }]) => id !== before.get(node)).map(([node]) => node),
    slotted: reboots.slots.map(({ node }) => node),
    waiting: Object.fromEntries([...reboots.waits].map(([node, { kind }]) => [node, kind])),
  };
}

const names = ['n1', 'n2', 'n3', 'n4', 'n5'];

for (const [maxUnavailable, selected, begun] of [['1', 5, ['n1']], ['3', 5, ['n1', 'n2', 'n3']], ['9', 5, names], ['40%', 5, ['n1', 'n2']], ['1%', 5, ['n1']], ['20%', 100, names]] as const) {
  test(`with maxUnavailable ${maxUnavailable} of ${selected} nodes ${begun.length} begin, by name, each with its slot`, () => {
    const reboots = decided(names.map((name) => view(name)), { maxUnavailable, selected });
    assert.deepEqual([reboots.begun, reboots.slotted], [begun, begun]);
    assert.deepEqual(reboots.slots.map(({ node, order }) => reboots.orders.get(node)?.id === order), begun.map(() => true));
    assert.deepEqual(Object.keys(reboots.waiting), names.filter((name) => !(begun as readonly string[]).includes(name)));
  });
}

test('a node that is out of service keeps its slot, and nobody else begins', () => {
  const stored = [{ node: 'n1', order: 'order-Rebooting', since: 'before' }];
  const { begun, slots, waiting } = decided([view('n1', { order: inPhase('Rebooting') }), view('n2')], { stored });
  assert.deepEqual([begun, slots, waiting], [[], stored, { n2: 'Slot' }]);
});

for (const phase of ['Parked', 'Refused', 'Failed'] as const) {
  test(`a node whose order is ${phase} holds none`, () => {
    const { begun, slotted } = decided([view('n1', { order: inPhase(phase) }), view('n2')], { failureBudget: 2 });
    assert.deepEqual([begun, slotted], [['n2'], ['n2']]);
  });
}

test('a node whose order ends now counts until that is stored, which is looked at soon', () => {
  const ending = view('n1', { order: inPhase('Draining'), report: 'Staged', drain: { kind: 'Parked', message: 'a pod is left' } });
  const { begun, slotted, orders, nextDeadline } = decided([ending, view('n2')]);
  assert.deepEqual([orders.get('n1')?.phase, begun, slotted, nextDeadline], ['Parked', [], ['n1'], NOW + 50]);
});

test('a node that holds a slot already goes first, since another leader may have promised it', () => {
  assert.deepEqual(decided(names.map((name) => view(name)), { stored: [{ node: 'n4', order: 'of-another-leader', since: 'before' }] }).begun, ['n4']);
});

test('an order that has just begun and has lost its slot goes where there is none for it, and gets one where there is', () => {
  const lost = [view('n1', { order: inPhase('Staging'), slotted: false }), view('n2', { order: inPhase('Draining') })];
  const without = decided(lost);
  assert.deepEqual([[...without.orders.keys()], without.slotted], [['n2'], ['n1', 'n2']], 'its slot goes once its order has');
  const room = decided(lost, { maxUnavailable: '2' });
  assert.deepEqual([[...room.orders.keys()], room.slotted, room.nextDeadline], [['n1', 'n2'], ['n1', 'n2'], NOW + 50]);
});

test('one that is drained goes on without its slot', () => {
  const { orders, slotted } = decided([view('n1', { order: inPhase('Draining'), slotted: false }), view('n2', { order: inPhase('Rebooting') })]);
  assert.deepEqual([[...orders.values()].map(({ phase }) => phase), slotted], [['Draining', 'Rebooting'], ['n1', 'n2']]);
});

test('nodes that were not tried yet go before those that were put off, and of these the longest first, so that none waits for ever', () => {
  const drain = { kind: 'Possible' } as const;
  const views = [view('n1', { order: rested('Parked', 400), drain }), view('n2', { order: rested('Parked', 900), drain }), view('n3', { order: rested('Refused', 700) }), view('n4'), view('n5')];
  const turns: string[] = [];
  for (const _ of views) turns.push(...decided(views.filter(({ node }) => !turns.includes(node.name))).begun);
  assert.deepEqual(turns, ['n4', 'n5', 'n2', 'n3', 'n1']);
});

test('a node that is not Ready, or changes its live patches, does not begin, and says what it waits for', () => {
  const { begun, waiting } = decided([view('n1', { node: { ready: false } }), view('n2'), view('n3')], { busy: ['n2'], maxUnavailable: '3' });
  assert.deepEqual([begun, waiting], [['n3'], { n1: 'Ready', n2: 'LivePatches' }]);
});

test('a node that is to boot into nothing waits for nothing', () => {
  const { begun, waiting, nextDeadline } = decided([view('n1', { target: 'none' })]);
  assert.deepEqual([begun, waiting, nextDeadline], [[], {}, undefined]);
});

const failed = (fields: Partial<RebootOrder> = {}) => inPhase('Failed', fields);

test('as many failures as the budget has halt the KernelPatch, fewer do not', () => {
  const views = [view('n1', { order: failed() }), view('n2', { order: failed({ id: 'order-2' }) }), view('n3')];
  const halted = decided(views, { failureBudget: 2 });
  assert.deepEqual([halted.begun, halted.waits.get('n3')], [[], { kind: 'Halted', halt: { failed: ['n1', 'n2'], kernelPatches: ['fix-a'] } }]);
  assert.deepEqual(decided(views, { failureBudget: 3 }).begun, ['n3']);
});

test('a kernel that failed for one KernelPatch is not tried for another, while another kernel is', () => {
  const views = [view('n1', { order: failed() }), view('n2', { target: { kernelPatch: 'fix-b' } }), view('n3', { target: { kernelPatch: 'fix-b', release: OTHER_RELEASE } })];
  const { begun, waits } = decided(views, { maxUnavailable: '3' });
  assert.deepEqual([begun, waits.get('n2')], [['n3'], { kind: 'Halted', halt: { failed: ['n1'], kernelPatches: ['fix-a'] } }]);
});

test('orders that stand go on when others have failed', () => {
  const { orders } = decided([view('n1', { order: failed() }), view('n2', { order: inPhase('Draining'), report: 'Staged', drain: { kind: 'Draining', message: '1 pod is left' } }), view('n3', { order: inPhase('Rebooting') })]);
  assert.deepEqual([...orders.values()].map(({ phase }) => phase), ['Failed', 'Draining', 'Rebooting']);
});

test('a new word lifts the halt, and the node that failed is the first to show whether it helps', () => {
  const word = { retry: 'ticket-1', target: { retry: 'ticket-1' } };
  const views = [view('n0', word), view('n1', { order: failed(), ...word }), view('n2', word)];
  assert.deepEqual(decided(views).begun, ['n1']);
  const again = views.map((each) => (each.node.name === 'n1' ? view('n1', { order: failed({ retry: 'ticket-1' }), ...word }) : each));
  assert.deepEqual(decided(again).waiting, { n0: 'Halted', n2: 'Halted' });
});

test('a failure counts while the node is down, and until a word is given', () => {
  const down = { order: failed(), target: 'none', node: { ready: false } } as const;
  assert.deepEqual(decided([view('n1', down), view('n2')]).waiting, { n2: 'Halted' });
  assert.deepEqual(decided([view('n1', { ...down, retry: 'ticket-1' }), view('n2', { target: { retry: 'ticket-1' } })]).begun, ['n2']);
});

test('a failure is told, and counts on when its node is deleted, also where another one of its name has come', () => {
  const { failures } = decided([view('n1', { order: failed() }), view('n2')]);
  assert.deepEqual(failures, [{ node: 'n1', uid: 'uid-n1', order: 'order-Failed', kernelPatch: 'fix-a', release: FIXED_RELEASE }]);
  for (const views of [[view('n2')], [view('n1', { node: { uid: 'uid-of-another' } }), view('n2')]]) {
    const { begun, waits, failures: kept } = decided(views, { told: failures });
    assert.deepEqual([begun, waits.get('n2'), kept], [[], { kind: 'Halted', halt: { failed: ['n1'], kernelPatches: ['fix-a'] } }, failures]);
  }
});

const GONE: RebootFailure = { node: 'n1', uid: 'uid-n1', order: 'order-1', kernelPatch: 'fix-a', release: FIXED_RELEASE };
const ends: readonly (readonly [sentence: string, told: RebootFailure, given: Budget, node?: string])[] = [
  ['another word is given', GONE, { retry: 'ticket-1' }],
  ['the KernelPatch is deleted', { ...GONE, kernelPatch: 'fix-b' }, {}],
  ['the KernelPatch asks for another kernel', { ...GONE, release: OTHER_RELEASE }, {}],
  ['the node is there and has not failed', GONE, {}, 'n1'],
];
for (const [sentence, told, given, node = 'n2'] of ends) {
  test(`it counts no more once ${sentence}`, () => {
    const { begun, failures } = decided([view(node)], { ...given, told: [told] });
    assert.deepEqual([begun, failures], [[node], []]);
  });
}

test('one that failed under the word of now counts', () => assert.deepEqual(decided([view('n2')], { retry: 'ticket-1', told: [{ ...GONE, retry: 'ticket-1' }] }).begun, []));

test('the next deadline is that of the phase that ends first, whatever lies behind', () => {
  const views = [view('n1', { order: inPhase('Rebooting', { deadline: instant(NOW + 90 * SECOND) }) }), view('n2', { order: inPhase('Parked', { deadline: instant(NOW + 30 * SECOND) }) }), view('n3', { order: rested('Parked', 900) })];
  assert.equal(decided(views).nextDeadline, NOW + 30 * SECOND);
  const waits = anOrder({ phase: 'Draining' });
  const { deadline: _none, ...forever } = waits;
  assert.equal(decided([view('n1', { order: forever, report: 'Staged' })]).nextDeadline, Date.parse(waits.notAfter), 'a drain that waits ends with its order');
});
