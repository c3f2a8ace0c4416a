/** load.sh, run for real on a directory that stands for the node's root. */
import assert from 'node:assert/strict';
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { FETCHED_DIRECTORY, fetchedPath } from '../../../../crds/nodekernel.ts';
import { BOOT_DIRECTORY, LINK_PATH, UNIT_PATH } from '../../../../daemonset/boot/install.ts';
import { JOURNAL_PATH } from '../../../../daemonset/journal.ts';
import { encodeRecord, findQuarantine, foldRecords } from '../../../../kernel/journal.ts';
import type { JournalRecord } from '../../../../kernel/journal.ts';
import { ROOT } from '../../../cache.ts';
import { BootingNode } from '../../../simulated/booting-node.ts';
import { WRITE_FATES } from '../../../simulated/disk.ts';
import { MODULE_BUILD_ID, RELEASE, aModule, buildIDNote } from '../../../simulated/module.ts';
import { sha256Of } from '../../../simulated/node.ts';

const FIX = aModule({ name: 'livepatch_fix' });
const OTHER = aModule({ name: 'livepatch_other', buildID: 'cc'.repeat(20) });
const SHA = sha256Of(FIX);
const FILE = `${BOOT_DIRECTORY}/${RELEASE}/${SHA}.ko`;
const BOOTS = `${BOOT_DIRECTORY}/boots`;

const attempt: JournalRecord = { kind: 'Attempt', name: 'livepatch_fix', sha256: SHA, buildID: MODULE_BUILD_ID, bootID: 'an earlier boot', uptimeSeconds: 3, at: '2026-11-24T09:00:00Z', lift: '' };
const again: JournalRecord = { ...attempt, bootID: 'a later boot' };
const committed: JournalRecord = { kind: 'Committed', sha256: SHA };
const unloaded: JournalRecord = { kind: 'Unloaded', sha256: SHA };
const oops: JournalRecord = { kind: 'Oops', sha256: SHA, trace: 'BUG: "kind":"Attempt" at livepatch_fix' };
const written = (...records: readonly JournalRecord[]) => Buffer.from(records.map(encodeRecord).join(''));

async function aNode(modules: readonly Buffer[] = [FIX], lift = ''): Promise<BootingNode> {
  const node = new BootingNode();
  await node.install(modules, lift);
  return node;
}

const kinds = (node: BootingNode) => node.journal.records.map(({ kind }) => kind);

for (const shell of [['sh'], ['bash', '--posix']]) {
  test(`in ${shell[0]} the live patches are loaded in their order, and journalled as the agent reads it`, async () => {
    const lift = 'ticket "7" \\ü ';
    using node = await aNode([FIX, OTHER], lift);
    const { code, output } = node.boot({ shell });
    assert.equal(code, 0, output);
    assert.deepEqual(node.asked, [`insmod ${SHA}.ko`, `insmod ${sha256Of(OTHER)}.ko`]);
    assert.deepEqual(node.loaded, ['livepatch_fix', 'livepatch_other']);
    assert.deepEqual([node.journal.damage, kinds(node)], [undefined, ['Attempt', 'Committed', 'Attempt', 'Committed']]);
    const [first] = node.journal.records;
    assert.ok(first?.kind === 'Attempt');
    assert.deepEqual(first, { ...attempt, bootID: node.bootID, uptimeSeconds: 5.25, lift, at: first.at });
    assert.match(first.at, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
  });
}

test('run again in the same boot, it loads nothing twice', async () => {
  using node = await aNode();
  node.boot();
  const { records } = node.journal;
  node.write('sys/module/livepatch_fix/initstate', 'live');
  const { asked } = node;
  assert.deepEqual(asked, [`insmod ${SHA}.ko`]);
  node.run();
  assert.deepEqual([node.asked, node.journal.records], [asked, records]);
});

const HELD: readonly (readonly [what: string, journal: Buffer, loads: boolean])[] = [
  ['a load that was refused', written(attempt, unloaded), true],
  ['a load that has not ended', written(attempt), false],
  ['a second load that has not ended', written(attempt, committed, attempt), false],
  ['a trace in the kernel log', written(attempt, committed, oops), false],
  ['a trace, and unloaded since', written(attempt, oops, unloaded), false],
  ['a trace, and loaded again under a lift', written(attempt, oops, { ...attempt, lift: 'ticket-7' }, committed), true],
  ['one boot that ended after the load', written(attempt, committed), true],
  ['two boots in a row that ended after it', written(attempt, committed, again, committed), false],
  ['two of them, and none between', written(attempt, committed, again, unloaded), true],
  ['two of them, the second under a lift', written(attempt, committed, { ...again, lift: 'ticket-7' }, committed), true],
  ['a reboot that is being made', written({ kind: 'GoingDown', id: 'order-1', method: 'Kexec', release: RELEASE, bootID: 'an earlier boot', at: '2026-11-24T09:00:00Z' }), true],
  ['two tries of one boot', written(attempt, committed, attempt, committed), true],
  ['one boot that is known to be the second', written({ ...attempt, crashes: 1 }, committed), false],
  ['one boot that was known to be the second, unloaded since', written({ ...attempt, crashes: 1 }, unloaded), true],
  ['a load of another file that has not ended', written({ ...attempt, sha256: 'ab'.repeat(32) }), true],
  ['a torn record', Buffer.concat([written(attempt, committed), written(attempt).subarray(0, 40)]), false],
  ['a record without its newline', written(attempt, committed).subarray(0, -1), false],
  ['NUL bytes', Buffer.concat([written(attempt, committed), Buffer.alloc(100)]), false],
  ['a changed record', Buffer.from(written(attempt, committed).toString().replace('Committed', 'Unloaded')), false],
];

for (const [what, journal, loads] of HELD) {
  test(`with ${what} in the journal the file is ${loads ? 'loaded' : 'left alone'}`, async () => {
    using node = await aNode();
    node.write(JOURNAL_PATH, journal);
    const { records, damage } = node.journal;
    const { output } = node.boot();
    if (damage === undefined) assert.equal(findQuarantine(foldRecords(records).get(SHA), node.bootID, '') === undefined, loads, 'as the agent judges');
    assert.deepEqual(node.loaded, loads ? ['livepatch_fix'] : [], output);
    if (!loads) assert.deepEqual(readFileSync(node.path(JOURNAL_PATH)), journal, 'and nothing is written behind it');
  });
}

test('wherever the power fails, what was in the kernel is in the journal, and the next boot does not load what has not ended', async () => {
  let point = 1;
  while (await survives(point)) point += 1;
  assert.ok(point > 8, 'there were points to fail at');
});

/** Returns whether the power failed: false when there are fewer points. */
async function survives(diesAt: number): Promise<boolean> {
  for (const fate of WRITE_FATES) {
    using node = await aNode();
    if (node.boot({ diesAt }).code !== 137) return false;
    if (fate !== 'kept' && !node.isWriting) continue;
    const where = `point ${diesAt}, ${fate}`;
    const wasLoaded = node.loaded.length > 0;
    node.cutPower(fate);
    const { records, damage } = node.journal;
    const load = foldRecords(records).get(SHA);
    assert.ok(!wasLoaded || load !== undefined, `${where}: it was in the kernel and the journal did not know`);
    node.boot();
    assert.equal(node.loaded.length === 1, load?.outcome !== 'Open' && damage === undefined, where);
    const known = foldRecords(node.journal.records).get(SHA);
    assert.equal(findQuarantine(known, node.bootID, '')?.reason, load?.outcome === 'Open' ? 'QuarantinedAfterBoot' : undefined, where);
  }
  return true;
}

test('a transition that does not end is reversed within a minute, its module removed, and the next one is not begun', async () => {
  using node = await aNode([FIX, OTHER]);
  node.write('stalls', '');
  const { output } = node.boot();
  assert.deepEqual([node.loaded, kinds(node)], [[], ['Attempt', 'Unloaded']], output);
  assert.deepEqual(node.asked, [`insmod ${SHA}.ko`, 'rmmod livepatch_fix']);
  assert.ok(node.uptime < 45);
});

test('what can not be reversed stays open for the agent, and the boot goes on', async () => {
  using node = await aNode();
  node.write('stalls', '');
  node.write('held', '');
  assert.equal(node.boot().code, 1);
  assert.deepEqual([node.loaded, kinds(node)], [['livepatch_fix'], ['Attempt']]);
  assert.ok(node.uptime < 60);
});

test('a module that the kernel refuses is closed in the journal, and the others are loaded', async () => {
  using node = await aNode([FIX, OTHER]);
  node.write('refuses', '');
  assert.equal(node.boot().code, 0);
  assert.deepEqual([kinds(node), node.asked.length], [['Attempt', 'Unloaded', 'Attempt', 'Unloaded'], 2]);
});

test('a file whose bytes have changed is not loaded and is removed, and one that is gone is passed over', async () => {
  using node = await aNode([FIX, OTHER]);
  node.write(FILE, aModule({ name: 'livepatch_fix', buildID: 'ff'.repeat(20) }));
  node.boot();
  assert.deepEqual([node.loaded, node.has(FILE)], [['livepatch_other'], false]);
  node.boot();
  assert.deepEqual(node.loaded, ['livepatch_other']);
});

test('another build of the release, and another release, load nothing', async () => {
  using node = await aNode();
  node.write('sys/kernel/notes', buildIDNote('ab'.repeat(20)));
  assert.equal(node.boot().code, 1);
  assert.deepEqual(node.asked, []);
  node.write('proc/sys/kernel/osrelease', '6.1.0\n');
  assert.equal(node.boot().code, 0);
  assert.deepEqual(node.asked, []);
});

test('without a place for the journal nothing is loaded', async () => {
  using node = await aNode();
  node.linkJournalTo('/none/journal');
  const { code, output } = node.boot();
  assert.deepEqual([code, node.asked], [1, []]);
  assert.match(output, /kernelpatch\.journal/);
});

test('after three boots without an agent it removes itself wholly, and one with an agent begins the count anew', async () => {
  using node = await aNode();
  node.write(fetchedPath('a1'.repeat(32)), 'a live patch from a registry');
  node.boot();
  node.run({ argument: 'stop' });
  node.boot();
  rmSync(node.path(BOOTS));
  for (let boot = 1; boot <= 3; boot += 1) {
    node.run({ argument: 'stop' });
    node.boot();
    assert.deepEqual([node.loaded, readFileSync(node.path(BOOTS), 'utf8')], [['livepatch_fix'], `${boot}\n`]);
  }
  node.run({ argument: 'stop' });
  node.boot();
  assert.deepEqual(node.loaded, []);
  for (const path of [BOOT_DIRECTORY, FETCHED_DIRECTORY, UNIT_PATH, LINK_PATH, JOURNAL_PATH]) assert.equal(node.has(path), false, path);
});

test('boots that end in order, without an agent in them, are not held against a file; others are, two in a row', async () => {
  using node = await aNode();
  for (let boot = 1; boot <= 3; boot += 1) {
    assert.deepEqual(node.boot().code, 0);
    node.run({ argument: 'stop' });
    assert.deepEqual([node.loaded, kinds(node).slice(-3)], [['livepatch_fix'], ['Attempt', 'Committed', 'Unloaded']]);
    node.run({ argument: 'stop' });
    assert.equal(kinds(node).length, 3 * boot, 'once is enough');
    rmSync(node.path(BOOTS));
  }
  node.boot();
  node.boot();
  node.boot();
  assert.deepEqual(node.loaded, []);
  assert.equal(findQuarantine(foldRecords(node.journal.records).get(SHA), node.bootID, '')?.reason, 'QuarantinedCrashLoop');
});

test('a count of boots that a power cut spoilt begins anew', async () => {
  using node = await aNode();
  node.write(BOOTS, '\0\0');
  node.boot();
  assert.deepEqual([node.loaded, readFileSync(node.path(BOOTS), 'utf8')], [['livepatch_fix'], '1\n']);
});

test('when it removes itself, a journal that holds something back stays', async () => {
  using node = await aNode();
  node.write(JOURNAL_PATH, written(attempt));
  node.write(BOOTS, '3\n');
  node.boot();
  assert.deepEqual([node.has(BOOT_DIRECTORY), kinds(node)], [false, ['Attempt']]);
});

test('the unit names the files where the agent keeps them, and gives the script more time than it takes', () => {
  const unit = readFileSync(join(ROOT, 'daemonset/boot/kernelpatch-boot.service'), 'utf8');
  const script = readFileSync(join(ROOT, 'daemonset/boot/load.sh'), 'utf8');
  assert.ok(unit.includes(`ExecStart=/bin/sh ${BOOT_DIRECTORY}/load.sh\n`));
  assert.ok(unit.includes(`ExecStop=-/bin/sh ${BOOT_DIRECTORY}/load.sh stop\n`));
  assert.ok(unit.includes(`ConditionPathExists=${BOOT_DIRECTORY}/load.sh\n`));
  assert.ok(unit.includes('WantedBy=sysinit.target\n') && LINK_PATH.includes('/sysinit.target.wants/'));
  assert.ok(numberIn(unit, 'TimeoutStartSec') > numberIn(script, 'TRANSITION_SECONDS') + numberIn(script, 'REVERSAL_SECONDS'));
});

function numberIn(text: string, name: string): number {
  return Number(new RegExp(`^${name}=(\\d+)$`, 'm').exec(text)?.[1]);
}
