/** The table, row by row: where the node stands, and what comes next. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RebootOrder, RebootReport } from '../../../../crds/nodekernel.ts';
import { memoryFor } from '../../../../daemonset/reboot/memory.ts';
import type { RebootMemory } from '../../../../daemonset/reboot/memory.ts';
import { holdsLivePatches, lookAgainIn, nextRebootStep } from '../../../../daemonset/reboot/rules.ts';
import type { RebootView } from '../../../../daemonset/reboot/rules.ts';
import { REBOOT_STEPS } from '../../../../daemonset/reboot/steps.ts';
import type { RebootStepName } from '../../../../daemonset/reboot/steps.ts';
import { RECHECK_SECONDS } from '../../../../daemonset/rules.ts';
import type { RebootRecord } from '../../../../kernel/journal.ts';
import { someFacts } from '../../../simulated/facts.ts';
import { TARGET, anOrder } from '../../../simulated/reboot.ts';

const NOW = 1_000_000;
const seconds = (count: number) => NOW - count * 1000;
const { bootID } = someFacts();
const LATER = 'a later boot';

interface Given {
  readonly order?: Partial<RebootOrder> | null;
  readonly running?: Partial<RebootView['running']>;
  readonly record?: RebootRecord;
  readonly install?: RebootView['install'];
  readonly loaded?: RebootView['loaded'];
  readonly memory?: Partial<RebootMemory>;
  readonly moving?: string;
  readonly reported?: RebootReport;
  readonly date?: string;
}

function aView({ order, running, record, install = 'NotNeeded', loaded = 'off', memory, moving, reported, date = '2026-11-24T00:10:00Z' }: Given): RebootView {
  const wanted = order === null ? undefined : anOrder(order);
  return { order: wanted, running: { ...someFacts(), ...running }, record, install, loaded, memory: { ...memoryFor(wanted, undefined), ...memory }, moving, reported, now: NOW, date: new Date(date) };
}

const none = { order: null } as const;
const going = { order: { phase: 'Rebooting' } } as const;
const parked = { order: { phase: 'Parked' } } as const;
const firmware = { order: { method: 'Firmware' } } as const;
const goingByFirmware = { order: { method: 'Firmware', phase: 'Rebooting' } } as const;
const staging: RebootRecord = { kind: 'Staging', id: 'order-1', method: 'Kexec', release: TARGET, bootID, at: '2026-11-24T00:00:00Z' };
const installing: RebootRecord = { ...staging, kind: 'Installing' };
const down: RebootRecord = { ...staging, kind: 'GoingDown' };
const ready = { record: staging, loaded: 'on', memory: { staged: true } } as const;
const refusal = { reason: 'Inhibited', message: 'somebody blocks it', at: seconds(5) };
const failure = { reason: 'KexecBusy', message: 'it is busy', retry: true, at: seconds(5) };
const settingDefault = { order: { phase: 'Rebooting', setDefault: true } } as const;
const byKexec = { record: down, running: { bootID: LATER, release: TARGET, rebootID: 'order-1' } } as const;
const said = { id: 'order-1', message: 'it was said', since: '2026-11-24T00:00:00Z' } as const;
const since = (name: RebootStepName, ago: number): Partial<RebootMemory> => ({ step: { name, reason: name, since: seconds(ago) } });

const ROWS: readonly (readonly [what: string, given: Given, step: RebootStepName, state: string, reason?: string])[] = [
  ['no order', none, 'Rest', 'Unstaged', 'NoOrder'],
  ['no order, an image of somebody else', { ...none, loaded: 'on' }, 'Rest', 'Unstaged'],
  ['no order, one was staged', { ...none, record: staging, loaded: 'on' }, 'Unstage', 'Staging'],
  ['no order, one was to be staged, and is not', { ...none, record: staging }, 'Unstage', 'Staging'],
  ['no order, the node goes down', { ...none, record: down, loaded: 'on' }, 'AwaitDown', 'Staging'],
  ['no order, one of an earlier boot', { ...none, record: { ...staging, bootID: 'earlier' } }, 'Rest', 'Unstaged'],

  ['Staging, nothing there', {}, 'Stage', 'Staging'],
  ['Staging, it can not be seen whether something is there', { loaded: 'unknown' }, 'Stage', 'Staging'],
  ['Staging, another agent was at it', { record: staging, loaded: 'on' }, 'Stage', 'Staging'],
  ['Staging, ready', ready, 'Ready', 'Staged'],
  ['Staging, ready, as far as can be seen', { ...ready, loaded: 'unknown' }, 'Ready', 'Staged'],
  ['Staging, the image is gone', { ...ready, loaded: 'off' }, 'Stage', 'Staging'],
  ['Staging, the image is gone for the third time', { ...ready, loaded: 'off', memory: { staged: true, attempts: 3 } }, 'Refuse', 'Refused', 'Displaced'],
  ['Staging, another order was staged', { record: { ...staging, id: 'order-0' }, loaded: 'on' }, 'Unstage', 'Staging'],
  ['Staging, an image of somebody else', { loaded: 'on' }, 'Refuse', 'Refused', 'ImageOfOthers'],
  ['Staging, the node goes down', { record: down, loaded: 'on' }, 'AwaitDown', 'GoingDown'],
  ['Draining, ready', { ...ready, order: { phase: 'Draining' } }, 'Ready', 'Staged'],
  ['Staging, refused lately', { memory: { refusal } }, 'Refuse', 'Refused', 'Inhibited'],
  ['Staging, refused long ago', { memory: { refusal: { ...refusal, at: seconds(RECHECK_SECONDS) } } }, 'Stage', 'Refused', 'Inhibited'],
  ['Staging, failed a moment ago', { memory: { attempts: 1, failure: { ...failure, at: seconds(1) } } }, 'AwaitRetry', 'Staging', 'Retrying'],
  ['Staging, failed, the pause over', { memory: { attempts: 1, failure } }, 'Stage', 'Staging'],
  ['Staging, failed three times', { memory: { attempts: 3, failure } }, 'Refuse', 'Refused', 'KexecBusy'],
  ['Staging, failed for good', { memory: { attempts: 1, failure: { ...failure, retry: false } } }, 'Refuse', 'Refused', 'KexecBusy'],
  ['Staging, by the firmware', firmware, 'Stage', 'Staging'],
  ['Staging, by the firmware, ready', { ...firmware, memory: { staged: true } }, 'Ready', 'Staged'],
  ['Staging, by the firmware, an image of somebody else', { ...firmware, loaded: 'on', memory: { staged: true } }, 'Ready', 'Staged'],
  ['Staging, by the firmware, staged for kexec', { ...firmware, record: staging, loaded: 'on' }, 'Unstage', 'Staging'],
  ['Staging, expired', { date: '2026-11-24T01:00:01Z' }, 'Rest', 'Expired'],
  ['Staging, expired, ready', { ...ready, date: '2026-11-24T01:00:01Z' }, 'Unstage', 'Staging'],
  ['Staging, in the last second', { date: '2026-11-24T01:00:00Z' }, 'Stage', 'Staging'],

  ['Staging, the kernel is missing', { install: 'Needed' }, 'Install', 'Installing'],
  ['Staging, the kernel is missing, by the firmware', { ...firmware, install: 'Needed' }, 'Install', 'Installing'],
  ['Staging, the kernel is missing, refused lately', { install: 'Needed', memory: { refusal } }, 'Refuse', 'Refused', 'Inhibited'],
  ['Staging, the kernel is missing, refused long ago', { install: 'Needed', memory: { refusal: { ...refusal, at: seconds(RECHECK_SECONDS) } } }, 'Install', 'Refused', 'Inhibited'],
  ['Staging, the kernel could not be installed', { install: 'Needed', memory: { failure: { ...failure, reason: 'DiskFull', retry: false } } }, 'Refuse', 'Refused', 'DiskFull'],
  ['Staging, the kernel is missing, an image of somebody else', { install: 'Needed', loaded: 'on' }, 'Refuse', 'Refused', 'ImageOfOthers'],
  ['Staging, the kernel is being installed', { record: installing, install: 'Running' }, 'AwaitInstall', 'Installing'],
  ['Staging, the kernel is being installed for an hour', { record: installing, install: 'Running', memory: since('AwaitInstall', 3600) }, 'AwaitInstall', 'Installing'],
  ['Staging, the installation has ended', { record: installing, install: 'Ended' }, 'EndInstall', 'Installing'],
  ['Staging, the installation has ended, by the firmware', { ...firmware, record: installing, install: 'Ended' }, 'EndInstall', 'Installing'],
  ['Staging, the installation has ended, which could not be written down lately', { record: installing, install: 'Ended', memory: { refusal } }, 'Refuse', 'Refused'],
  ['Staging, one of an earlier order is under way', { record: { ...installing, id: 'order-0' }, install: 'Running' }, 'AwaitInstall', 'Installing'],
  ['Draining, one of an earlier order is under way', { order: { phase: 'Draining' }, record: { ...installing, id: 'order-0' }, install: 'Running' }, 'AwaitInstall', 'Installing'],
  ['Refused while the kernel is being installed', { order: { phase: 'Refused' }, record: installing, install: 'Running' }, 'AwaitInstall', 'Installing'],
  ['Refused, the installation has ended', { order: { phase: 'Refused' }, record: installing, install: 'Ended' }, 'EndInstall', 'Installing'],
  ['no order, the kernel is being installed', { ...none, record: installing, install: 'Running' }, 'AwaitInstall', 'Installing'],
  ['no order, the installation has ended', { ...none, record: installing, install: 'Ended' }, 'EndInstall', 'Installing'],

  ['Rebooting, nothing there', going, 'Stage', 'Staging'],
  ['Rebooting, ready', { ...going, ...ready }, 'GoDown', 'GoingDown'],
  ['Rebooting, ready, an agent that did not stage it', { ...going, record: staging, loaded: 'on' }, 'Stage', 'Staging'],
  ['Rebooting, ready, a live patch in transition', { ...going, ...ready, moving: 'livepatch_fix' }, 'AwaitTransition', 'Staged', 'AwaitingTransition'],
  ['Rebooting, ready, a live patch in transition for 300 s', { ...going, ...ready, moving: 'vendor_fix', memory: { staged: true, ...since('AwaitTransition', 300) } }, 'Refuse', 'Refused', 'TransitionInProgress'],
  ['Rebooting, ready, a live patch in transition, refused for it', { ...going, ...ready, moving: 'vendor_fix', memory: { staged: true, refusal: { ...refusal, reason: 'TransitionInProgress' } } }, 'Refuse', 'Refused'],
  ['Rebooting, ready, refused for a transition that has ended', { ...going, ...ready, memory: { staged: true, refusal: { ...refusal, reason: 'TransitionInProgress' } } }, 'GoDown', 'GoingDown'],
  ['Rebooting, ready, refused lately', { ...going, ...ready, memory: { staged: true, refusal } }, 'Refuse', 'Refused', 'Inhibited'],
  ['Rebooting, ready, a shutdown was stuck', { ...going, ...ready, memory: { staged: true, failure: { ...failure, reason: 'ShutdownStuck' } } }, 'Refuse', 'Refused', 'ShutdownStuck'],
  ['Rebooting, an image of somebody else', { ...going, loaded: 'on' }, 'Refuse', 'Refused', 'ImageOfOthers'],
  ['Rebooting, another order was staged', { ...going, record: { ...staging, id: 'order-0' }, loaded: 'on' }, 'Unstage', 'Staging'],
  ['Rebooting, going down', { ...going, record: down, loaded: 'on', memory: { told: true } }, 'AwaitDown', 'GoingDown'],
  ['Rebooting, about to go down when the agent was killed', { ...going, record: down, loaded: 'on' }, 'GoDown', 'GoingDown'],
  ['Rebooting, going down for another order', { ...going, record: { ...down, id: 'order-0' }, loaded: 'on' }, 'AwaitDown', 'Staging'],
  ['Rebooting, going down for 299 s', { ...going, record: down, memory: { told: true, ...since('AwaitDown', 299) } }, 'AwaitDown', 'GoingDown'],
  ['Rebooting, going down for 300 s', { ...going, record: down, memory: { told: true, ...since('AwaitDown', 300) } }, 'StayUp', 'GoingDown', 'ShutdownStuck'],
  ['Rebooting, by the firmware, ready', { ...goingByFirmware, memory: { staged: true } }, 'GoDown', 'GoingDown'],
  ['Rebooting, by the firmware, nothing looked at', goingByFirmware, 'Stage', 'Staging'],
  ['Rebooting, by the firmware, going down', { ...goingByFirmware, record: { ...down, method: 'Firmware' }, memory: { told: true } }, 'AwaitDown', 'GoingDown'],
  ['Rebooting, expired', { ...going, ...ready, date: '2026-11-24T02:00:00Z' }, 'Unstage', 'Staging'],
  ['Rebooting, expired while it goes down', { ...going, record: down, memory: { told: true }, date: '2026-11-24T02:00:00Z' }, 'AwaitDown', 'GoingDown'],

  ['Parked, nothing there', parked, 'Rest', 'Unstaged', 'Parked'],
  ['Parked, ready', { ...parked, ...ready }, 'Unstage', 'Staging'],
  ['Parked, could not be taken out lately', { ...parked, ...ready, memory: { staged: true, refusal: { ...refusal, reason: 'UnstageFailed' } } }, 'Refuse', 'Refused', 'UnstageFailed'],
  ['Failed, ready', { ...ready, order: { phase: 'Failed' } }, 'Unstage', 'Staging'],
  ['Parked, going down', { order: { phase: 'Parked' }, record: down, loaded: 'on' }, 'AwaitDown', 'GoingDown'],
  ['Parked, nothing there', { order: { phase: 'Parked' } }, 'Rest', 'Unstaged', 'Parked'],

  ['an unknown boot', { ...going, running: { bootID: 'unknown' } }, 'Refuse', 'Refused', 'BootUnknown'],
  ['a later boot', { ...going, running: { bootID: LATER } }, 'Arrive', 'OtherBoot', 'BootedIntoOther'],
  ['a later boot, nothing was told', { ...going, record: staging, running: { bootID: LATER } }, 'Arrive', 'OtherBoot'],
  ['a later boot, by kexec', { ...going, record: down, running: { bootID: LATER, release: TARGET, rebootID: 'order-1' } }, 'Arrive', 'Proven', 'ByKexec'],
  ['a later boot, by the firmware', { ...going, record: down, running: { bootID: LATER } }, 'Arrive', 'CameBackByFirmware', 'KexecFailed'],
  ['a later boot, expired, by kexec', { ...going, record: down, date: '2026-11-25T00:00:00Z', running: { bootID: LATER, release: TARGET, rebootID: 'order-1' } }, 'Arrive', 'Proven'],
  ['a later boot, by kexec, its default to be set', { ...settingDefault, ...byKexec }, 'SetDefault', 'SettingDefault'],
  ['a later boot, by kexec, its default was being set when the agent was killed', { ...settingDefault, ...byKexec, reported: { ...said, state: 'SettingDefault', reason: 'SettingDefault' } }, 'SetDefault', 'SettingDefault'],
  ['a later boot, by kexec, its default set', { ...settingDefault, ...byKexec, memory: { defaultTried: true } }, 'Arrive', 'Proven', 'ByKexec'],
  ['a later boot, by kexec, its default could not be set', { ...settingDefault, ...byKexec, memory: { defaultTried: true, refusal: { ...refusal, reason: 'DefaultNotSaved' } } }, 'Arrive', 'Proven', 'DefaultNotSaved'],
  ['a later boot, by kexec, that its default could not be set was reported', { ...settingDefault, ...byKexec, reported: { ...said, state: 'Proven', reason: 'DefaultNotSaved' } }, 'Arrive', 'Proven', 'DefaultNotSaved'],
  ['a later boot, by the firmware, its default to be set only by a kernel that is proven', { ...settingDefault, record: down, running: { bootID: LATER } }, 'Arrive', 'CameBackByFirmware'],
  ['a later boot, and another order was staged in it', { ...going, record: { ...staging, id: 'order-0', bootID: LATER }, loaded: 'on', running: { bootID: LATER } }, 'Unstage', 'Staging'],
];

for (const [what, given, name, state, reason] of ROWS) {
  test(`${what}: ${name}, ${reason ?? state}`, () => {
    const step = nextRebootStep(aView(given));
    assert.deepEqual([step.name, step.state], [name, state]);
    if (reason !== undefined) assert.equal(step.reason, reason);
  });
}

test('every step of the table is met in these rows', () => {
  const met = new Set(ROWS.map(([, , name]) => name));
  assert.deepEqual(Object.keys(REBOOT_STEPS).filter((name) => !met.has(name as RebootStepName)), []);
});

test('every step can be taken back but an installation, going down, the default of a proven kernel, and what was seen of it; every wait that is for others has a deadline, that for an installation the operator’s', () => {
  assert.deepEqual(Object.entries(REBOOT_STEPS).filter(([, { inverse }]) => inverse === undefined).map(([name]) => name), ['Install', 'AwaitInstall', 'EndInstall', 'GoDown', 'SetDefault', 'Arrive']);
  assert.deepEqual(Object.entries(REBOOT_STEPS).filter(([, { kind, deadlineSeconds }]) => kind === 'Wait' && deadlineSeconds === undefined).map(([name]) => name), ['AwaitInstall', 'AwaitRetry']);
});

test('nothing but an order of this boot in phase Rebooting takes the node down', () => {
  for (const [what, given, name] of ROWS) if (name === 'GoDown') assert.deepEqual([aView(given).order?.phase, aView(given).order?.bootID], ['Rebooting', bootID], what);
});

test('live patches are held from the moment that the node could go down until it has', () => {
  const held = ROWS.filter(([, given]) => holdsLivePatches(aView(given))).map(([, , name]) => name);
  assert.deepEqual(new Set(held), new Set(['GoDown', 'AwaitTransition', 'AwaitDown', 'StayUp', 'Refuse']));
  assert.equal(holdsLivePatches(aView(ready)), false);
});

const again = (given: Given): number | undefined => lookAgainIn(aView(given), nextRebootStep(aView(given)));

test('a refusal is looked at again when it is due, an order when it expires, and what goes on each second', () => {
  assert.equal(again({ memory: { refusal } }), (RECHECK_SECONDS - 5) * 1000);
  assert.equal(again(ready), 50 * 60_000 + 1);
  assert.equal(again({ memory: { attempts: 2, failure } }), 15_000);
  assert.equal(again({ ...going, record: down, memory: { told: true } }), 1000);
  assert.equal(again(none), undefined);
});
