import assert from 'node:assert/strict';
import { test } from 'node:test';
import { KernelPatchError, codeOf } from '../../../kernel/errors.ts';
import { findUnpatched, phaseOf, readPatches } from '../../../kernel/patches.ts';
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
const shown = (enabled: 'on' | 'off' | 'unknown', transition: 'on' | 'off' | 'unknown') => ({ enabled, transition, objects: [] });

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
