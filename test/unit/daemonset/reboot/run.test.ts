/** What a step looks at once more in the moment before it is carried out. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pino } from 'pino';
import { makeJournal } from '../../../../daemonset/journal.ts';
import { memoryFor, ready } from '../../../../daemonset/reboot/memory.ts';
import type { RebootView } from '../../../../daemonset/reboot/rules.ts';
import { runRebootStep } from '../../../../daemonset/reboot/run.ts';
import { KernelPatchError } from '../../../../kernel/errors.ts';
import type { RebootRecord } from '../../../../kernel/journal.ts';
import { simulatedClock } from '../../../simulated/clock.ts';
import { someFacts } from '../../../simulated/facts.ts';
import { SimulatedMachine } from '../../../simulated/host.ts';
import { TARGET, anOrder } from '../../../simulated/reboot.ts';

const order = anOrder({ phase: 'Rebooting' });
const staging: RebootRecord = { kind: 'Staging', id: order.id, method: 'Kexec', release: TARGET, bootID: order.bootID, at: '2026-11-24T00:00:00Z' };

/** A node that was ready a moment ago. */
async function aReadyNode(run?: SimulatedMachine['host']['run']) {
  const clock = simulatedClock();
  const machine = new SimulatedMachine(clock);
  machine.installKernel(TARGET);
  machine.stageByHand({ release: TARGET, commandLine: '' });
  const host = { ...machine.host, ...(run && { run }) };
  const journal = makeJournal(host, pino({ level: 'silent' }));
  await journal.open();
  await journal.record(staging);
  const view: RebootView = { order, running: someFacts(), record: staging, install: 'NotNeeded', loaded: 'on', memory: ready(memoryFor(order, undefined)), moving: undefined, reported: undefined, now: 0, date: clock.now() };
  return { machine, clock, journal, view, goDown: (changes: Partial<RebootView> = {}) => runRebootStep({ host, clock, journal }, { ...view, ...changes }, 'GoDown') };
}

test('a node that is ready is told to go down, and the journal knows it', async () => {
  const { machine, journal, goDown } = await aReadyNode();
  assert.equal((await goDown()).told, true);
  assert.deepEqual([machine.asked, journal.reboot?.kind], [['systemctl kexec'], 'GoingDown']);
});

test('an order that has expired since it was looked at is not carried out', async () => {
  const { machine, clock, goDown } = await aReadyNode();
  await clock.sleep(3_601_000);
  assert.equal((await goDown()).told, false);
  assert.deepEqual(machine.asked, []);
});

test('an image that has gone since it was looked at is put there again first, since systemd might guess another', async () => {
  const { machine, goDown } = await aReadyNode();
  machine.stageByHand(undefined);
  const memory = await goDown();
  assert.deepEqual([memory.staged, memory.told, machine.asked], [false, false, []]);
});

test('a call that does not end may have been heard, so the node counts as going down', async () => {
  const { journal, goDown } = await aReadyNode(async () => Promise.reject(new KernelPatchError('CommandTimedOut', 'nsenter did not end within 60 s')));
  assert.deepEqual([(await goDown()).told, journal.reboot?.kind], [true, 'GoingDown']);
});

test('a program that is missing is a failure for good, and the node counts as staying up', async () => {
  const { journal, goDown } = await aReadyNode(async () => Promise.reject(new KernelPatchError('CommandMissing', 'nsenter can not be started')));
  const memory = await goDown();
  assert.deepEqual([memory.failure?.reason, memory.failure?.retry, memory.told, journal.reboot?.kind], ['CommandMissing', false, false, 'Staging']);
});
