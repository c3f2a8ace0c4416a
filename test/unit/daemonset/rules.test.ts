/** The table, row by row: where the patch stands in the kernel, and what comes next. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { memoryFor } from '../../../daemonset/memory.ts';
import type { Memory } from '../../../daemonset/memory.ts';
import { RECHECK_SECONDS, lookAgainIn, nextStep } from '../../../daemonset/rules.ts';
import type { EntryView, Reopened } from '../../../daemonset/rules.ts';
import { STEPS } from '../../../daemonset/steps.ts';
import type { StepName } from '../../../daemonset/steps.ts';
import type { Quarantine } from '../../../kernel/journal.ts';
import type { LivePatch, LoadedModule } from '../../../kernel/patches.ts';
import { MODULE_BUILD_ID } from '../../simulated/module.ts';
import { aWanted } from '../../simulated/node.ts';

const NOW = 1_000_000;
const seconds = (count: number) => NOW - count * 1000;

interface Given {
  readonly desired?: 'Loaded' | 'Absent';
  readonly reversible?: boolean;
  readonly replace?: boolean;
  readonly memory?: Partial<Memory>;
  readonly livePatch?: LivePatch;
  readonly module?: LoadedModule;
  readonly otherTransition?: string;
  readonly replacedBy?: string;
  readonly transitionSeconds?: number;
  readonly heldBy?: string;
  readonly reopens?: Reopened;
  readonly quarantine?: Quarantine;
  readonly uncommitted?: string;
  readonly foreign?: EntryView['foreign'];
  readonly ahead?: string;
}

function aView({ desired = 'Loaded', reversible = true, replace = true, transitionSeconds, memory = {}, livePatch, module, otherTransition, replacedBy, heldBy, reopens, quarantine, uncommitted, foreign = [], ahead }: Given): EntryView {
  const wanted = aWanted({ desired, reversible, replace, ...(transitionSeconds && { transitionSeconds }) });
  return {
    wanted,
    kernel: { name: wanted.name, livePatch, module },
    memory: { ...memoryFor(wanted, undefined), fileBuildID: MODULE_BUILD_ID, ...memory },
    otherTransition,
    replacedBy,
    reopens,
    foreign,
    ahead,
    heldBy,
    quarantine,
    uncommitted,
    now: NOW,
  };
}

const live: LoadedModule = { initState: 'live', buildID: MODULE_BUILD_ID };
const another: LoadedModule = { ...live, buildID: 'ff'.repeat(20) };
const shown = (enabled: boolean, transition: boolean, patched = true): LivePatch => ({
  enabled: enabled ? 'on' : 'off',
  transition: transition ? 'on' : 'off',
  replace: 'unknown',
  objects: [{ name: 'vmlinux', patched: patched ? 'on' : 'off', loaded: true, functions: ['vmlinux:version_proc_show'] }],
});
const gone = {};
const coming = { module: { ...live, initState: 'coming' } } as const;
const leftover = { module: live };
const enabling = { module: live, livePatch: shown(true, true) };
const enabled = { module: live, livePatch: shown(true, false) };
const disabling = { module: live, livePatch: shown(false, true) };
const disabled = { module: live, livePatch: shown(false, false) };
const unreadable = { module: live, livePatch: { enabled: 'unknown', transition: 'unknown', replace: 'unknown', objects: [] } } as const;
const absent = { desired: 'Absent' } as const;
const failure = { reason: 'TransitionTimeout', message: 'it stalled', retry: true, at: seconds(60) };
const refusal = { reason: 'FileMissing', message: 'it is not there', at: seconds(5) };
const unconfirmed = { reason: 'Unconfirmed', message: 'no route to host' };
const quarantine = { reason: 'QuarantinedAfterBoot', message: 'the load had not ended when the node went down' } as const;
const theirs = [{ name: 'vendor_fix', owner: 'somebody else', functions: ['vmlinux:f'] }];
const since = (name: StepName, ago: number): Partial<Memory> => ({ step: { name, reason: name, since: seconds(ago) } });

const ROWS: readonly (readonly [what: string, given: Given, step: StepName, state: string, reason?: string])[] = [
  ['wanted, nothing there', gone, 'Load', 'Pending'],
  ['wanted, insmod running', coming, 'AwaitModule', 'Loading'],
  ['wanted, a disabled module left', leftover, 'RemoveModule', 'Loading'],
  ['wanted, disabled on an old kernel', disabled, 'RemoveModule', 'Loading'],
  ['wanted, in transition', enabling, 'AwaitTransition', 'Transitioning'],
  ['wanted, there', enabled, 'Done', 'Active', 'Active'],
  ['wanted, being disabled', disabling, 'Enable', 'Transitioning'],
  ['wanted, not readable', unreadable, 'AwaitReadable', 'Unknown', 'SysfsUnreadable'],
  ['wanted, there without effect', { module: live, livePatch: shown(true, false, false) }, 'Disable', 'Unloading'],
  ['not wanted, nothing there', { ...absent, ...gone }, 'Done', 'Absent'],
  ['not wanted, insmod running', { ...absent, ...coming }, 'AwaitModule', 'Unloading'],
  ['not wanted, a disabled module left', { ...absent, ...leftover }, 'RemoveModule', 'Unloading'],
  ['not wanted, in transition', { ...absent, ...enabling }, 'Disable', 'Unloading'],
  ['not wanted, there', { ...absent, ...enabled }, 'Disable', 'Unloading'],
  ['not wanted, being disabled', { ...absent, ...disabling }, 'AwaitUnload', 'Unloading'],
  ['not wanted, there, not reversible', { ...absent, ...enabled, reversible: false }, 'Refuse', 'Refused', 'NotReversible'],

  ['wanted, a foreign module there', { module: another, livePatch: shown(true, false) }, 'Refuse', 'Refused', 'NameTaken'],
  ['wanted, a foreign module left', { module: another }, 'Refuse', 'Refused', 'NameTaken'],
  ['not wanted, a foreign module in transition', { ...absent, module: another, livePatch: shown(true, true) }, 'Refuse', 'Refused', 'NameTaken'],
  ['wanted, there, file not yet compared', { ...enabled, memory: { fileBuildID: undefined } }, 'Inspect', 'Loading'],
  ['wanted, there, file missing', { ...enabled, memory: { fileBuildID: undefined, refusal } }, 'Refuse', 'Refused', 'IdentityUnknown'],
  ['wanted, there, file missing since long', { ...enabled, memory: { fileBuildID: undefined, refusal: { ...refusal, at: seconds(RECHECK_SECONDS) } } }, 'Inspect', 'Loading'],
  ['not wanted, there, file missing', { ...absent, ...enabled, memory: { fileBuildID: undefined, refusal } }, 'Refuse', 'Refused', 'IdentityUnknown'],

  ['wanted, refused lately', { memory: { refusal } }, 'Refuse', 'Refused', 'FileMissing'],
  ['wanted, refused long ago', { memory: { refusal: { ...refusal, at: seconds(RECHECK_SECONDS) } } }, 'Load', 'Refused', 'FileMissing'],
  ['wanted, another transition running', { otherTransition: 'vendor_fix' }, 'AwaitOther', 'Loading', 'AwaitingTransition'],
  ['not wanted, another transition running', { ...absent, ...enabled, otherTransition: 'vendor_fix' }, 'AwaitOther', 'Unloading'],
  ['wanted, another transition running for too long', { otherTransition: 'vendor_fix', memory: since('AwaitOther', 75) }, 'Refuse', 'Refused', 'TransitionInProgress'],
  ['wanted, replaced by a later one', { ...leftover, replacedBy: 'livepatch_newer' }, 'Done', 'Active', 'Replaced'],
  ['wanted, never loaded, a later one there', { replacedBy: 'livepatch_newer' }, 'Done', 'Active', 'Replaced'],

  ['wanted, would leave a CVE open again', { reopens: { livePatch: 'livepatch_older', cves: ['CVE-2026-1000'] } }, 'Refuse', 'Refused', 'WouldReopen'],
  ['wanted, cumulative, somebody else has one', { foreign: theirs }, 'Refuse', 'Refused', 'WouldReplaceForeign'],
  ['wanted, beside what somebody else has', { foreign: theirs, replace: false }, 'Load', 'Pending'],
  ['wanted, loaded three times and gone, somebody else has one', { foreign: theirs, memory: { attempts: 3 } }, 'Fail', 'Failed', 'Displaced'],
  ['wanted, there, a module that came later is not patched', { module: live, livePatch: shown(true, false, false), memory: { verified: true } }, 'Fail', 'Failed', 'ObjectUnpatched'],

  ['wanted, refused long ago, one ahead', { ahead: 'livepatch_older', memory: { refusal: { ...refusal, at: seconds(RECHECK_SECONDS) } } }, 'AwaitTurn', 'Refused', 'FileMissing'],
  ['wanted, and nobody says whether it still is', { memory: { refusal: { ...unconfirmed, at: NOW } } }, 'AwaitConfirmation', 'Pending', 'Unconfirmed'],
  ['wanted, and nobody has said for long whether it still is', { memory: { refusal: { ...unconfirmed, at: seconds(RECHECK_SECONDS) } } }, 'Load', 'Pending', 'Loading'],
  ['wanted, one ahead', { ahead: 'livepatch_older' }, 'AwaitTurn', 'Pending', 'AwaitingTurn'],
  ['not wanted, there, one ahead', { ...absent, ...enabled, ahead: 'livepatch_older' }, 'AwaitTurn', 'Unloading'],
  ['not wanted, there, one ahead for long', { ...absent, ...enabled, ahead: 'livepatch_older', memory: since('AwaitTurn', 600) }, 'AwaitTurn', 'Unloading'],
  ['not wanted, in transition, one ahead', { ...absent, ...enabling, ahead: 'livepatch_older' }, 'Disable', 'Unloading'],
  ['wanted, there, file not yet compared, one ahead', { ...enabled, ahead: 'livepatch_older', memory: { fileBuildID: undefined } }, 'Inspect', 'Loading'],
  ['wanted, there, one ahead', { ...enabled, ahead: 'livepatch_older' }, 'Done', 'Active'],

  ['wanted, quarantined', { quarantine }, 'Quarantine', 'Quarantined', 'QuarantinedAfterBoot'],
  ['wanted, quarantined, a later one there', { quarantine, replacedBy: 'livepatch_newer' }, 'Quarantine', 'Quarantined'],
  ['wanted, quarantined and there', { ...enabled, quarantine }, 'Quarantine', 'Quarantined'],
  ['wanted, quarantined, in transition', { ...enabling, quarantine }, 'AwaitTransition', 'Transitioning'],
  ['wanted, quarantined, being disabled', { ...disabling, quarantine }, 'AwaitUnload', 'Unloading'],
  ['wanted, quarantined, a disabled module left', { ...leftover, quarantine }, 'RemoveModule', 'Loading'],
  ['not wanted, quarantined and there', { ...absent, ...enabled, quarantine }, 'Disable', 'Unloading'],

  ['wanted, failed a moment ago', { memory: { attempts: 1, failure: { ...failure, at: seconds(1) } } }, 'AwaitRetry', 'Loading', 'Retrying'],
  ['wanted, failed, the pause over', { memory: { attempts: 1, failure: { ...failure, at: seconds(5) } } }, 'Load', 'Loading'],
  ['wanted, failed twice, the longer pause not over', { memory: { attempts: 2, failure: { ...failure, at: seconds(19) } } }, 'AwaitRetry', 'Loading'],
  ['wanted, failed three times', { memory: { attempts: 3, failure } }, 'Fail', 'Failed', 'TransitionTimeout'],
  ['wanted, failed for good', { memory: { attempts: 1, failure: { ...failure, retry: false } } }, 'Fail', 'Failed'],
  ['wanted, failed three times and there all the same', { ...enabled, memory: { attempts: 3, failure } }, 'Done', 'Active'],
  ['wanted, loaded three times and gone', { memory: { attempts: 3 } }, 'Fail', 'Failed', 'Displaced'],

  ['wanted, in transition for 74 s', { ...enabling, memory: since('AwaitTransition', 74) }, 'AwaitTransition', 'Transitioning'],
  ['wanted, in transition for 75 s', { ...enabling, memory: since('AwaitTransition', 75) }, 'Disable', 'Unloading'],
  ['not wanted, being disabled for 75 s', { ...absent, ...disabling, memory: since('AwaitUnload', 75) }, 'Enable', 'Transitioning'],
  ['wanted, in transition for 20 s, the policy gives 20', { ...enabling, transitionSeconds: 20, memory: since('AwaitTransition', 20) }, 'Disable', 'Unloading'],
  ['wanted, in transition for 599 s, the policy gives 600', { ...enabling, transitionSeconds: 600, memory: since('AwaitTransition', 599) }, 'AwaitTransition', 'Transitioning'],
  ['not wanted, being disabled for 20 s, the policy gives 20', { ...absent, ...disabling, transitionSeconds: 20, memory: since('AwaitUnload', 20) }, 'Enable', 'Transitioning'],
  ['undoing a load, in transition', { ...enabling, memory: { undoing: true, failure } }, 'Disable', 'Unloading'],
  ['undoing a load, being disabled', { ...disabling, memory: { undoing: true, failure } }, 'AwaitUnload', 'Unloading'],
  ['undoing a load, module left', { ...leftover, memory: { undoing: true, failure } }, 'RemoveModule', 'Unloading'],
  ['undoing a load, being disabled for too long', { ...disabling, memory: { undoing: true, failure, ...since('AwaitUnload', 75) } }, 'Fail', 'Failed', 'KernelStuck'],
  ['undoing an unload, being disabled', { ...absent, ...disabling, memory: { undoing: true, failure } }, 'Enable', 'Transitioning'],
  ['undoing an unload, in transition', { ...absent, ...enabling, memory: { undoing: true, failure } }, 'AwaitTransition', 'Transitioning'],
  ['enabled can not be written for 10 s', { ...absent, ...enabled, memory: since('Disable', 10) }, 'Fail', 'Failed', 'KernelStuck'],
  ['insmod running for a minute', { ...coming, memory: since('AwaitModule', 60) }, 'Fail', 'Failed', 'KernelStuck'],
];

for (const [what, given, name, state, reason] of ROWS) {
  test(`${what}: ${name}, ${reason ?? state}`, () => {
    const step = nextStep(aView(given));
    assert.deepEqual([step.name, step.state], [name, state]);
    if (reason !== undefined) assert.equal(step.reason, reason);
  });
}

test('every step of the table is met in these rows', () => {
  const met = new Set(ROWS.map(([, , name]) => name));
  assert.deepEqual(Object.keys(STEPS).filter((name) => !met.has(name as StepName)), []);
});

test('every step that changes the kernel has an inverse, and every wait for it one that ends it', () => {
  const without = Object.entries(STEPS).filter(([name, { inverse }]) => /Load|able$|RemoveModule|AwaitTransition|AwaitUnload/.test(name) && inverse === undefined && name !== 'AwaitReadable');
  assert.deepEqual(without, []);
});

test('a failure names the live patch, and the deadline it is about', () => {
  const { failure: found } = nextStep(aView({ ...enabling, memory: since('AwaitTransition', 75) }));
  assert.match(found?.message ?? '', /livepatch_fix .* 75 s/);
});

test('a quarantine names the file, how to lift it, and that the patch is still there', () => {
  const { message } = nextStep(aView({ ...enabled, quarantine }));
  assert.match(message, new RegExp(`${aWanted().sha256}.*still in the kernel.*liftQuarantine of KernelPatch fix`));
  assert.doesNotMatch(nextStep(aView({ quarantine })).message, /still in the kernel/);
});

test('an active patch that the journal does not have as committed says what a boot would do', () => {
  assert.match(nextStep(aView({ ...enabled, uncommitted: 'ENOSPC' })).message, /quarantine it: ENOSPC/);
});

const besideButShown = (replace: LivePatch['replace']) => nextStep(aView({ module: live, livePatch: { ...shown(true, false), replace }, replace: false })).message;

test('an active patch that the kernel shows as cumulative against what the KernelPatch says tells so', () => {
  assert.match(besideButShown('on'), /The kernel shows replace: true: correct it in KernelPatch fix/);
  for (const replace of ['off', 'unknown'] as const) assert.equal(besideButShown(replace), 'livepatch_fix is active: 1 function patched');
});

test('what holds a transition is named while it lasts, and when it is given up', () => {
  const heldBy = 'held by cat (PID 812) in pod default/web';
  for (const given of [enabling, disabling, { otherTransition: 'vendor_fix' }]) assert.match(nextStep(aView({ ...given, ...(given === disabling && absent), heldBy })).message, /held by cat/);
  assert.match(nextStep(aView({ ...enabling, heldBy, memory: since('AwaitTransition', 75) })).failure?.message ?? '', /75 s and was reversed: held by cat/);
});

test('a wait is looked at within a tenth of its length, from 20 ms to a second', () => {
  const views = [0, 1, 5, 60].map((ago) => aView({ ...enabling, memory: since('AwaitTransition', ago) }));
  assert.deepEqual(views.map((view) => lookAgainIn(view, nextStep(view))), [20, 100, 500, 1000]);
});

test('a refusal is looked at again when it is due, and what is done is not', () => {
  const refused = aView({ memory: { refusal } });
  assert.equal(lookAgainIn(refused, nextStep(refused)), (RECHECK_SECONDS - 5) * 1000);
  const done = aView(enabled);
  assert.equal(lookAgainIn(done, nextStep(done)), undefined);
});
