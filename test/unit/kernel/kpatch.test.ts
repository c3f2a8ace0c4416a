import assert from 'node:assert/strict';
import { test } from 'node:test';
import { KernelPatchError } from '../../../kernel/errors.ts';
import { readKpatchUtility } from '../../../kernel/kpatch.ts';
import { simulatedClock } from '../../simulated/clock.ts';
import { SimulatedMachine } from '../../simulated/host.ts';
import { RELEASE } from '../../simulated/module.ts';

const DIRECTORY = `/var/lib/kpatch/${RELEASE}`;
const NONE = { directory: DIRECTORY, modules: [], atBoot: false };

test('modules for the running kernel are named as the utility names them, with whether its service loads them', async () => {
  const machine = new SimulatedMachine(simulatedClock());
  assert.deepEqual(await readKpatchUtility(machine.host, RELEASE), NONE);
  for (const path of [`${DIRECTORY}/livepatch-b.ko`, `${DIRECTORY}/a_fix.ko`, `${DIRECTORY}/a_fix.ko.old`, '/var/lib/kpatch/6.1.0-9-amd64/other.ko']) machine.set(path, '');
  assert.deepEqual(await readKpatchUtility(machine.host, RELEASE), { ...NONE, modules: ['a_fix', 'livepatch_b'] });
  machine.set('/etc/systemd/system/multi-user.target.wants/kpatch.service', '');
  assert.equal((await readKpatchUtility(machine.host, RELEASE)).atBoot, true);
});

test('a directory that can not be read hides nothing else', async () => {
  const { host } = new SimulatedMachine(simulatedClock());
  const blind = {
    ...host,
    list: async () => {
      throw new KernelPatchError('HostUnreadable', 'EACCES');
    },
  };
  assert.deepEqual(await readKpatchUtility(blind, RELEASE), NONE);
});
