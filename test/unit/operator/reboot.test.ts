import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { isActive } from '../../../crds/nodekernel.ts';
import type { RebootOrder, RebootReport } from '../../../crds/nodekernel.ts';
import { PatchPolicySpec } from '../../../crds/patchpolicy.ts';
import { beginOrder, counts, isCordoned, mayBegin, nextOrder, wantedDrain } from '../../../operator/reboot.ts';
import type { DrainState, RebootView } from '../../../operator/reboot.ts';
import type { NodeView } from '../../../operator/observe.ts';
import { instant } from '../../../operator/instant.ts';
import type { Target } from '../../../operator/target.ts';
import { FIXED_RELEASE, NOW, aNode, aNodeKernel, aReport } from './builders.ts';

const TARGET: Target = { kernelPatch: 'fix-a', method: 'Kexec', release: FIXED_RELEASE };
const SECOND = 1000;

/** A target whose kernel is not there, and is in that package. */
const brought = (name: string): Target => ({ ...TARGET, install: { name } });

interface Fields {
  readonly order?: RebootOrder;
  readonly report?: RebootReport['state'] | Partial<RebootReport>;
  readonly target?: Target | 'none';
  readonly drain?: DrainState;
  readonly now?: number;
  /** Of the kubelet. */
  readonly boot?: string;
  /** Of the agent's report. */
  readonly reportedBoot?: string;
  readonly ready?: boolean;
  readonly policy?: object;
  /** The target's KernelPatch asks for another try by this word. */
  readonly retry?: string;
  /** Of the order's KernelPatch; what the target says unless told. */
  readonly asked?: boolean;
  readonly slotted?: boolean;
  /** Unless told the node is cordoned for the order in the phases that want it. */
  readonly cordon?: Pick<NodeView, 'unschedulable' | 'cordonedFor'>;
}

function aRebootView(fields: Fields = {}): RebootView {
  const { order, report, target, drain, now, boot, reportedBoot = boot, ready, policy, retry, asked = target !== 'none', slotted, cordon = cordonFor(order) } = { ...USUAL, ...fields };
  const reboot = report && order && aRebootReport(order, report);
  return {
    node: aNode('node-1', { bootID: boot, ready, ...cordon }),
    nodeKernel: aNodeKernel('node-1', { spec: { ...(order && { reboot: order }) }, status: aReport({ bootID: reportedBoot, ...(reboot && { reboot }) }) }),
    target: target === 'none' ? undefined : { ...target, ...(retry !== undefined && { retry }) },
    asked,
    retry,
    slotted,
    policy: PatchPolicySpec.parse(policy),
    drain,
    now,
  };
}

function aRebootReport({ id, since }: RebootOrder, said: RebootReport['state'] | Partial<RebootReport>): RebootReport {
  return { id, state: 'Staged', reason: 'AsSaid', message: 'as the agent says', since, ...(typeof said === 'string' ? { state: said } : said) };
}

function cordonFor(order: RebootOrder | undefined): NonNullable<Fields['cordon']> {
  return isCordoned(order) ? { unschedulable: true, cordonedFor: order?.id } : { unschedulable: false, cordonedFor: undefined };
}

const USUAL = { target: TARGET, now: NOW, boot: 'boot-1', ready: true, policy: {}, slotted: true } satisfies Fields;

/** An order in a phase that was entered now. */
function anOrder(phase: RebootOrder['phase'], fields: Partial<RebootOrder> = {}): RebootOrder {
  return { ...beginOrder(aRebootView(), TARGET), phase, reason: phase, deadline: instant(NOW + 60 * SECOND), ...fields };
}

describe('the reboot of a node', () => {
  it('goes from making the kernel ready over the drain, the boot and the return to its end', () => {
    const begun = beginOrder(aRebootView(), TARGET);
    assert.deepEqual([begun.phase, begun.bootID, begun.release, begun.method], ['Staging', 'boot-1', FIXED_RELEASE, 'Kexec']);

    const ready = aRebootView({ order: begun, report: 'Staged' });
    assert.equal(wantedDrain(ready.nodeKernel), 'Simulate');
    assert.equal(nextOrder(ready)?.phase, 'Staging', 'until the drain was simulated');
    const draining = nextOrder({ ...ready, drain: { kind: 'Possible' } });
    assert.equal(draining?.phase, 'Draining');

    const busy = aRebootView({ order: draining, report: 'Staged', drain: { kind: 'Draining', message: '2 pods are left: default/web-1 is ending' } });
    assert.equal(wantedDrain(busy.nodeKernel), 'Drain');
    assert.equal(nextOrder(busy)?.message, '2 pods are left: default/web-1 is ending');
    const rebooting = nextOrder({ ...busy, drain: { kind: 'Drained' } });
    assert.deepEqual([rebooting?.phase, rebooting?.deadline, rebooting?.notAfter], ['Rebooting', instant(NOW + 600 * SECOND), instant(NOW + 120 * SECOND)]);

    const down = aRebootView({ order: rebooting as RebootOrder, report: 'GoingDown', ready: false });
    assert.deepEqual(nextOrder(down), rebooting);
    const booted = aRebootView({ order: rebooting as RebootOrder, report: 'GoingDown', boot: 'boot-2', reportedBoot: 'boot-1' });
    assert.deepEqual(nextOrder(booted), rebooting, 'the deadline is that of the whole outage, and its steps are not stored');

    const back = { order: rebooting as RebootOrder, report: 'Proven', boot: 'boot-2', target: 'none' } as const;
    assert.deepEqual(nextOrder(aRebootView({ ...back, ready: false })), rebooting, 'until the node is Ready');
    assert.equal(nextOrder(aRebootView(back)), undefined);
  });

  it('gives an installation the time that the policy has for it, tells of it, and goes on without the node when that is over', () => {
    const wanted = brought('linux-image-fixed');
    const begun = beginOrder(aRebootView({ target: wanted, policy: { reboot: { installSeconds: 1200 } } }), wanted);
    assert.deepEqual([begun.install, begun.deadline, beginOrder(aRebootView(), TARGET).deadline], [wanted.install, instant(NOW + 1380 * SECOND), instant(NOW + 180 * SECOND)]);
    assert.ok(begun.notAfter > (begun.deadline ?? ''));

    const installing = { order: begun, target: wanted, report: { state: 'Installing', reason: 'Installing', message: 'apt-get installs it' } } as const;
    const told = nextOrder(aRebootView(installing));
    assert.deepEqual([told?.phase, told?.reason, told?.message, isCordoned(told)], ['Staging', 'Installing', 'apt-get installs it', false]);
    assert.equal(nextOrder(aRebootView({ ...installing, target: TARGET }))?.phase, 'Staging', 'once it is there the order stands');
    const late = nextOrder(aRebootView({ ...installing, now: NOW + 1380 * SECOND }));
    assert.deepEqual([late?.phase, late?.reason], ['Refused', 'InstallTimedOut']);
    assert.match(late?.message ?? '', /^apt-get installs it, and that had not ended by .*journalctl -u kernelpatch-install\.service on node/);
  });

  it('asks a node again at once when another package is named, and after its deadline when it is the same', () => {
    const refused = { ...anOrder('Refused', { reason: 'PackageUnknown' }), install: { name: 'linux-image-misspelt' } };
    assert.equal(mayBegin(aRebootView({ order: refused, target: brought('linux-image-misspelt') })), false);
    assert.equal(mayBegin(aRebootView({ order: refused, target: brought('linux-image-fixed') })), true);
    assert.equal(mayBegin(aRebootView({ order: refused, target: brought('linux-image-misspelt'), now: NOW + 60 * SECOND })), true);
  });

  it('has the node cordoned from the drain until it is back, and not before or after', () => {
    const cordoned = (['Staging', 'Draining', 'Rebooting', 'Parked', 'Refused', 'Failed'] as const).filter((phase) => isCordoned(anOrder(phase)));
    assert.deepEqual(cordoned, ['Draining', 'Rebooting']);
  });

  it('parks a node that can not be drained before it is cordoned, with the reason, and comes back to it', () => {
    const blocked = { kind: 'Blocked', message: 'default/web-1: PodDisruptionBudget default/web allows 0 disruptions' } as const;
    const parked = nextOrder(aRebootView({ order: anOrder('Staging'), report: 'Staged', drain: blocked }));
    assert.deepEqual([parked?.phase, parked?.reason, isActive(parked)], ['Parked', 'DrainParked', false]);
    assert.match(parked?.message ?? '', /PodDisruptionBudget default\/web allows 0/);
    const later = (seconds: number, drain: DrainState) => aRebootView({ order: parked as RebootOrder, drain, now: NOW + seconds * SECOND });
    assert.equal(wantedDrain(later(1, blocked).nodeKernel), 'Simulate');
    assert.equal(nextOrder(later(600, { kind: 'Blocked', message: 'default/db-1' }))?.message, 'the node can not be drained: default/db-1');
    assert.deepEqual([mayBegin(later(600, blocked)), mayBegin(later(59, { kind: 'Possible' })), mayBegin(later(60, { kind: 'Possible' }))], [false, false, true]);
  });

  it('gives a node back whose drain has not ended in time', () => {
    const parked = nextOrder(aRebootView({ order: anOrder('Draining'), report: 'Staged', drain: { kind: 'Parked', message: '1 pod is left' } }));
    assert.equal(parked?.phase, 'Parked');
  });

  it('is refused by an agent that can not do it, and counts as no failure', () => {
    for (const phase of ['Staging', 'Draining', 'Rebooting'] as const) {
      const refused = nextOrder(aRebootView({ order: anOrder(phase), report: { state: 'Refused', reason: 'KexecLoadDisabled', message: 'kexec_load_disabled is 1' } }));
      assert.deepEqual([refused?.phase, refused?.reason, refused?.message], ['Refused', 'KexecLoadDisabled', 'kexec_load_disabled is 1'], phase);
    }
  });

  it('falls back to the firmware after a kexec that was refused in the same boot, at once', () => {
    const firmware: Target = { ...TARGET, method: 'Firmware' };
    const refused = anOrder('Refused', { reason: 'KexecLoadDisabled' });
    const view = aRebootView({ order: refused, target: firmware });
    assert.equal(mayBegin(view), true);
    assert.deepEqual([beginOrder(view, firmware).method, beginOrder(view, firmware).kexecRefused], ['Firmware', 'KexecLoadDisabled']);
    assert.equal(mayBegin(aRebootView({ order: refused })), false, 'the same is not tried at once');
    assert.equal(mayBegin(aRebootView({ order: refused, now: NOW + 60 * SECOND })), true, 'but after its deadline');
  });

  it('fails when a package was not installed to its end, so that the budget spares other nodes the same', () => {
    for (const reason of ['PackageFailed', 'PackageWithoutKernel', 'InstallFailed']) {
      const failed = nextOrder(aRebootView({ order: anOrder('Staging'), report: { state: 'Refused', reason } }));
      assert.deepEqual([failed?.phase, failed?.reason, failed && counts(failed, { retry: undefined })], ['Failed', reason, true]);
    }
    assert.equal(nextOrder(aRebootView({ order: anOrder('Staging'), report: { state: 'Refused', reason: 'PackageUnknown' } }))?.phase, 'Refused', 'nothing was changed');
  });

  it('keeps why a kexec was refused when the same report lets the plan ask for the firmware', () => {
    const firmware: Target = { ...TARGET, method: 'Firmware' };
    const report = { state: 'Refused', reason: 'KexecLoadDisabled' } as const;
    const refused = nextOrder(aRebootView({ order: anOrder('Staging'), report, target: firmware }));
    assert.deepEqual([refused?.phase, refused?.reason], ['Refused', 'KexecLoadDisabled']);
    assert.equal(mayBegin(aRebootView({ ...(refused && { order: refused }), report, target: firmware })), true);
    assert.equal(nextOrder(aRebootView({ order: anOrder('Staging'), target: firmware })), undefined, 'one that was not refused is taken back');
    assert.equal(nextOrder(aRebootView({ order: anOrder('Staging'), report, target: 'none' })), undefined, 'and one that nobody wants');
  });

  it('fails when a phase outlasts its deadline, with what is missing', () => {
    const late = NOW + 61 * SECOND;
    const failed = (fields: Fields) => nextOrder(aRebootView({ ...fields, now: late }));
    const reasons = [
      failed({ order: anOrder('Rebooting'), report: 'GoingDown', ready: false }),
      failed({ order: anOrder('Rebooting'), boot: 'boot-2', reportedBoot: 'boot-1' }),
      failed({ order: anOrder('Rebooting'), report: 'Proven', boot: 'boot-2', ready: false }),
    ].map((order) => [order?.phase, order?.reason]);
    assert.deepEqual(reasons, [['Failed', 'NotBack'], ['Failed', 'NotReady'], ['Failed', 'NotReady']]);
    const absences = [failed({ order: anOrder('Rebooting'), ready: false }), failed({ order: anOrder('Rebooting'), report: 'GoingDown' }), failed({ order: anOrder('Rebooting'), report: 'Staged' })].map((order) => /: (it .*); look/.exec(order?.message ?? '')?.[1]);
    assert.deepEqual(absences, ['it went down and has not come back', 'it was told to go down, and is still up', 'it is still up, and its agent does not say why']);
    const unready = failed({ order: anOrder('Staging'), report: 'Staging' });
    assert.deepEqual([unready?.phase, unready?.reason], ['Refused', 'StagingTimedOut'], 'an agent that is not heard of before anybody is disturbed is no failure');
    assert.equal(failed({ order: anOrder('Draining'), report: 'Staged', drain: { kind: 'Draining', message: '' } })?.phase, 'Draining', 'a drain is ended by its own step');
  });

  it('fails when another kernel runs than the one that was to, and is not tried again by itself', () => {
    for (const state of ['CameBackByFirmware', 'WrongKernel', 'OtherBoot'] as const) {
      const failed = nextOrder(aRebootView({ order: anOrder('Rebooting'), report: { state, reason: state }, boot: 'boot-2' }));
      assert.deepEqual([failed?.phase, failed?.reason], ['Failed', state]);
      assert.match(failed?.message ?? '', /^as the agent says\. Set a new word as spec\.retryReboot of KernelPatch fix-a to try it once more$/);
      const day = NOW + 86_400 * SECOND;
      const begins = (fields: Fields) => mayBegin(aRebootView({ order: failed as RebootOrder, boot: 'boot-2', now: day, ...fields }));
      assert.equal(begins({}), false);
      assert.equal(begins({ target: { ...TARGET, method: 'Firmware' } }), false);
      assert.equal(begins({ target: { ...TARGET, kernelPatch: 'fix-b' } }), false, 'another KernelPatch asks for the same kernel');
      assert.equal(begins({ retry: 'ticket-1' }), true, 'a person says so');
      assert.equal(begins({ target: { ...TARGET, release: 'another' } }), true, 'another kernel is another story');
    }
  });

  it('is tried once for each word, and taking the word away is none', () => {
    const failed = anOrder('Failed', { retry: 'ticket-1' });
    const begins = (retry?: string) => mayBegin(aRebootView({ order: failed, ...(retry !== undefined && { retry }) }));
    assert.deepEqual([begins('ticket-1'), begins(), begins('ticket-2')], [false, false, true]);
    assert.deepEqual([undefined, 'ticket-1', 'ticket-2'].map((retry) => counts(failed, { retry })), [true, true, false], 'the failure is held against the kernel until then');
    assert.equal(beginOrder(aRebootView({ order: failed }), { ...TARGET, retry: 'ticket-2' }).retry, 'ticket-2');
  });

  it('is taken back when nobody wants it any more, unless the node was told to go down', () => {
    for (const phase of ['Staging', 'Draining', 'Parked', 'Refused', 'Failed'] as const) {
      assert.equal(nextOrder(aRebootView({ order: anOrder(phase), report: 'Staged', target: 'none' })), undefined, phase);
    }
    assert.equal(nextOrder(aRebootView({ order: anOrder('Rebooting'), report: 'Staged', target: 'none' }))?.phase, 'Rebooting');
  });

  it('is not forgotten once it has failed while the node is open, although it may not be booted now', () => {
    for (const phase of ['Parked', 'Refused', 'Failed'] as const) assert.equal(nextOrder(aRebootView({ order: anOrder(phase), target: 'none', asked: true }))?.phase, phase);
  });

  it('stays failed until the node is in service, although its kernel is the wanted one', () => {
    const failed = { order: anOrder('Failed', { reason: 'NotReady' }), report: 'Proven', boot: 'boot-2', target: 'none' } as const;
    assert.equal(nextOrder(aRebootView({ ...failed, ready: false }))?.phase, 'Failed');
    assert.equal(nextOrder(aRebootView(failed)), undefined);
  });

  it('is taken back when the node was booted by somebody else before it was told to', () => {
    for (const phase of ['Staging', 'Draining'] as const) assert.equal(nextOrder(aRebootView({ order: anOrder(phase), boot: 'boot-2' })), undefined, phase);
    assert.equal(nextOrder(aRebootView({ order: anOrder('Rebooting'), report: { state: 'OtherBoot', reason: 'BootedIntoTarget' }, boot: 'boot-2', target: 'none' })), undefined, 'and into the wanted kernel');
  });

  it('goes down only with a cordon that lasts until it is over: its own, or that of a person', () => {
    const drained = { order: anOrder('Draining'), report: 'Staged', drain: { kind: 'Drained' } } as const;
    const goes = (cordon: Pick<NodeView, 'unschedulable' | 'cordonedFor'>) => nextOrder(aRebootView({ ...drained, cordon }))?.phase;
    assert.equal(nextOrder(aRebootView(drained))?.phase, 'Rebooting');
    assert.equal(goes({ unschedulable: true, cordonedFor: undefined }), 'Rebooting');
    assert.equal(goes({ unschedulable: false, cordonedFor: undefined }), 'Draining', 'somebody has uncordoned it');
    assert.equal(goes({ unschedulable: true, cordonedFor: 'an-earlier-order' }), 'Draining', 'that one is about to be undone');
  });

  it('disturbs nobody without a slot', () => {
    const ready = { order: anOrder('Staging'), report: 'Staged', drain: { kind: 'Possible' } } as const;
    assert.deepEqual([true, false].map((slotted) => nextOrder(aRebootView({ ...ready, slotted }))?.phase), ['Draining', 'Staging']);
  });

  it('begins on a node that is in service, with no cordon of ours left', () => {
    assert.equal(mayBegin(aRebootView()), true);
    assert.equal(mayBegin(aRebootView({ ready: false })), false);
    assert.equal(mayBegin(aRebootView({ cordon: { unschedulable: true, cordonedFor: 'an-earlier-order' } })), false);
    assert.equal(mayBegin(aRebootView({ cordon: { unschedulable: true, cordonedFor: undefined } })), true, 'a cordon of somebody else is no obstacle');
  });

  it('is parked, not held for ever, when the drain can not even be looked at', () => {
    const order = anOrder('Draining');
    const parked = nextOrder(aRebootView({ order, report: 'Staged', now: Date.parse(order.notAfter) }));
    assert.deepEqual([parked?.phase, parked?.message], ['Parked', `the node can not be drained: the drain had not come to an end by ${order.notAfter}: see the log of the operator`]);
    const unseen = nextOrder(aRebootView({ order: anOrder('Staging'), report: 'Staged', now: NOW + 61 * SECOND }));
    assert.deepEqual([unseen?.phase, unseen?.reason], ['Parked', 'DrainParked'], 'nor does the agent get the blame when its drain could not be simulated');
  });

  it('keeps to the firmware as long as the boot lasts in which the kexec was refused', () => {
    const firmware: Target = { ...TARGET, method: 'Firmware' };
    const parked = anOrder('Parked', { method: 'Firmware', kexecRefused: 'KexecLoadDisabled', deadline: instant(NOW) });
    assert.equal(beginOrder(aRebootView({ order: parked, target: firmware }), firmware).kexecRefused, 'KexecLoadDisabled');
    assert.equal(beginOrder(aRebootView({ order: parked, target: firmware, boot: 'boot-2' }), firmware).kexecRefused, undefined);
  });

  it('stays what it is while the agent of a node that has booted is silent', () => {
    for (const phase of ['Parked', 'Refused', 'Failed'] as const) {
      assert.equal(nextOrder(aRebootView({ order: anOrder(phase), target: 'none', boot: 'boot-2', reportedBoot: 'boot-1' }))?.phase, phase);
    }
  });

  it('carries what the policy says of the default, and is over once that is set', () => {
    const view = aRebootView({ policy: { reboot: { setDefault: true } } });
    assert.equal(beginOrder(view, TARGET).setDefault, true);
    assert.equal('setDefault' in beginOrder(aRebootView(), TARGET), false);
    const setting = aRebootView({ order: anOrder('Rebooting', { setDefault: true }), report: 'SettingDefault', boot: 'boot-2' });
    assert.equal(nextOrder(setting)?.phase, 'Rebooting');
    assert.equal(nextOrder(aRebootView({ order: anOrder('Rebooting', { setDefault: true }), report: 'Proven', boot: 'boot-2' })), undefined);
  });

  it('gives each order an id of its own', () => {
    const ids = [beginOrder(aRebootView(), TARGET), beginOrder(aRebootView({ now: NOW + 1 }), TARGET), beginOrder({ ...aRebootView(), node: aNode('node-2') }, TARGET)].map(({ id }) => id);
    assert.equal(new Set(ids).size, 3);
    for (const id of ids) assert.match(id, /^[0-9a-f]{16}$/);
  });
});
