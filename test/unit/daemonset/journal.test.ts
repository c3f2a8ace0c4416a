/** The real agent with its journal on a simulated machine. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pino } from 'pino';
import { JOURNAL_PATH, makeJournal } from '../../../daemonset/journal.ts';
import { codeOf } from '../../../kernel/errors.ts';
import { SOAK_SECONDS, encodeRecord, parseJournal } from '../../../kernel/journal.ts';
import type { JournalRecord, RebootRecord } from '../../../kernel/journal.ts';
import { simulatedClock } from '../../simulated/clock.ts';
import { SimulatedMachine } from '../../simulated/host.ts';
import { aModule } from '../../simulated/module.ts';
import { HOST_PATH, aNode, aWanted, sha256Of } from '../../simulated/node.ts';
import type { SimulatedNode } from '../../simulated/node.ts';

const NAMED = ['BUG: unable to handle page fault for address: dead', 'RIP: 0010:patched_f+0x1/0x2 [livepatch_fix]'];

function kinds(node: SimulatedNode): readonly string[] {
  return parseJournal(node.machine.files.get(JOURNAL_PATH) ?? Buffer.alloc(0)).records.map(({ kind }) => kind);
}

async function started(livePatches = [aWanted()]): Promise<SimulatedNode> {
  const node = aNode();
  node.want(livePatches);
  node.start();
  await node.settle();
  return node;
}

function goDownInTransition(): Promise<SimulatedNode> {
  return (async () => {
    const node = aNode();
    node.machine.behaviours.set('livepatch_fix', { stalls: true });
    node.want([aWanted()]);
    node.start();
    await node.until('it is in transition', () => node.report()?.state === 'Transitioning');
    node.cutPower();
    node.machine.behaviours.clear();
    node.start();
    await node.settle();
    return node;
  })();
}

test('a load is in the journal until ten minutes after it, and then there is no file', async () => {
  await using node = await started();
  assert.deepEqual(kinds(node), ['Attempt', 'Committed']);
  await node.machine.clock.sleep(640_000);
  assert.equal(node.machine.files.has(JOURNAL_PATH), false);
  assert.equal(node.report()?.state, 'Active');
});

test('a node that loads nothing has no journal', async () => {
  await using node = await started([aWanted({ sha256: 'ab'.repeat(32) })]);
  assert.equal(node.report()?.reason, 'DigestMismatch');
  assert.equal(node.machine.files.has(JOURNAL_PATH), false);
});

test('an agent that ends leaves no journal of what ended well', async () => {
  await using node = await started();
  await node.stop();
  assert.equal(node.machine.files.has(JOURNAL_PATH), false);
});

test('a refused load is closed in the journal, so that a later boot holds nothing against it', async () => {
  await using node = aNode();
  node.machine.behaviours.set('livepatch_fix', { refuses: ['EINVAL'] });
  node.want([aWanted()]);
  node.start();
  await node.settle();
  node.cutPower();
  node.start();
  await node.until('it is active', () => node.report()?.state === 'Active');
});

test('a node that went down in the transition does not load the file again, and says so until it is lifted', async () => {
  await using node = await goDownInTransition();
  assert.deepEqual([node.report()?.state, node.report()?.reason, node.object.status?.state], ['Quarantined', 'QuarantinedAfterBoot', 'Quarantined']);
  await node.machine.clock.sleep(3_600_000);
  await node.stop();
  node.start();
  await node.machine.clock.sleep(60_000);
  node.cutPower();
  node.start();
  await node.machine.clock.sleep(60_000);
  assert.equal(node.machine.count('insmod livepatch_fix'), 1);
  assert.deepEqual(node.machine.modules, []);

  node.want([aWanted({ liftQuarantine: 'ticket-7' })]);
  await node.settle();
  assert.deepEqual([node.report()?.state, node.report()?.liftQuarantine], ['Active', 'ticket-7']);
});

test('a word lifts a quarantine once: the next one needs another word', async () => {
  await using node = await goDownInTransition();
  node.machine.behaviours.set('livepatch_fix', { stalls: true });
  node.want([aWanted({ liftQuarantine: 'ticket-7' })]);
  await node.until('it is tried again', () => node.report()?.state === 'Transitioning');
  node.cutPower();
  node.start();
  await node.until('it is held back again', () => node.report()?.state === 'Quarantined');
  node.machine.behaviours.clear();
  node.want([aWanted({ liftQuarantine: 'ticket-8' })]);
  await node.settle();
  assert.equal(node.report()?.state, 'Active');
});

test('another file of the same live patch is not held back', async () => {
  await using node = await goDownInTransition();
  const rebuilt = aModule({ buildID: 'ff'.repeat(20) });
  node.machine.files.set(HOST_PATH, rebuilt);
  node.want([aWanted({ sha256: sha256Of(rebuilt) })]);
  await node.settle();
  assert.equal(node.report()?.state, 'Active');
});

test('an oops that names the live patch within ten minutes quarantines it: it stays in the kernel, and goes when it is withdrawn', async () => {
  await using node = await started();
  await node.machine.clock.sleep(300_000);
  for (const line of NAMED) node.machine.say(line);
  await node.until('it is quarantined', () => node.report()?.state === 'Quarantined');
  assert.equal(node.report()?.reason, 'QuarantinedOops');
  assert.match(node.report()?.message ?? '', /page fault.*still in the kernel/);
  assert.deepEqual(node.machine.active, ['livepatch_fix']);
  node.want([aWanted({ desired: 'Absent' })]);
  await node.settle();
  assert.deepEqual(node.machine.modules, []);
  node.want([aWanted()]);
  await node.settle();
  assert.equal(node.report()?.reason, 'QuarantinedOops', 'a withdrawal forgets nothing');
  node.cutPower();
  node.start();
  await node.settle();
  assert.equal(node.machine.count('insmod livepatch_fix'), 1);
});

for (const [what, minutes, lines] of [['that names another module', 1, ['BUG: x', 'f+0x1/0x2 [ext4]']], ['eleven minutes after the load', 11, NAMED]] as const) {
  test(`an oops ${what} is not held against it`, async () => {
    await using node = await started();
    await node.machine.clock.sleep(minutes * 60_000);
    for (const line of lines) node.machine.say(line);
    await node.machine.clock.sleep(120_000);
    assert.equal(node.report()?.state, 'Active');
  });
}

test('an oops in the last moment before the agent is replaced is not missed', async () => {
  await using node = await started();
  for (const line of NAMED) node.machine.say(line);
  await node.stop();
  node.start();
  await node.until('it is quarantined', () => node.report()?.state === 'Quarantined');
});

for (const errno of ['ENOSPC', 'EROFS']) {
  test(`without a place for the journal (${errno}) nothing is loaded, and it is once there is one`, async () => {
    await using node = aNode();
    node.machine.disk.fails = errno;
    node.want([aWanted()]);
    node.start();
    await node.settle();
    assert.deepEqual([node.report()?.state, node.report()?.reason], ['Refused', 'JournalUnwritable']);
    assert.match(node.report()?.message ?? '', new RegExp(`${JOURNAL_PATH}.*${errno}`));
    assert.deepEqual([node.machine.asked, node.machine.staged.size], [[], 0]);
    node.machine.disk.fails = undefined;
    await node.until('it is active', () => node.report()?.state === 'Active');
  });
}

test('a disk that is full when the load ends is said, and the end is written when there is space', async () => {
  await using node = aNode();
  node.machine.behaviours.set('livepatch_fix', { transitionMilliseconds: 5000 });
  node.want([aWanted()]);
  node.start();
  await node.until('it is in transition', () => node.report()?.state === 'Transitioning');
  node.machine.disk.fails = 'ENOSPC';
  await node.settle();
  assert.match(node.report()?.message ?? '', /is active.*quarantine it.*ENOSPC/);
  node.machine.disk.fails = undefined;
  await node.until('it is written', () => kinds(node).includes('Committed'));
  await node.until('nothing is said any more', () => !node.report()?.message.includes('quarantine'));
});

test('a journal that can not be read stops every load, and the message says what would be forgotten', async () => {
  await using node = aNode();
  node.machine.files.set(JOURNAL_PATH, Buffer.alloc(4 * 1024 * 1024));
  node.want([aWanted()]);
  node.start();
  await node.settle();
  assert.equal(node.report()?.reason, 'JournalUnreadable');
  assert.deepEqual(node.machine.asked, []);
  node.machine.files.delete(JOURNAL_PATH);
  await node.until('it is active', () => node.report()?.state === 'Active');
});

const open: JournalRecord = { kind: 'Attempt', name: 'livepatch_fix', sha256: aWanted().sha256, buildID: 'ab', bootID: 'an earlier boot', uptimeSeconds: 5, at: '2026-11-24T09:00:00Z', lift: '' };

test('a torn record behind a quarantine hides nothing, and is gone before anything else is written', async () => {
  await using node = aNode();
  const other = aModule({ name: 'other_fix', buildID: 'cc'.repeat(20) });
  node.machine.files.set('/other.ko', other);
  node.machine.files.set(JOURNAL_PATH, Buffer.from(`${encodeRecord(open)}${encodeRecord(open).slice(0, 30)}`));
  node.want([aWanted({ replace: false }), aWanted({ name: 'other_fix', hostPath: '/other.ko', sha256: sha256Of(other), replace: false })]);
  node.start();
  await node.settle();
  assert.deepEqual([node.report()?.state, node.report('other_fix')?.state], ['Quarantined', 'Active']);
  assert.deepEqual(kinds(node), ['Attempt', 'Attempt', 'Committed']);
});

const staging: RebootRecord = { kind: 'Staging', id: 'order-1', method: 'Kexec', release: '6.12.117', bootID: 'a boot', at: '2026-11-24T09:00:00Z' };
const goingDown: RebootRecord = { ...staging, kind: 'GoingDown' };

/** As the next agent reads it. */
async function reread(machine: SimulatedMachine) {
  const journal = makeJournal(machine.host, pino({ level: 'silent' }));
  await journal.open();
  return journal;
}

test('a reboot is kept when loads are tidied, loads are when it is forgotten, and the file goes with the last of them', async () => {
  const machine = new SimulatedMachine(simulatedClock());
  const journal = await reread(machine);
  await journal.record(staging);
  await journal.record(open);
  await journal.record(goingDown);
  assert.deepEqual([(await reread(machine)).reboot, (await reread(machine)).loads.size], [goingDown, 1]);
  await journal.tidy(() => false);
  assert.deepEqual([(await reread(machine)).reboot, (await reread(machine)).loads.size], [goingDown, 0]);
  await journal.record(open);
  await journal.forgetReboot();
  assert.deepEqual([(await reread(machine)).reboot, (await reread(machine)).loads.size], [undefined, 1]);
  await journal.forgetReboot();
  await journal.tidy(() => false);
  assert.equal(machine.files.has(JOURNAL_PATH), false);
});

test('a reboot that can not be forgotten is still known', async () => {
  const machine = new SimulatedMachine(simulatedClock());
  const journal = await reread(machine);
  await journal.record(staging);
  machine.disk.fails = 'EROFS';
  await assert.rejects(journal.forgetReboot(), (error) => codeOf(error) === 'JournalUnwritable');
  assert.deepEqual(journal.reboot, staging);
});

test('a reboot behind a torn record is written so that it can be read', async () => {
  const machine = new SimulatedMachine(simulatedClock());
  machine.files.set(JOURNAL_PATH, Buffer.from(`${encodeRecord(open)}${encodeRecord(staging)}${encodeRecord(open).slice(0, 30)}`));
  const journal = await reread(machine);
  await journal.record(goingDown);
  assert.deepEqual([(await reread(machine)).reboot, (await reread(machine)).loads.size], [goingDown, 1]);
});

test('a record that follows a torn one is written so that it can be read', async () => {
  const machine = new SimulatedMachine(simulatedClock());
  machine.files.set(JOURNAL_PATH, Buffer.from(`${encodeRecord(open)}${encodeRecord(open).slice(0, 30)}`));
  const journal = makeJournal(machine.host, pino({ level: 'silent' }));
  await journal.open();
  await journal.record({ kind: 'Committed', sha256: open.sha256 });
  assert.equal(parseJournal(machine.files.get(JOURNAL_PATH) ?? Buffer.alloc(0)).records.length, 2);
});

test('a journal over its bound is compacted, and its quarantines stay', async () => {
  await using node = aNode();
  const done: readonly JournalRecord[] = Array.from({ length: 200 }, (_, index): readonly JournalRecord[] => [{ ...open, sha256: `${index}`.padStart(64, '0') }, { kind: 'Unloaded', sha256: `${index}`.padStart(64, '0') }]).flat();
  node.machine.files.set(JOURNAL_PATH, Buffer.from([open, ...done].map(encodeRecord).join('')));
  node.want([aWanted()]);
  node.start();
  await node.settle();
  assert.equal(node.report()?.state, 'Quarantined');
  assert.deepEqual(kinds(node), ['Attempt']);
});

/** The agent starts in a new boot, and has reported on it. */
async function comesBack(node: SimulatedNode): Promise<void> {
  const before = node.object.status?.bootID;
  node.cutPower();
  node.start();
  await node.until('a report of this boot', () => node.object.status?.bootID !== before && node.report() !== undefined);
  await node.settle();
}

test('a file after whose load the boot ends twice in a row is held back, and tried again under a word', async () => {
  await using node = aNode();
  node.want([aWanted({ replace: false })]);
  node.start();
  await node.settle();
  await comesBack(node);
  assert.equal(node.report()?.state, 'Active', 'once may be a power cut');
  await comesBack(node);
  assert.deepEqual([node.report()?.state, node.report()?.reason], ['Quarantined', 'QuarantinedCrashLoop']);
  assert.equal(node.machine.count('insmod livepatch_fix'), 2);
  await node.machine.clock.sleep(2 * SOAK_SECONDS * 1000);
  await comesBack(node);
  assert.equal(node.report()?.state, 'Quarantined', 'for good');
  node.want([aWanted({ replace: false, liftQuarantine: 'ticket-7' })]);
  await node.settle();
  assert.equal(node.report()?.state, 'Active');
});

test('boots that last, and boots that end with the agent told to, hold nothing against a file', async () => {
  await using node = aNode();
  node.want([aWanted({ replace: false })]);
  node.start();
  await node.settle();
  for (const lasts of [true, false, true, false]) {
    if (lasts) await node.machine.clock.sleep(2 * SOAK_SECONDS * 1000);
    else await node.stop();
    await comesBack(node);
    assert.equal(node.report()?.state, 'Active');
  }
});
