/** Several live patches in one kernel, of ours and of others: what the real agent makes of them on a simulated machine. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import type { WantedLivePatch } from '../../../crds/nodekernel.ts';
import { RELEASE, aModule } from '../../simulated/module.ts';
import type { ModuleOptions } from '../../simulated/module.ts';
import { aNode, aPlan, aWanted, sha256Of } from '../../simulated/node.ts';
import type { SimulatedNode } from '../../simulated/node.ts';

/** Of a module that no other test module has. */
const buildIDOf = (name: string) => createHash('sha1').update(name).digest('hex');

/** A module that lists what it patches, unlike any other. */
function aListed(name: string, options: ModuleOptions = {}): Buffer {
  return aModule({ name, buildID: buildIDOf(name), patches: [{ object: 'vmlinux', name: `${name}_function`, position: 0 }], ...options });
}

/** The module is on the node, and the kernel shows it as it is. */
function placed(node: SimulatedNode, name: string, { replace = true, ...changes }: Partial<WantedLivePatch> & { readonly replace?: boolean } = {}, options: ModuleOptions = {}): WantedLivePatch {
  const bytes = aListed(name, { replace, ...options });
  const hostPath = `/var/lib/livepatches/${name}.ko`;
  node.machine.files.set(hostPath, bytes);
  node.machine.behaviours.set(name, { functions: [`${name}_function`] });
  return aWanted({ name, kernelPatch: name, hostPath, sha256: sha256Of(bytes), replace, ...changes });
}

const foreign = (node: SimulatedNode, name: string, options: ModuleOptions = {}) => {
  node.machine.behaviours.set(name, { functions: [`${name}_function`] });
  node.machine.loadByHand(aListed(name, { replace: false, ...options }));
};

async function settledOn(node: SimulatedNode, ...wanted: readonly WantedLivePatch[]): Promise<void> {
  node.want(wanted);
  await node.settle();
}

/** Looks every 5 ms until the test ends it: the fewest live patches that were active at once. */
function watchActive(node: SimulatedNode): { fewest: number; end(): void } {
  const watch = { fewest: Infinity, over: false, end: () => (watch.over = true) };
  void (async () => {
    while (!watch.over) {
      watch.fewest = Math.min(watch.fewest, node.machine.active.length);
      await node.machine.clock.sleep(5);
    }
  })();
  return watch;
}

const reportOf = (node: SimulatedNode, name: string) => [node.report(name)?.state, node.report(name)?.reason];

// Cumulative live patches of ours.

test('a newer cumulative live patch replaces the older one without a gap, and the older module is removed although nothing asks for it any more', async () => {
  await using node = aNode();
  const [october, november] = [placed(node, 'october'), placed(node, 'november')];
  node.start();
  await settledOn(node, october);
  const [watch, before] = [watchActive(node), node.writes.length];
  await settledOn(node, november);
  watch.end();
  assert.deepEqual(node.machine.modules, ['november']);
  assert.equal(watch.fewest, 1);
  assert.deepEqual(node.machine.asked, ['insmod october', 'insmod november', 'rmmod october']);
  assert.deepEqual(node.object.status?.livePatches.map(({ name, state }) => [name, state]), [['november', 'Active']]);
  assert.equal(node.writes.length - before, 1);
});

test('an agent that is killed between the replace and the removal leaves the removal to the next one', async () => {
  for (let effect = 1; effect <= 30; effect += 1) {
    await using node = aNode();
    const [october, november] = [placed(node, 'october'), placed(node, 'november')];
    node.start();
    await settledOn(node, october);
    await node.stop();
    node.want([november]);
    node.start(effect);
    await node.machine.clock.sleep(60_000);
    node.start();
    await node.settle();
    await node.until('only the newer module is there', () => node.machine.modules.join() === 'november');
    assert.equal(node.machine.count('insmod november'), 1, `killed at effect ${effect}`);
  }
});

test('a live patch that was loaded and never reported is known as ours by the journal', async () => {
  await using node = aNode();
  const [october, november] = [placed(node, 'october'), placed(node, 'november')];
  node.refuseWrites(Infinity);
  node.want([october]);
  node.start();
  await node.until('it is loaded', () => node.machine.active.length === 1);
  node.life.end();
  node.refuseWrites(0);
  node.want([november]);
  node.start();
  await node.settle();
  assert.deepEqual(node.machine.modules, ['november']);
});

test('a replaced module that is not ours stays, whatever its name is', async () => {
  await using node = aNode();
  const [october, november] = [placed(node, 'october'), placed(node, 'november')];
  node.start();
  await settledOn(node, october);
  node.machine.unloadByHand('october');
  node.machine.loadByHand(aListed('october', { buildID: buildIDOf('another') }));
  node.machine.loadByHand(aListed('november'));
  await settledOn(node, november);
  await node.machine.clock.sleep(120_000);
  assert.deepEqual(node.machine.modules, ['october', 'november']);
  assert.equal(node.machine.count('rmmod october'), 0);
});

test('a replaced module that rmmod does not get is tried three times and named', async () => {
  await using node = aNode();
  const [october, november] = [placed(node, 'october'), placed(node, 'november')];
  node.start();
  await settledOn(node, october);
  node.machine.behaviours.set('october', { held: true });
  await settledOn(node, november);
  assert.deepEqual(reportOf(node, 'october'), ['Failed', 'RemoveFailed']);
  assert.deepEqual(reportOf(node, 'november'), ['Active', 'Active']);
  const asked = node.machine.asked.length;
  await node.machine.clock.sleep(600_000);
  assert.equal(node.machine.asked.length, asked);
});

test('withdrawing the newer one loads the older one over it and then removes it: at no moment there is none', async () => {
  await using node = aNode();
  const [october, november] = [placed(node, 'october', { cves: ['CVE-2026-1000'] }), placed(node, 'november', { cves: ['CVE-2026-1000', 'CVE-2026-1001'] })];
  node.start();
  await settledOn(node, october);
  await settledOn(node, november);
  const watch = watchActive(node);
  await settledOn(node, october, { ...november, desired: 'Absent' });
  watch.end();
  assert.deepEqual(node.machine.modules, ['october']);
  assert.equal(watch.fewest, 1);
  assert.equal(node.machine.count('enabled november 0'), 0);
});

test('deleting the newer one does the same', async () => {
  await using node = aNode();
  const [october, november] = [placed(node, 'october', { cves: ['CVE-2026-1000'] }), placed(node, 'november', { cves: ['CVE-2026-1000', 'CVE-2026-1001'] })];
  node.start();
  await settledOn(node, november);
  await settledOn(node);
  assert.deepEqual(reportOf(node, 'november'), ['Active', 'NotWanted']);
  assert.equal(node.report('november')?.origin, 'KernelPatch');
  const watch = watchActive(node);
  await settledOn(node, october);
  watch.end();
  assert.deepEqual(node.machine.modules, ['october']);
  assert.equal(watch.fewest, 1);
});

test('the withdrawn one stays until the older one is there or has failed for good, and goes then', async () => {
  await using node = aNode();
  const [october, november] = [placed(node, 'october'), placed(node, 'november')];
  node.start();
  await settledOn(node, november);
  node.machine.behaviours.set('october', { stalls: true });
  node.want([october, { ...november, desired: 'Absent' }]);
  await node.until('the second attempt', () => node.machine.count('insmod october') === 2);
  assert.deepEqual(node.machine.active, ['november']);
  await node.settle();
  assert.deepEqual(reportOf(node, 'october'), ['Failed', 'TransitionTimeout']);
  assert.deepEqual(node.machine.modules, []);
});

test('the withdrawn one goes at once when the older one is refused', async () => {
  await using node = aNode();
  const [october, november] = [placed(node, 'october'), placed(node, 'november')];
  node.start();
  await settledOn(node, november);
  node.machine.files.delete(october.hostPath);
  await settledOn(node, october, { ...november, desired: 'Absent' });
  assert.deepEqual(reportOf(node, 'october'), ['Refused', 'FileMissing']);
  assert.deepEqual(node.machine.modules, []);
});

test('the withdrawn one that is still in transition is reversed at once, and the older one stays', async () => {
  await using node = aNode();
  const [october, november] = [placed(node, 'october'), placed(node, 'november')];
  node.start();
  await settledOn(node, october);
  node.machine.behaviours.set('november', { stalls: true });
  node.want([november]);
  await node.until('it is in transition', () => node.report('november')?.state === 'Transitioning');
  const [watch, since] = [watchActive(node), node.machine.clock.monotonic()];
  await settledOn(node, october, { ...november, desired: 'Absent' });
  watch.end();
  assert.deepEqual(node.machine.modules, ['october']);
  assert.equal(watch.fewest, 1);
  assert.ok(node.machine.clock.monotonic() - since < 10_000);
  assert.equal(node.machine.count('insmod october'), 1);
});

test('a disabled module that was left is removed before the same one is loaded again', async () => {
  await using node = aNode();
  const [october, november] = [placed(node, 'october'), placed(node, 'november')];
  node.machine.loadByHand(aListed('october'));
  node.machine.loadByHand(aListed('november'));
  node.start();
  await settledOn(node, october, { ...november, desired: 'Absent' });
  assert.deepEqual(node.machine.asked, ['rmmod october', 'insmod october', 'rmmod november']);
  assert.deepEqual(node.machine.active, ['october']);
});

test('a live patch that stands beside is loaded again after a cumulative one that has replaced it', async () => {
  await using node = aNode();
  const [beside, november] = [placed(node, 'beside', { replace: false }), placed(node, 'november')];
  node.start();
  await settledOn(node, beside);
  await settledOn(node, november, beside);
  assert.deepEqual(node.machine.asked, ['insmod beside', 'insmod november', 'rmmod beside', 'insmod beside']);
  assert.deepEqual(node.machine.active, ['november', 'beside']);
});

// Order.

test('several live patches are loaded in the order of the list, also when the first has to be tried again', async () => {
  await using node = aNode();
  const names = ['third', 'first', 'second'];
  const wanted = names.map((name) => placed(node, name, { replace: false }));
  node.machine.behaviours.set('third', { refuses: ['EBUSY'] });
  node.start();
  await settledOn(node, ...wanted);
  assert.deepEqual(node.machine.active, names);
  assert.deepEqual(node.machine.asked, ['insmod third', 'insmod third', 'insmod first', 'insmod second']);
});

test('removals wait for each other without being taken for stuck', async () => {
  await using node = aNode();
  const wanted = ['first', 'second'].map((name) => placed(node, name, { replace: false }));
  node.start();
  await settledOn(node, ...wanted);
  node.machine.behaviours.set('first', { stallsUnload: true });
  await settledOn(node, ...wanted.map((each) => ({ ...each, desired: 'Absent' as const })));
  assert.deepEqual(reportOf(node, 'first'), ['Failed', 'UnloadTimeout']);
  assert.deepEqual(node.machine.active, ['first']);
});

const closedByShared = (kernelPatch: string) => ({ kernelPatch, action: 'LivePatch', livePatch: 'shared', reason: 'LivePatchAvailable', message: 'in words' }) as const;

test('what two KernelPatches ask for is closed for both by the one module', async () => {
  await using node = aNode();
  node.want([placed(node, 'shared')], { plan: aPlan({ patches: [closedByShared('october'), closedByShared('november')] }) });
  node.start();
  const status = await node.settle();
  assert.equal(status.conditions?.find(({ type }) => type === 'Ready')?.status, 'True');
  assert.deepEqual(node.machine.asked, ['insmod shared']);
});

// Modules that come later.

test('a live patch of a module that is not there is active, says so, and has the module when it comes', async () => {
  await using node = aNode();
  const late = placed(node, 'late');
  node.machine.behaviours.set('late', { functions: ['show_it'], objects: { sleeper: ['wait', 'wake'] } });
  node.start();
  await settledOn(node, late);
  assert.match(node.report('late')?.message ?? '', /1 function patched; those of sleeper follow when that module is loaded/);
  assert.deepEqual(node.report('late')?.functions, ['vmlinux:show_it']);
  node.machine.loadObject('sleeper');
  await node.until('the module is reported', () => node.report('late')?.functions?.length === 3);
  assert.equal(node.report('late')?.message, 'late is active: 3 functions patched');
});

test('a module that comes later and is not patched is reported, and the rest of the live patch stays, also with a new agent', async () => {
  await using node = aNode();
  const late = placed(node, 'late');
  node.machine.behaviours.set('late', { functions: ['show_it'], objects: { sleeper: ['wait'] } });
  node.start();
  await settledOn(node, late);
  node.machine.behaviours.set('late', { functions: ['show_it'], objects: { sleeper: ['wait'] }, unpatched: true });
  node.machine.loadObject('sleeper');
  await node.until('it is reported', () => node.report('late')?.state === 'Failed');
  await node.stop();
  node.start();
  await node.machine.clock.sleep(120_000);
  assert.deepEqual(reportOf(node, 'late'), ['Failed', 'ObjectUnpatched']);
  assert.deepEqual(node.machine.asked, ['insmod late']);
  node.machine.behaviours.set('late', { functions: ['show_it'], objects: { sleeper: ['wait'] } });
  await node.until('it is patched after all', () => node.report('late')?.state === 'Active');
});

// Of somebody else.

test('a cumulative live patch is not loaded over one of somebody else, which is named, and is loaded once that is gone', async () => {
  await using node = aNode();
  foreign(node, 'vendor_fix');
  node.start();
  await settledOn(node, placed(node, 'november'));
  assert.deepEqual(reportOf(node, 'november'), ['Refused', 'WouldReplaceForeign']);
  assert.match(node.report('november')?.message ?? '', /would disable vendor_fix \(loaded by somebody else\)/);
  await node.machine.clock.sleep(600_000);
  assert.deepEqual(node.machine.asked, []);
  node.machine.unloadByHand('vendor_fix');
  await node.until('it is active', () => node.report('november')?.state === 'Active');
});

test('a module of somebody else under a wanted name is not replaced either', async () => {
  await using node = aNode();
  const [taken, november] = [placed(node, 'taken', { replace: false }), placed(node, 'november')];
  foreign(node, 'taken', { buildID: buildIDOf('another') });
  node.start();
  await settledOn(node, november, taken);
  assert.deepEqual([reportOf(node, 'november'), reportOf(node, 'taken')], [['Refused', 'WouldReplaceForeign'], ['Refused', 'NameTaken']]);
  assert.deepEqual(node.machine.asked, []);
});

test('a load waits for the transition of somebody else, and is refused once that is there', async () => {
  await using node = aNode();
  node.machine.stallByHand(aListed('vendor_fix', { replace: false }));
  node.want([placed(node, 'november')]);
  node.start();
  await node.until('it waits', () => node.report('november')?.reason === 'AwaitingTransition');
  node.machine.finishTransition('vendor_fix');
  await node.until('it is refused', () => node.report('november')?.reason === 'WouldReplaceForeign');
  assert.deepEqual(node.machine.asked, []);
});

test('one that stands beside is loaded beside that of somebody else, unless both change the same function', async () => {
  await using node = aNode();
  foreign(node, 'vendor_fix');
  const [beside, over] = [placed(node, 'beside', { replace: false }), placed(node, 'over', { replace: false }, { patches: [{ object: 'vmlinux', name: 'vendor_fix_function', position: 1 }] })];
  node.start();
  await settledOn(node, beside, over);
  assert.deepEqual(node.machine.active, ['vendor_fix', 'beside']);
  assert.deepEqual(reportOf(node, 'over'), ['Refused', 'WouldHideForeign']);
  assert.match(node.report('over')?.message ?? '', /vmlinux:vendor_fix_function, as vendor_fix does/);
});

test('that somebody else changes the same function later is said', async () => {
  await using node = aNode();
  node.start();
  await settledOn(node, placed(node, 'november'));
  node.machine.behaviours.set('vendor_fix', { functions: ['november_function'] });
  node.machine.loadByHand(aListed('vendor_fix', { replace: false }));
  await node.until('it is said', () => node.report('november')?.message.includes('vendor_fix (loaded by somebody else) patches the same functions') ?? false);
  assert.equal(node.report('november')?.state, 'Active');
});

test('ours that somebody else replaces is not loaded against them: the cumulative one is refused by name, one beside theirs is given up after three loads', async () => {
  await using node = aNode();
  const [november, beside] = [placed(node, 'november'), placed(node, 'beside', { replace: false })];
  node.start();
  await settledOn(node, november, beside);
  for (let loads = 1; loads <= 3; loads += 1) {
    await node.until(`load ${loads}`, () => node.machine.count('insmod beside') === loads && node.machine.active.includes('beside'));
    node.machine.loadByHand(aListed('vendor_fix'));
    await node.machine.clock.sleep(60_000);
  }
  await node.settle();
  assert.deepEqual([reportOf(node, 'november'), reportOf(node, 'beside')], [['Refused', 'WouldReplaceForeign'], ['Failed', 'Displaced']]);
  assert.match(node.report('beside')?.message ?? '', /There is vendor_fix \(loaded by somebody else\)/);
  assert.deepEqual(node.machine.active, ['vendor_fix']);
  assert.equal(node.machine.count('insmod november'), 1);
});

test('those of the kpatch utility are told by their files, and what it will load at boot is shown', async () => {
  await using node = aNode();
  const directory = `/var/lib/kpatch/${RELEASE}`;
  for (const file of ['vendor-fix.ko', 'at-boot.ko', 'README']) node.machine.set(`${directory}/${file}`, '');
  foreign(node, 'vendor_fix');
  node.start();
  await node.settle();
  assert.match(node.report('vendor_fix')?.message ?? '', new RegExp(RegExp.escape(`loaded by the kpatch utility, which has it in ${directory}; `)));
  assert.equal(node.report('vendor_fix')?.buildID, buildIDOf('vendor_fix'));
  assert.deepEqual(reportOf(node, 'at_boot'), ['Installed', 'InstalledByKpatch']);
  assert.match(node.report('at_boot')?.message ?? '', /nothing loads it at the next boot/);
  assert.deepEqual(node.object.status?.livePatches.length, 2);
  node.machine.set('/etc/systemd/system/multi-user.target.wants/kpatch.service', '');
  await node.until('the service is seen', () => node.report('at_boot')?.message.includes('kpatch.service loads it at the next boot') ?? false);
  const writes = node.writes.length;
  await node.machine.clock.sleep(600_000);
  assert.equal(node.writes.length, writes);
});
