/** The real agent on a simulated machine: the tests look at the machine and at what the API server has. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Condition } from '../../../crds/common.ts';
import type { NodeKernelStatus } from '../../../crds/nodekernel.ts';
import { debianBoot } from '../../simulated/boot.ts';
import { aModule } from '../../simulated/module.ts';
import { HOST_PATH, aNode, aPlan, aWanted, sha256Of } from '../../simulated/node.ts';

const OTHER_BUILD_ID = 'ff'.repeat(20);

function ready(status: NodeKernelStatus): Condition | undefined {
  return status.conditions?.find(({ type }) => type === 'Ready');
}

test('a node without an intent reports its facts once', async () => {
  await using node = aNode();
  node.start();
  const status = await node.settle();
  assert.equal(status.state, 'Idle');
  assert.equal(status.kernel.release, '6.12.107+deb13-cloud-amd64');
  assert.equal(status.kernel.kexec, 'Available');
  assert.deepEqual(status.installedKernels, ['6.12.107+deb13-cloud-amd64']);
  assert.deepEqual([status.nextBoot?.release, status.nextBoot?.source], ['6.12.107+deb13-cloud-amd64', '/boot/grub/grub.cfg']);
  assert.equal(ready(status)?.status, 'Unknown');
  await node.machine.clock.sleep(600_000);
  assert.equal(node.writes.length, 1);
});

test('a kernel that is installed while the agent runs is reported, with what would keep it from booting and when the boot loader starts it', async () => {
  await using node = aNode();
  const newer = '6.12.117+deb13-cloud-amd64';
  node.start();
  await node.settle();
  const running = node.object.status?.kernel.release ?? '';
  for (const [path, bytes] of debianBoot([newer, running])) if (!path.includes('grub') && !path.includes('initrd')) node.machine.files.set(path, bytes);
  await node.until('it is seen', () => node.object.status?.installedKernels.includes(newer) ?? false);
  assert.deepEqual(node.object.status?.unbootableKernels?.map(({ release, reason }) => [release, reason]), [[newer, 'InitrdMissing']]);
  assert.equal(node.object.status?.nextBoot?.release, running);
  for (const [path, bytes] of debianBoot([newer, running])) node.machine.files.set(path, bytes);
  await node.until('GRUB is set up', () => node.object.status?.nextBoot?.release === newer);
  assert.equal(node.object.status?.unbootableKernels, undefined);
  assert.equal(node.writes.length, 3);
});

test('a wanted live patch is loaded, seen active and reported with one write', async () => {
  await using node = aNode();
  node.start();
  await node.settle();
  const before = node.writes.length;
  node.want([aWanted()]);
  const status = await node.settle();
  assert.deepEqual(node.machine.active, ['livepatch_fix']);
  assert.equal(node.report()?.state, 'Active');
  assert.deepEqual(node.report()?.functions, ['vmlinux:version_proc_show']);
  assert.equal(node.report()?.attempts, 1);
  assert.equal(status.active, 'livepatch_fix');
  assert.equal(status.kernel.taintFlags, 'OEK');
  assert.deepEqual([ready(status)?.status, ready(status)?.reason], ['True', 'LivePatched']);
  assert.equal(node.writes.length - before, 1);
  assert.equal(node.machine.staged.size, 0);
});

test('a transition that ends with the second try of the kernel is reported with one write too', async () => {
  await using node = aNode();
  node.machine.behaviours.set('livepatch_fix', { transitionMilliseconds: 1100 });
  node.start();
  await node.settle();
  const before = node.writes.length;
  node.want([aWanted()]);
  await node.settle();
  assert.deepEqual(node.writes.slice(before).map(({ state }) => state), ['Active']);
});

test('a transition of several seconds is shown while it lasts', async () => {
  await using node = aNode();
  node.machine.behaviours.set('livepatch_fix', { transitionMilliseconds: 16_800 });
  node.start();
  node.want([aWanted()]);
  await node.until('it is shown', () => node.report()?.state === 'Transitioning');
  await node.settle();
  assert.equal(node.report()?.state, 'Active');
  assert.deepEqual(node.writes.map(({ state }) => state), ['Transitioning', 'Active']);
});

test('a withdrawn live patch is disabled and its module removed', async () => {
  await using node = aNode();
  node.want([aWanted()]);
  node.start();
  await node.settle();
  node.want([aWanted({ desired: 'Absent' })], { plan: aPlan({ action: 'None', reason: 'NothingSelected', message: 'no patch is selected' }) });
  const status = await node.settle();
  assert.deepEqual(node.machine.modules, []);
  assert.equal(status.state, 'Idle');
  assert.deepEqual(status.livePatches, []);
});

test('a withdrawn live patch is removed although its file is gone', async () => {
  await using node = aNode();
  node.want([aWanted()]);
  node.start();
  await node.settle();
  await node.stop();
  node.machine.files.delete(HOST_PATH);
  node.want([aWanted({ desired: 'Absent' })]);
  node.start();
  await node.settle();
  assert.deepEqual(node.machine.modules, []);
});

test('a live patch that can not be reversed stays, with the reason', async () => {
  await using node = aNode();
  node.want([aWanted({ reversible: false })]);
  node.start();
  await node.settle();
  node.want([aWanted({ desired: 'Absent', reversible: false })]);
  await node.settle();
  assert.deepEqual(node.machine.active, ['livepatch_fix']);
  assert.equal(node.report()?.reason, 'NotReversible');
});

test('an intent that is withdrawn in the middle of a transition turns it round', async () => {
  await using node = aNode();
  node.machine.behaviours.set('livepatch_fix', { stalls: true });
  node.want([aWanted()]);
  node.start();
  await node.until('it is in transition', () => node.report()?.state === 'Transitioning');
  node.want([aWanted({ desired: 'Absent' })]);
  await node.settle();
  assert.deepEqual(node.machine.modules, []);
});

test('a withdrawal that is taken back in the middle of the unload turns it round without a new load', async () => {
  await using node = aNode();
  node.machine.behaviours.set('livepatch_fix', { stallsUnload: true });
  node.want([aWanted()]);
  node.start();
  await node.settle();
  node.want([aWanted({ desired: 'Absent' })]);
  await node.until('it is being unloaded', () => node.report()?.state === 'Unloading');
  node.want([aWanted()]);
  await node.settle();
  assert.deepEqual(node.machine.active, ['livepatch_fix']);
  assert.equal(node.machine.count('insmod livepatch_fix'), 1);
});

test('a transition that stalls is reversed, tried three times, and then Failed with the kernel as before', async () => {
  await using node = aNode();
  node.machine.behaviours.set('livepatch_fix', { stalls: true });
  node.want([aWanted()]);
  node.start();
  const status = await node.settle();
  assert.deepEqual([node.report()?.state, node.report()?.reason, node.report()?.attempts], ['Failed', 'TransitionTimeout', 3]);
  assert.deepEqual(node.machine.modules, []);
  assert.equal(node.machine.count('insmod livepatch_fix'), 3);
  assert.equal(ready(status)?.reason, 'TransitionTimeout');
  assert.ok(node.machine.clock.monotonic() < 600_000, 'within the operator’s deadline');
  const writes = node.writes.length;
  await node.machine.clock.sleep(3_600_000);
  assert.equal(node.machine.count('insmod livepatch_fix'), 3);
  assert.equal(node.writes.length, writes);
});

test('an unload that stalls is reversed: the live patch is active as before, and Failed says why', async () => {
  await using node = aNode();
  node.want([aWanted()]);
  node.start();
  await node.settle();
  node.machine.behaviours.set('livepatch_fix', { stallsUnload: true });
  node.want([aWanted({ desired: 'Absent' })]);
  await node.settle();
  assert.deepEqual([node.report()?.state, node.report()?.reason], ['Failed', 'UnloadTimeout']);
  assert.deepEqual(node.machine.active, ['livepatch_fix']);
});

test('a live patch without effect is unloaded again and Failed', async () => {
  await using node = aNode();
  node.machine.behaviours.set('livepatch_fix', { unpatched: true });
  node.want([aWanted()]);
  node.start();
  await node.settle();
  assert.deepEqual([node.report()?.state, node.report()?.reason], ['Failed', 'EffectMissing']);
  assert.deepEqual(node.machine.modules, []);
});

test('an answer that time can not change is not asked for again', async () => {
  await using node = aNode();
  node.machine.behaviours.set('livepatch_fix', { refuses: ['EINVAL'] });
  node.want([aWanted()]);
  node.start();
  await node.settle();
  assert.deepEqual([node.report()?.state, node.report()?.reason, node.report()?.attempts], ['Failed', 'PatchNotApplicable', 1]);
});

test('an answer that time can change is asked for again', async () => {
  await using node = aNode();
  node.machine.behaviours.set('livepatch_fix', { refuses: ['EBUSY', 'ENOMEM'] });
  node.want([aWanted()]);
  node.start();
  await node.settle();
  assert.deepEqual([node.report()?.state, node.report()?.attempts], ['Active', 3]);
});

test('a failure outlives a restart of the agent, and a changed intent begins anew', async () => {
  await using node = aNode();
  node.machine.behaviours.set('livepatch_fix', { refuses: ['EINVAL'] });
  node.want([aWanted()]);
  node.start();
  await node.settle();
  await node.stop();
  node.start();
  await node.machine.clock.sleep(120_000);
  assert.equal(node.machine.count('insmod livepatch_fix'), 1);
  const rebuilt = aModule({ buildID: OTHER_BUILD_ID });
  node.machine.files.set(HOST_PATH, rebuilt);
  node.want([aWanted({ sha256: sha256Of(rebuilt) })]);
  await node.settle();
  assert.equal(node.report()?.state, 'Active');
});

test('a plan that only changes its words does not start a failed patch again', async () => {
  await using node = aNode();
  node.machine.behaviours.set('livepatch_fix', { refuses: ['EINVAL'] });
  node.want([aWanted()]);
  node.start();
  await node.settle();
  node.want([aWanted()], { plan: aPlan({ message: 'in other words' }) });
  await node.settle();
  assert.equal(node.report()?.state, 'Failed');
  assert.equal(node.machine.count('insmod livepatch_fix'), 1);
});

test('a refused file is loaded once it is right', async () => {
  await using node = aNode();
  node.machine.files.delete(HOST_PATH);
  node.want([aWanted()]);
  node.start();
  await node.settle();
  assert.deepEqual([node.report()?.state, node.report()?.reason], ['Refused', 'FileMissing']);
  const writes = node.writes.length;
  await node.machine.clock.sleep(300_000);
  assert.equal(node.writes.length, writes, 'a check with the same result is not written');
  node.machine.files.set(HOST_PATH, aModule());
  await node.until('it is active', () => node.report()?.state === 'Active');
});

test('another module of the same name is Refused as NameTaken and left alone, wanted or withdrawn', async () => {
  await using node = aNode();
  node.machine.loadByHand(aModule({ buildID: OTHER_BUILD_ID }));
  node.want([aWanted()]);
  node.start();
  await node.settle();
  assert.equal(node.report()?.reason, 'NameTaken');
  node.want([aWanted({ desired: 'Absent' })]);
  await node.settle();
  assert.equal(node.report()?.reason, 'NameTaken');
  assert.deepEqual(node.machine.asked, []);
  assert.deepEqual(node.machine.active, ['livepatch_fix']);
});

test('a live patch that is already there is adopted, not loaded twice', async () => {
  await using node = aNode();
  node.machine.loadByHand(aModule());
  node.want([aWanted()]);
  node.start();
  await node.settle();
  assert.equal(node.report()?.state, 'Active');
  assert.deepEqual(node.machine.asked, []);
});

test('a live patch of somebody else is shown as Foreign and never touched', async () => {
  await using node = aNode();
  node.machine.loadByHand(aModule({ name: 'vendor_fix', buildID: OTHER_BUILD_ID }));
  node.want([aWanted({ replace: false })]);
  node.start();
  await node.settle();
  assert.deepEqual([node.report('vendor_fix')?.origin, node.report('vendor_fix')?.state], ['Foreign', 'Active']);
  assert.deepEqual(node.machine.active, ['vendor_fix', 'livepatch_fix']);
});

test('the load waits for the transition of another live patch, is Refused when it stalls, and goes on when it has ended', async () => {
  await using node = aNode();
  node.machine.stallByHand(aModule({ name: 'vendor_fix', buildID: OTHER_BUILD_ID }));
  node.want([aWanted({ replace: false })]);
  node.start();
  await node.until('it waits', () => node.report()?.reason === 'AwaitingTransition');
  await node.settle();
  assert.deepEqual([node.report()?.state, node.report()?.reason], ['Refused', 'TransitionInProgress']);
  assert.deepEqual(node.machine.asked, []);
  node.machine.finishTransition('vendor_fix');
  await node.until('it is active', () => node.report()?.state === 'Active');
});

test('a cumulative patch replaces the one before it, which is not loaded again, and is removed when it is withdrawn', async () => {
  await using node = aNode();
  const newer = aModule({ name: 'livepatch_newer', buildID: OTHER_BUILD_ID });
  const newerPath = '/var/lib/livepatches/livepatch_newer.ko';
  node.machine.files.set(newerPath, newer);
  node.machine.behaviours.set('livepatch_newer', { replace: true });
  const wantedNewer = aWanted({ name: 'livepatch_newer', kernelPatch: 'newer', hostPath: newerPath, sha256: sha256Of(newer) });
  node.want([aWanted(), wantedNewer]);
  node.start();
  await node.settle();
  await node.stop();
  node.start();
  await node.machine.clock.sleep(120_000);
  assert.deepEqual(node.machine.active, ['livepatch_newer']);
  assert.deepEqual([node.report()?.state, node.report()?.reason], ['Active', 'Replaced']);
  assert.deepEqual(node.machine.modules, ['livepatch_fix', 'livepatch_newer'], 'a replaced module that is listed stays');
  assert.equal(node.machine.count('insmod livepatch_fix'), 1);
  node.want([aWanted({ desired: 'Absent' }), wantedNewer]);
  await node.settle();
  assert.deepEqual(node.machine.modules, ['livepatch_newer']);
});

test('a cumulative patch that closes less than what it would replace is refused until that is withdrawn', async () => {
  await using node = aNode();
  const older = aModule({ name: 'livepatch_older', buildID: OTHER_BUILD_ID });
  node.machine.files.set('/older.ko', older);
  node.machine.behaviours.set('livepatch_older', { replace: true });
  const wantedOlder = aWanted({ name: 'livepatch_older', hostPath: '/older.ko', sha256: sha256Of(older), cves: ['CVE-2026-1000'] });
  const before = aWanted({ cves: ['CVE-2026-1000', 'CVE-2026-1001'] });
  node.want([before]);
  node.start();
  await node.settle();
  node.want([before, wantedOlder]);
  await node.settle();
  assert.deepEqual([node.report('livepatch_older')?.state, node.report('livepatch_older')?.reason], ['Refused', 'WouldReopen']);
  assert.match(node.report('livepatch_older')?.message ?? '', /replaces livepatch_fix and does not close CVE-2026-1001/);
  assert.deepEqual(node.machine.active, ['livepatch_fix']);
  node.want([{ ...before, desired: 'Absent' }, wantedOlder]);
  await node.settle();
  assert.deepEqual(node.machine.active, ['livepatch_older']);
});

test('an agent without a report finds a replaced patch as it is', async () => {
  await using node = aNode();
  const newer = aModule({ name: 'livepatch_newer', buildID: OTHER_BUILD_ID });
  const newerPath = '/var/lib/livepatches/livepatch_newer.ko';
  node.machine.files.set(newerPath, newer);
  node.machine.loadByHand(newer);
  node.want([aWanted(), aWanted({ name: 'livepatch_newer', kernelPatch: 'newer', hostPath: newerPath, sha256: sha256Of(newer) })]);
  node.start();
  await node.settle();
  assert.equal(node.report()?.reason, 'Replaced');
  assert.deepEqual(node.machine.asked, []);
});

test('a live patch that somebody keeps unloading is given up after three loads', async () => {
  await using node = aNode();
  node.want([aWanted()]);
  node.start();
  for (let loads = 1; loads <= 3; loads += 1) {
    await node.until(`load ${loads}`, () => node.machine.count('insmod livepatch_fix') === loads && node.machine.active.length === 1);
    await node.machine.host.writeSysfs('/sys/kernel/livepatch/livepatch_fix/enabled', '0');
    await node.machine.clock.sleep(1000);
  }
  await node.until('it is given up', () => node.report()?.reason === 'Displaced');
});

test('a module that rmmod does not get is Failed, with the live patch disabled', async () => {
  await using node = aNode();
  node.machine.behaviours.set('livepatch_fix', { held: true });
  node.want([aWanted()]);
  node.start();
  await node.settle();
  node.want([aWanted({ desired: 'Absent' })]);
  await node.settle();
  assert.deepEqual([node.report()?.state, node.report()?.reason], ['Failed', 'RemoveFailed']);
  assert.deepEqual(node.machine.active, []);
});

test('a live patch that is no longer listed is left alone', async () => {
  await using node = aNode();
  node.want([aWanted()]);
  node.start();
  await node.settle();
  node.want([]);
  await node.settle();
  assert.deepEqual(node.machine.active, ['livepatch_fix']);
  assert.deepEqual([node.report()?.origin, node.report()?.reason], ['KernelPatch', 'NotWanted']);
});

test('a report that the API server does not take is written later, and the load is not held up', async () => {
  await using node = aNode();
  node.refuseWrites(5);
  node.want([aWanted()]);
  node.start();
  await node.until('it is active', () => node.machine.active.length === 1);
  await node.settle();
  assert.equal(node.report()?.state, 'Active');
  assert.equal(node.writes.length, 1);
});

test('times in the report stay while what they belong to stays', async () => {
  await using node = aNode();
  node.want([aWanted()]);
  node.start();
  const first = await node.settle();
  const since = node.report()?.since;
  await node.machine.clock.sleep(60_000);
  await node.stop();
  node.start();
  node.machine.set('/proc/sys/kernel/tainted', '512');
  await node.until('the taint is reported', () => node.object.status?.kernel.taint === 512);
  assert.equal(node.report()?.since, since);
  assert.deepEqual(node.object.status?.conditions, first.conditions);
});

test('after SIGTERM in a transition the next agent goes on with it', async () => {
  await using node = aNode();
  node.machine.behaviours.set('livepatch_fix', { transitionMilliseconds: 10_000 });
  node.want([aWanted()]);
  node.start();
  await node.until('it is in transition', () => node.report()?.state === 'Transitioning');
  await node.stop();
  node.start();
  await node.settle();
  assert.equal(node.report()?.state, 'Active');
  assert.equal(node.machine.count('insmod livepatch_fix'), 1);
});
