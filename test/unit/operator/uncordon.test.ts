/** Which cordons are undone, and how. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RebootOrder, RebootPhase } from '../../../crds/nodekernel.ts';
import { uncordoned } from '../../../operator/cordon.ts';
import { decideUncordons } from '../../../operator/uncordon.ts';
import { aNode, anOrder } from './builders.ts';

/** Our cordons that are undone on a node with the order, if any. */
function undone(order: RebootOrder | undefined, cordon: Parameters<typeof aNode>[1] = { unschedulable: true, cordonedFor: 'order-1' }): readonly string[] {
  return decideUncordons([aNode('n1', cordon)], new Map(order && [['n1', order]])).map(({ node, id }) => `${node.name} ${id}`);
}

const phases: Readonly<Record<RebootPhase, boolean>> = { Staging: true, Draining: false, Rebooting: false, Parked: true, Refused: true, Failed: true };
for (const [phase, goes] of Object.entries(phases)) {
  test(`in phase ${phase} the cordon ${goes ? 'goes' : 'stays'}`, () => assert.deepEqual(undone(anOrder({ phase: phase as RebootPhase })), goes ? ['n1 order-1'] : []));
}

test('the cordon of an order that is gone goes, also where no policy selects the node', () => assert.deepEqual(undone(undefined), ['n1 order-1']));
test('that of an earlier order goes while another one drains the node', () => assert.deepEqual(undone(anOrder({ id: 'order-2', phase: 'Draining' })), ['n1 order-1']));
test('that of somebody else stays', () => assert.deepEqual(undone(undefined, { unschedulable: true, cordonedFor: undefined }), []));
test('where somebody has uncordoned the node, our note about it goes', () => assert.deepEqual(undone(undefined, { unschedulable: false, cordonedFor: 'order-1' }), ['n1 order-1']));
test('a node without a cordon is left alone', () => assert.deepEqual(undone(undefined, {}), []));

/** What is merged into a node that has our note of order-1 and a cordon of these. */
function undoing(cordoners: readonly string[], id = 'order-1'): object | undefined {
  const managedFields = [{ manager: 'kubelet', fieldsV1: { 'f:spec': { 'f:podCIDR': {} } } }, ...cordoners.map((manager) => ({ manager, fieldsV1: { 'f:spec': { 'f:unschedulable': {} } } }))];
  const metadata = { name: 'n1', annotations: { 'kernelpatch.dev/cordoned-for': 'order-1' }, managedFields };
  return uncordoned({ metadata, spec: { unschedulable: true } }, id);
}

const note = { annotations: { 'kernelpatch.dev/cordoned-for': null } };
const ours = 'kernelpatch-operator';
test('our cordon goes with our note', () => assert.deepEqual(undoing([ours]), { metadata: note, spec: { unschedulable: null } }));
test('that of a person who uncordoned the node and cordoned it again stays, and our note goes', () => assert.deepEqual(undoing(['kubectl']), { metadata: note }));
test('one that is ours too goes', () => assert.deepEqual(undoing(['kubectl', ours]), { metadata: note, spec: { unschedulable: null } }));
test('where the API server does not tell whose it is, our note tells', () => assert.deepEqual(undoing([]), { metadata: note, spec: { unschedulable: null } }));
test('nothing is undone for another order', () => assert.equal(undoing([ours], 'order-2'), undefined));
