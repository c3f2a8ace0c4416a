import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { KernelPatchError, codeOf } from '../../../kernel/errors.ts';
import { readFacts } from '../../../kernel/facts.ts';
import { findUnpatched, isPatched, phaseOf, readPatches } from '../../../kernel/patches.ts';
import type { KernelPatchState, Phase } from '../../../kernel/patches.ts';
import { simulatedClock } from '../../simulated/clock.ts';
import { SimulatedMachine } from '../../simulated/host.ts';
import { MODULE_BUILD_ID, aModule } from '../../simulated/module.ts';

test('a live patch tells its switches, objects, functions and build id', async () => {
  const machine = new SimulatedMachine(simulatedClock());
  machine.loadByHand(aModule());
  machine.behaviours.set('livepatch_fix', { functions: ['version_proc_show'] });
  const patch = (await readPatches(machine.host, [])).get('livepatch_fix');
  assert.deepEqual(patch, {
    name: 'livepatch_fix',
    livePatch: {
      enabled: 'on',
      transition: 'off',
      replace: 'unknown',
      objects: [{ name: 'vmlinux', patched: 'on', loaded: true, functions: ['vmlinux:version_proc_show'] }],
    },
    module: { initState: 'live', buildID: MODULE_BUILD_ID },
  } satisfies KernelPatchState);
});

test('a function at another position than the first keeps it in its name', async () => {
  const machine = new SimulatedMachine(simulatedClock());
  machine.loadByHand(aModule());
  machine.set('/sys/kernel/livepatch/livepatch_fix/ext4/ext4_init,2/x', '');
  const patch = (await readPatches(machine.host, [])).get('livepatch_fix');
  assert.deepEqual(patch?.livePatch?.objects.find(({ name }) => name === 'ext4')?.functions, ['ext4:ext4_init,2']);
});

test('an object whose module is not loaded does not count as unpatched', async () => {
  const machine = new SimulatedMachine(simulatedClock());
  machine.loadByHand(aModule());
  machine.set('/sys/kernel/livepatch/livepatch_fix/ext4/patched', '0');
  const before = (await readPatches(machine.host, [])).get('livepatch_fix');
  assert.equal(before?.livePatch && findUnpatched(before.livePatch), undefined);
  machine.set('/sys/module/ext4/initstate', 'live');
  const after = (await readPatches(machine.host, [])).get('livepatch_fix');
  assert.equal(after?.livePatch && findUnpatched(after.livePatch), 'ext4');
});

const object = (patched: 'on' | 'off' | 'unknown', loaded: boolean) => isPatched({ name: 'ext4', patched, loaded, functions: [] });

test('an object is patched when the kernel shows it so, and where it does not tell, when it is loaded', () => {
  assert.deepEqual([object('on', true), object('off', true), object('off', false), object('unknown', true), object('unknown', false)], [true, false, false, true, false]);
});

test('a name that the kernel does not have is there, with nothing', async () => {
  const patches = await readPatches(new SimulatedMachine(simulatedClock()).host, ['absent']);
  assert.deepEqual([...patches.values()], [{ name: 'absent', livePatch: undefined, module: undefined }]);
});

test('a directory that can not be read is an error, not an empty kernel', async () => {
  const { host } = new SimulatedMachine(simulatedClock());
  const blind = {
    ...host,
    list: async () => {
      throw new KernelPatchError('HostUnreadable', 'EACCES');
    },
  };
  await assert.rejects(readPatches(blind, ['livepatch_fix']), (error) => codeOf(error) === 'HostUnreadable');
});

const live = { initState: 'live', buildID: 'unknown' } as const;
const coming = { ...live, initState: 'coming' } as const;
const shown = (enabled: 'on' | 'off' | 'unknown', transition: 'on' | 'off' | 'unknown') => ({ enabled, transition, replace: 'unknown', objects: [] }) as const;

const PHASES: readonly (readonly [Phase, Omit<KernelPatchState, 'name'>])[] = [
  ['Gone', { livePatch: undefined, module: undefined }],
  ['Coming', { livePatch: undefined, module: coming }],
  ['Coming', { livePatch: shown('off', 'off'), module: coming }],
  ['Leftover', { livePatch: undefined, module: live }],
  ['Enabling', { livePatch: shown('on', 'on'), module: live }],
  ['Enabled', { livePatch: shown('on', 'off'), module: live }],
  ['Disabling', { livePatch: shown('off', 'on'), module: live }],
  ['Disabled', { livePatch: shown('off', 'off'), module: live }],
  ['Unreadable', { livePatch: shown('unknown', 'off'), module: live }],
  ['Unreadable', { livePatch: shown('on', 'unknown'), module: live }],
];

for (const [phase, state] of PHASES) {
  test(`module ${state.module?.initState ?? 'absent'}, enabled ${state.livePatch?.enabled ?? 'absent'}, transition ${state.livePatch?.transition ?? 'absent'} is ${phase}`, () => {
    assert.equal(phaseOf({ name: 'x', ...state }), phase);
  });
}

test('whatever sysfs and procfs have, patches and facts are read, and every switch is on, off or unknown', async () => {
  const text = fc.oneof(fc.constantFrom('', '0', '1', '1\n', 'Y', 'N', 'live', 'coming', 'going', '[none] integrity', '2', '-1', '0x1'), fc.string(), fc.uint8Array({ maxLength: 64 }).map((bytes) => Buffer.from(bytes).toString('latin1')));
  const file = fc.constantFrom(...READ);
  await fc.assert(
    fc.asyncProperty(fc.array(fc.tuple(file, text), { maxLength: 12 }), fc.array(file, { maxLength: 3 }), async (contents, gone) => {
      const machine = new SimulatedMachine(simulatedClock());
      machine.loadByHand(aModule());
      for (const [path, content] of contents) machine.set(path, content);
      for (const path of gone) machine.files.delete(path);
      for (const patch of (await readPatches(machine.host, ['livepatch_fix', 'absent'])).values()) assertWellFormed(patch);
      const facts = await readFacts(machine.host);
      assert.ok(SWITCHES.has(facts.ftrace) && SWITCHES.has(facts.modulesDisabled) && SWITCHES.has(facts.signaturesEnforced));
      assert.ok(Number.isInteger(facts.taint) && facts.taint >= -1);
      assert.match(facts.buildID, /^(unknown|[0-9a-f]+)$/);
    }),
    { numRuns: 10_000 },
  );
});

function assertWellFormed(patch: KernelPatchState): void {
  const { livePatch, module } = patch;
  if (livePatch !== undefined) for (const each of [livePatch.enabled, livePatch.transition, ...livePatch.objects.map(({ patched }) => patched)]) assert.ok(SWITCHES.has(each), each);
  assert.match(module?.buildID ?? 'unknown', /^(unknown|[0-9a-f]+)$/);
  phaseOf(patch);
}

const SWITCHES: ReadonlySet<string> = new Set(['on', 'off', 'unknown']);
const READ = [
  '/sys/kernel/livepatch/livepatch_fix/enabled', '/sys/kernel/livepatch/livepatch_fix/transition', '/sys/kernel/livepatch/livepatch_fix/vmlinux/patched',
  '/sys/kernel/livepatch/livepatch_fix/ext4/patched', '/sys/kernel/livepatch/other/enabled', '/sys/module/ext4/initstate', '/sys/module/livepatch_fix/initstate',
  '/sys/module/livepatch_fix/notes/.note.gnu.build-id', '/sys/kernel/notes', '/sys/kernel/security/lockdown', '/sys/module/module/parameters/sig_enforce',
  '/proc/sys/kernel/tainted', '/proc/sys/kernel/ftrace_enabled', '/proc/sys/kernel/modules_disabled', '/proc/sys/kernel/kexec_load_disabled',
  '/proc/sys/kernel/random/boot_id', '/proc/sys/kernel/osrelease', '/proc/uptime', '/proc/meminfo',
] as const;
