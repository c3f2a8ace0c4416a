/** What a reboot has led to, from what is seen in the next boot. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { NodeKernelStatus, RebootReport } from '../../../../crds/nodekernel.ts';
import { describeHardware, isOver, judgeOrder } from '../../../../daemonset/reboot/outcome.ts';
import type { RebootRecord } from '../../../../kernel/journal.ts';
import type { KernelFacts } from '../../../../kernel/facts.ts';
import { someFacts } from '../../../simulated/facts.ts';
import { TARGET, TARGET_BUILD_ID, anOrder } from '../../../simulated/reboot.ts';

const { bootID, hardware } = someFacts();
const told: RebootRecord = { kind: 'GoingDown', id: 'order-1', method: 'Kexec', release: TARGET, bootID, at: '2026-11-24T00:00:00Z' };
const later = (changes: Partial<KernelFacts> = {}): KernelFacts => someFacts({ bootID: 'later', ...changes });
const target = { release: TARGET, buildID: TARGET_BUILD_ID };
const byFirmware = { method: 'Firmware' } as const;

const ROWS: readonly (readonly [what: string, order: Parameters<typeof anOrder>[0], running: KernelFacts, record: RebootRecord | undefined, state: string, reason: string])[] = [
  ['kexec, the id is there', {}, later({ ...target, rebootID: 'order-1' }), told, 'Proven', 'ByKexec'],
  ['kexec, the id is there, the journal is lost', {}, later({ ...target, rebootID: 'order-1' }), undefined, 'Proven', 'ByKexec'],
  ['kexec, the id and the build are there', { buildID: TARGET_BUILD_ID }, later({ ...target, rebootID: 'order-1' }), told, 'Proven', 'ByKexec'],
  ['kexec, the id is there, another kernel', {}, later({ rebootID: 'order-1' }), told, 'WrongKernel', 'WrongRelease'],
  ['kexec, the id is there, another build', { buildID: 'ab'.repeat(20) }, later({ ...target, rebootID: 'order-1' }), told, 'WrongKernel', 'WrongBuild'],
  ['kexec, the id is there, the build can not be read', { buildID: TARGET_BUILD_ID }, later({ ...target, buildID: 'unknown', rebootID: 'order-1' }), told, 'WrongKernel', 'WrongBuild'],
  ['kexec, no id', {}, later(), told, 'CameBackByFirmware', 'KexecFailed'],
  ['kexec, no id, the target runs', {}, later(target), told, 'CameBackByFirmware', 'FirmwareStartedTarget'],
  ['kexec, the id of an earlier order', {}, later({ rebootID: 'order-0' }), told, 'CameBackByFirmware', 'KexecFailed'],
  ['kexec, the command line can not be read', {}, later({ ...target, rebootID: 'unknown' }), told, 'OtherBoot', 'CommandLineUnreadable'],
  ['kexec, nothing was told', {}, later(), { ...told, kind: 'Staging' }, 'OtherBoot', 'BootedIntoOther'],
  ['kexec, nothing was told, the target runs', {}, later(target), undefined, 'OtherBoot', 'BootedIntoTarget'],
  ['kexec, another order was told', {}, later(), { ...told, id: 'order-0' }, 'OtherBoot', 'BootedIntoOther'],
  ['firmware, the target', byFirmware, later(target), { ...told, ...byFirmware }, 'Proven', 'ByFirmware'],
  ['firmware, another kernel', byFirmware, later(), { ...told, ...byFirmware }, 'WrongKernel', 'WrongRelease'],
  ['firmware, nothing was told', byFirmware, later(target), undefined, 'OtherBoot', 'BootedIntoTarget'],
];

for (const [what, order, running, record, state, reason] of ROWS) {
  test(`${what}: ${state}, ${reason}`, () => {
    const outcome = judgeOrder(anOrder(order), running, record, undefined);
    assert.deepEqual([outcome.state, outcome.reason], [state, reason]);
    assert.match(outcome.message, /.{30}/);
  });
}

test('what was reported in this boot stays when the journal is tidied, and what was reported before the boot does not', () => {
  const reported: RebootReport = { id: 'order-1', state: 'CameBackByFirmware', reason: 'KexecFailed', message: 'it came back', since: '' };
  assert.equal(judgeOrder(anOrder(), later(), undefined, reported).state, 'CameBackByFirmware');
  assert.equal(judgeOrder(anOrder(), later(), undefined, { ...reported, state: 'GoingDown' }).state, 'OtherBoot');
});

const failure = { id: 'order-1', release: TARGET, at: 'now', message: '' };
const written = (changes: Partial<NodeKernelStatus>): NodeKernelStatus => ({ bootID: 'later', hardware, ...changes }) as NodeKernelStatus;
const report = { id: 'order-1', state: 'CameBackByFirmware', reason: '', message: '', since: '' } as const;
const remembered = { ...hardware, kexecFailure: failure };

const OVER: readonly (readonly [what: string, record: RebootRecord, running: KernelFacts, order: boolean, written: NodeKernelStatus | undefined, over: boolean])[] = [
  ['its boot goes on', told, someFacts(), true, written({ bootID }), false],
  ['its boot is not known to have ended', told, later({ bootID: 'unknown' }), true, undefined, false],
  ['its boot has ended before anything was told', { ...told, kind: 'Staging' }, later(), true, undefined, true],
  ['the command line says what it has led to', told, later({ ...target, rebootID: 'order-1' }), true, undefined, true],
  ['nothing is reported yet', told, later(), true, undefined, false],
  ['the last report is of the boot before', told, later(), true, written({ bootID, reboot: report, hardware: remembered }), false],
  ['it is reported and remembered', told, later(), true, written({ reboot: report, hardware: remembered }), true],
  ['it is reported and not remembered', told, later(), true, written({ reboot: report }), false],
  ['its order is gone, and it is remembered', told, later(), false, written({ hardware: remembered }), true],
  ['its order is gone, and it is not remembered', told, later(), false, written({}), false],
  ['by the firmware, it is not reported', { ...told, ...byFirmware }, later(target), true, written({}), false],
  ['by the firmware, it is reported that the default is being set', { ...told, ...byFirmware }, later(target), true, written({ reboot: { ...report, state: 'SettingDefault' } }), false],
  ['by the firmware, it is reported', { ...told, ...byFirmware }, later(target), true, written({ reboot: { ...report, state: 'Proven' } }), true],
];

for (const [what, record, running, order, status, over] of OVER) {
  test(`the journal's reboot is ${over ? 'forgotten' : 'kept'} when ${what}`, () => assert.equal(isOver(record, running, order ? anOrder() : undefined, status), over));
}

test('a failed kexec is remembered with the time it was first seen, for machines of one class', () => {
  const first = describeHardware(later(), told, undefined, 'now');
  assert.deepEqual([first.kexecFailure?.id, first.kexecFailure?.at], ['order-1', 'now']);
  assert.deepEqual(describeHardware(later(), told, first, 'later'), first);
  assert.deepEqual(describeHardware(later(), undefined, first, 'later'), first);
  assert.equal(describeHardware(later(), { ...told, id: 'order-2' }, first, 'later').kexecFailure?.id, 'order-2');
  assert.equal(describeHardware(later({ rebootID: 'order-2' }), undefined, first, 'later').kexecFailure, undefined);
  assert.equal(describeHardware(later({ hardware: { ...hardware, product: 'another' } }), undefined, first, 'later').kexecFailure, undefined);
  assert.equal(describeHardware(someFacts(), told, undefined, 'now').kexecFailure, undefined, 'the node still goes down');
  assert.equal(describeHardware(later(), { ...told, ...byFirmware }, undefined, 'now').kexecFailure, undefined, 'a boot loader is no kexec');
});
