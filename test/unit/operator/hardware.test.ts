/** Kexecs that failed, by class of machine. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Hardware, NodeKernel } from '../../../crds/nodekernel.ts';
import { kexecFailureOf, kexecFailuresOf } from '../../../operator/hardware.ts';
import { FIXED_RELEASE, aNodeKernel, aReport } from './builders.ts';

const CLASS = { vendor: 'acme', product: 'x1', firmware: '1.0' };
const FAILED = { id: 'order-1', release: FIXED_RELEASE, at: '2026-11-24T12:00:00Z', message: 'it came back by the firmware' };

function aMachine(name: string, hardware: Partial<Hardware> | 'none' = {}): NodeKernel {
  return aNodeKernel(name, { status: aReport(hardware === 'none' ? {} : { hardware: { ...CLASS, ...hardware } }) });
}

/** The node whose failure holds for `machine`, among itself and `others`. */
function holder(machine: NodeKernel, others: readonly NodeKernel[]): string | undefined {
  return machine.status && kexecFailureOf(machine.metadata.name, machine.status, kexecFailuresOf([machine, ...others]))?.node;
}

const failed = aMachine('n1', { kexecFailure: FAILED });
const cases: readonly (readonly [sentence: string, machine: NodeKernel, holder: string | undefined])[] = [
  ['a kexec that failed holds for the machine itself', failed, 'n1'],
  ['it holds for all of its class', aMachine('n2'), 'n1'],
  ['it does not hold for another model', aMachine('n2', { product: 'x2' }), undefined],
  ['nor for another vendor', aMachine('n2', { vendor: 'other' }), undefined],
  ['nor for another firmware of the same model', aMachine('n2', { firmware: '1.1' }), undefined],
  ['nor for a machine that does not tell what it is', aMachine('n2', { firmware: 'unknown' }), undefined],
  ['nor for one whose agent is older', aMachine('n2', 'none'), undefined],
];
for (const [sentence, machine, expected] of cases) {
  test(sentence, () => assert.equal(holder(machine, [failed]), expected));
}

test('a machine that does not tell what it is stands for itself, and for no other such one', () => {
  const unknown = { vendor: 'unknown', product: 'unknown', firmware: 'unknown' };
  const shy = aMachine('n1', { ...unknown, kexecFailure: FAILED });
  assert.deepEqual([holder(shy, []), holder(aMachine('n2', unknown), [shy])], ['n1', undefined]);
});

test('of several the first is named, with the kernel', () => {
  const failures = kexecFailuresOf([failed, aMachine('n2', { kexecFailure: { ...FAILED, release: 'another' } }), aNodeKernel('n3', { status: 'none' })]);
  assert.deepEqual([...failures.values()], [{ node: 'n1', release: FIXED_RELEASE }]);
});
