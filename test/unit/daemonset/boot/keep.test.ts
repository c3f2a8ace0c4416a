/** The real agent on a simulated machine: what the node's next boot would load, at any moment. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BOOT_DIRECTORY, LINK_PATH, UNIT_PATH } from '../../../../daemonset/boot/install.ts';
import { encodeManifest, parseManifest } from '../../../../daemonset/boot/manifest.ts';
import { JOURNAL_PATH } from '../../../../daemonset/journal.ts';
import { encodeRecord } from '../../../../kernel/journal.ts';
import type { JournalRecord } from '../../../../kernel/journal.ts';
import { KERNEL_BUILD_ID } from '../../../simulated/facts.ts';
import { MODULE_BUILD_ID, RELEASE, aModule } from '../../../simulated/module.ts';
import { BOOT_FILES, HOST_PATH, aNode, aWanted, sha256Of } from '../../../simulated/node.ts';
import type { SimulatedNode } from '../../../simulated/node.ts';

const DIRECTORY = `${BOOT_DIRECTORY}/${RELEASE}`;
const MANIFEST = `${DIRECTORY}/manifest`;
const MODULE = `${DIRECTORY}/${aWanted().sha256}.ko`;
const OTHER = aModule({ name: 'other_fix', buildID: 'cc'.repeat(20) });
const other = aWanted({ name: 'other_fix', hostPath: '/other.ko', sha256: sha256Of(OTHER), replace: false });

function ofBoot({ machine }: SimulatedNode): readonly string[] {
  return [...machine.files.keys()].filter((path) => path.includes('kernelpatch') && path !== JOURNAL_PATH).sort();
}

/** What the next boot of the running kernel would load. */
function listed({ machine }: SimulatedNode): readonly string[] {
  return parseManifest(machine.files.get(MANIFEST)?.toString() ?? '').modules.map(({ name }) => name);
}

async function loaded(livePatches = [aWanted()]): Promise<SimulatedNode> {
  const node = aNode();
  node.machine.files.set('/other.ko', OTHER);
  node.want(livePatches);
  node.start();
  await node.settle();
  return node;
}

test('an active live patch is kept for the next boot, with all that loads it, and said in the same report', async () => {
  await using node = await loaded();
  assert.deepEqual(ofBoot(node), [LINK_PATH, MANIFEST, MODULE, UNIT_PATH, `${BOOT_DIRECTORY}/load.sh`].sort());
  assert.deepEqual(node.machine.files.get(MODULE), aModule());
  assert.equal(node.machine.files.get(UNIT_PATH)?.toString(), BOOT_FILES.unit);
  assert.equal(node.machine.files.get(MANIFEST)?.toString(), `${KERNEL_BUILD_ID}\n${aWanted().sha256} livepatch_fix ${MODULE_BUILD_ID} ""\n`);
  assert.deepEqual([node.writes.length, node.object.status?.boot?.state], [1, 'Kept']);
  assert.match(node.object.status?.boot?.message ?? '', /livepatch_fix.*kernelpatch\.boot=0/);
});

test('several are kept in the order they are loaded, and one that is withdrawn takes only itself out', async () => {
  await using node = await loaded([aWanted({ replace: false }), other]);
  assert.deepEqual(listed(node), ['livepatch_fix', 'other_fix']);
  node.want([aWanted({ replace: false, desired: 'Absent' }), other]);
  await node.settle();
  assert.deepEqual([listed(node), node.machine.files.has(MODULE)], [['other_fix'], false]);
});

test('a live patch that is to go has left what the next boot loads before the kernel is asked', async () => {
  for (let effect = 1; ; effect += 1) {
    await using node = await loaded();
    await node.stop();
    node.want([aWanted({ desired: 'Absent' })]);
    node.start(effect);
    await node.until('the agent is dead or done', () => node.life.over || node.machine.modules.length === 0);
    if (!node.life.over) return;
    assert.ok(node.machine.count('enabled livepatch_fix 0') === 0 || listed(node).length === 0, `killed at effect ${effect}`);
  }
});

test('wherever the power fails, the next boot loads no file but a whole one that is active and committed', async () => {
  for (let effect = 1; ; effect += 1) {
    await using node = aNode();
    node.want([aWanted()]);
    node.start(effect);
    await node.until('the agent is dead or done', () => node.life.over || node.object.status?.boot?.state === 'Kept');
    if (!node.life.over) return;
    const before = node.machine.active;
    node.machine.cutPower('lost');
    for (const name of listed(node)) {
      assert.ok(before.includes(name), `power failed at effect ${effect}`);
      assert.deepEqual(node.machine.files.get(MODULE), aModule());
      assert.match(node.machine.files.get(JOURNAL_PATH)?.toString() ?? '', /Committed/);
    }
  }
});

test('a live patch that oopses, stalls or is taken out of the intent is not kept', async () => {
  await using oopsed = await loaded();
  for (const line of ['BUG: unable to handle page fault', 'f+0x1/0x2 [livepatch_fix]']) oopsed.machine.say(line);
  await oopsed.until('it is quarantined', () => oopsed.report()?.state === 'Quarantined');
  assert.deepEqual(ofBoot(oopsed), []);

  await using stalled = aNode();
  stalled.machine.behaviours.set('livepatch_fix', { stalls: true });
  stalled.want([aWanted()]);
  stalled.start();
  await stalled.until('it is in transition', () => stalled.report()?.state === 'Transitioning');
  assert.deepEqual([ofBoot(stalled), stalled.object.status?.boot], [[], undefined]);

  await using dropped = await loaded();
  dropped.want([]);
  await dropped.settle();
  assert.deepEqual(ofBoot(dropped), []);
});

test('a module of that name that is not ours, and one that a later cumulative one replaced, are not kept', async () => {
  await using node = aNode();
  node.machine.loadByHand(aModule({ buildID: 'ff'.repeat(20) }));
  node.want([aWanted()]);
  node.start();
  await node.settle();
  assert.deepEqual([node.report()?.reason, ofBoot(node)], ['NameTaken', []]);

  await using replacing = await loaded([aWanted({ cves: [] })]);
  replacing.machine.behaviours.set('other_fix', { replace: true });
  replacing.want([aWanted({ cves: [] }), { ...other, replace: true, cves: [] }]);
  await replacing.settle();
  assert.deepEqual([replacing.report()?.reason, listed(replacing)], ['Replaced', ['other_fix']]);
});

test('a live patch is kept once the journal says that its load ended well', async () => {
  await using node = aNode();
  node.machine.behaviours.set('livepatch_fix', { transitionMilliseconds: 5000 });
  node.want([aWanted()]);
  node.start();
  await node.until('it is in transition', () => node.report()?.state === 'Transitioning');
  node.machine.disk.readOnly = [JOURNAL_PATH];
  await node.settle();
  assert.deepEqual([node.report()?.state, ofBoot(node)], ['Active', []]);
  node.machine.disk.readOnly = [];
  await node.until('it is kept', () => node.object.status?.boot?.state === 'Kept');
});

test('a policy that does not want it leaves no file on the node, and its live patch is active all the same', async () => {
  await using node = await loaded();
  node.want([aWanted()], { loadAtBoot: false });
  await node.settle();
  assert.deepEqual([ofBoot(node), node.object.status?.boot?.state, node.report()?.state], [[], 'Off', 'Active']);
});

const OBSTACLES: Readonly<Record<string, [prepare: (node: SimulatedNode) => void, reason: string, message: RegExp]>> = {
  'a node without systemd': [({ machine }) => machine.files.delete('/run/systemd/system/'), 'NoSystemd', /systemd/],
  'a node whose /etc is read-only': [({ machine }) => { machine.disk.readOnly = ['/etc']; }, 'HostUnwritable', /\/etc\/systemd\/system\/kernelpatch-boot\.service can not be written: EROFS/],
  'a disk that is full': [({ machine }) => { machine.disk.readOnly = [BOOT_DIRECTORY]; }, 'HostUnwritable', /kernelpatch\.boot/],
  'a module that is not at its place any more': [({ machine }) => machine.files.delete(HOST_PATH), 'FileMissing', /is not on this node/],
};

for (const [what, [prepare, reason, message]] of Object.entries(OBSTACLES)) {
  test(`${what} is named, and hinders nothing else; it is tried again`, async () => {
    await using node = await loaded([]);
    node.want([aWanted()], { loadAtBoot: false });
    await node.settle();
    const before = new Map(node.machine.files);
    prepare(node);
    node.want([aWanted()]);
    const status = await node.settle();
    assert.deepEqual([status.state, status.boot?.state, status.boot?.reason], ['Active', 'Unavailable', reason]);
    assert.match(status.boot?.message ?? '', message);
    for (const [path, bytes] of before) node.machine.files.set(path, bytes);
    node.machine.disk.readOnly = [];
    await node.until('it is kept', () => node.object.status?.boot?.state === 'Kept');
  });
}

test('an agent that starts changes nothing that is as it is to be', async () => {
  await using node = await loaded();
  await node.stop();
  const before = new Map(node.machine.files);
  node.start();
  await node.machine.clock.sleep(120_000);
  for (const path of ofBoot(node)) assert.equal(node.machine.files.get(path), before.get(path), path);
  assert.equal(ofBoot(node).length, 5);
});

test('what somebody else removed or changed is put back, and what is not ours there goes', async () => {
  await using node = await loaded();
  node.machine.files.delete(LINK_PATH);
  node.machine.files.delete(MODULE);
  node.machine.set(UNIT_PATH, 'changed');
  node.machine.set(`${DIRECTORY}/${'0'.repeat(64)}.ko`, 'of an earlier intent');
  node.machine.set(`${BOOT_DIRECTORY}/6.1.0/manifest`, 'of another kernel');
  node.machine.set(`${BOOT_DIRECTORY}/boots`, '2');
  await node.machine.clock.sleep(70_000);
  assert.deepEqual(ofBoot(node), [LINK_PATH, MANIFEST, MODULE, UNIT_PATH, `${BOOT_DIRECTORY}/load.sh`].sort());
  assert.deepEqual(node.machine.files.get(MODULE), aModule());
  assert.equal(node.machine.files.get(UNIT_PATH)?.toString(), BOOT_FILES.unit);
});

test('what was kept for another build of the kernel is not taken for this one', async () => {
  await using node = aNode();
  const module = { name: 'livepatch_fix', sha256: aWanted().sha256, buildID: MODULE_BUILD_ID, lift: '' };
  node.machine.files.set(MANIFEST, Buffer.from(encodeManifest({ kernelBuildID: 'ab'.repeat(20), modules: [module] })));
  node.machine.behaviours.set('livepatch_fix', { stalls: true });
  node.want([aWanted()]);
  node.start();
  await node.until('it is in transition', () => node.report()?.state === 'Transitioning');
  assert.deepEqual(listed(node), []);
});

test('a node that another policy no longer selects is left without a file of ours, whether the agent is told or ends', async () => {
  await using told = await loaded();
  told.unwant();
  await told.machine.clock.sleep(1000);
  assert.deepEqual(ofBoot(told), []);

  await using removed = await loaded();
  removed.removed = true;
  await removed.stop();
  assert.deepEqual(ofBoot(removed), []);

  await using replaced = await loaded();
  await replaced.stop();
  assert.equal(ofBoot(replaced).length, 5);
});

test('what the boot loaded is found as ours and reported, although the file is gone from its place, and the kernel is asked nothing', async () => {
  await using node = await loaded();
  await node.stop();
  node.cutPower();
  node.machine.loadByHand(aModule());
  node.machine.files.delete(HOST_PATH);
  const bootID = node.machine.files.get('/proc/sys/kernel/random/boot_id')?.toString().trim() ?? '';
  const attempt: JournalRecord = { kind: 'Attempt', name: 'livepatch_fix', sha256: aWanted().sha256, buildID: MODULE_BUILD_ID, bootID, uptimeSeconds: 3, at: '2026-11-24T00:01:00Z', lift: '' };
  node.machine.files.set(JOURNAL_PATH, Buffer.from([attempt, { kind: 'Committed', sha256: attempt.sha256 } as const].map(encodeRecord).join('')));
  const asked = node.machine.asked.length;
  node.start();
  await node.until('it is reported', () => node.object.status?.bootID === bootID);
  assert.deepEqual([node.report()?.state, node.report()?.attempts, node.object.status?.boot?.state], ['Active', undefined, 'Kept']);
  assert.equal(node.machine.asked.length, asked);
  assert.deepEqual(listed(node), ['livepatch_fix']);
});

test('what the boot loaded and did not end is held back, and not kept for another boot', async () => {
  await using node = await loaded();
  await node.stop();
  node.cutPower();
  node.machine.files.set(JOURNAL_PATH, Buffer.from(encodeRecord({ kind: 'Attempt', name: 'livepatch_fix', sha256: aWanted().sha256, buildID: MODULE_BUILD_ID, bootID: 'the boot that went down', uptimeSeconds: 3, at: '2026-11-24T00:01:00Z', lift: '' })));
  node.start();
  await node.until('it is quarantined', () => node.report()?.state === 'Quarantined');
  assert.equal(node.report()?.reason, 'QuarantinedAfterBoot');
  assert.deepEqual(ofBoot(node), []);
});
