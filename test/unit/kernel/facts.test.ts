import assert from 'node:assert/strict';
import { test } from 'node:test';
import { KernelPatchError } from '../../../kernel/errors.ts';
import { describeTaint, readCommandLine, readFacts } from '../../../kernel/facts.ts';
import type { KernelFacts } from '../../../kernel/facts.ts';
import { simulatedClock } from '../../simulated/clock.ts';
import { someFacts } from '../../simulated/facts.ts';
import { SimulatedMachine } from '../../simulated/host.ts';
import { RELEASE } from '../../simulated/module.ts';

function aMachine(): SimulatedMachine {
  return new SimulatedMachine(simulatedClock());
}

test('a stock machine tells everything', async () => {
  assert.deepEqual(await readFacts(aMachine().host), someFacts());
});

test('a machine that tells nothing has unknown facts, and none that says no', async () => {
  const machine = aMachine();
  machine.files.clear();
  const facts = await readFacts(machine.host);
  assert.deepEqual(facts, {
    bootID: 'unknown',
    release: 'unknown',
    buildID: 'unknown',
    taint: -1,
    taintFlags: '',
    lockdown: 'unknown',
    livePatching: 'Unknown',
    kexec: 'Unknown',
    ftrace: 'unknown',
    modulesDisabled: 'unknown',
    signaturesEnforced: 'unknown',
    rebootID: 'unknown',
    hardware: { vendor: 'unknown', product: 'unknown', firmware: 'unknown' },
  } satisfies KernelFacts);
});

test('a fact that can not be read does not hide the others', async () => {
  const { host } = aMachine();
  const facts = await readFacts({
    ...host,
    read: async (path, limit) => {
      if (path === '/sys/kernel/notes') throw new KernelPatchError('HostUnreadable', 'EACCES');
      return host.read(path, limit);
    },
  });
  assert.deepEqual([facts.buildID, facts.release], ['unknown', RELEASE]);
});

const ALTERED: Readonly<Record<string, { alter: (machine: SimulatedMachine) => void; fact: Partial<KernelFacts> }>> = {
  'lockdown=integrity forbids kexec': { alter: (m) => m.set('/sys/kernel/security/lockdown', 'none [integrity] confidentiality'), fact: { lockdown: 'integrity', kexec: 'Unavailable' } },
  'a securityfs without lockdown is a kernel without it': {
    alter(m) {
      m.files.delete('/sys/kernel/security/lockdown');
      m.set('/sys/kernel/security/lsm', 'capability');
    },
    fact: { lockdown: 'none', kexec: 'Available' },
  },
  'no securityfs leaves lockdown and kexec unknown': { alter: (m) => m.files.delete('/sys/kernel/security/lockdown'), fact: { lockdown: 'unknown', kexec: 'Unknown' } },
  'kexec_load_disabled=1 forbids kexec': { alter: (m) => m.set('/proc/sys/kernel/kexec_load_disabled', '1'), fact: { kexec: 'Unavailable' } },
  'a kernel built without kexec has none': { alter: (m) => m.files.delete('/proc/sys/kernel/kexec_load_disabled'), fact: { kexec: 'Unavailable' } },
  'a kernel without the livepatch directory has no live patching': { alter: (m) => m.files.delete('/sys/kernel/livepatch/'), fact: { livePatching: 'Unavailable' } },
  'a kernel that was started by kexec for an order names it': { alter: (m) => m.set('/proc/cmdline', 'kernelpatch.reboot=order-1 panic=10 root=/dev/vda1'), fact: { rebootID: 'order-1' } },
  'a taint has its letters': { alter: (m) => m.set('/proc/sys/kernel/tainted', '45056'), fact: { taint: 45_056, taintFlags: 'OEK' } },
};

for (const [what, { alter, fact }] of Object.entries(ALTERED)) {
  test(what, async () => {
    const machine = aMachine();
    alter(machine);
    const facts = await readFacts(machine.host);
    for (const [name, value] of Object.entries(fact)) assert.deepEqual(facts[name as keyof KernelFacts], value, name);
  });
}

test('a command line that is no text is not given on', async () => {
  const machine = aMachine();
  machine.files.set('/proc/cmdline', Buffer.from([0x61, 0xe0, 0x62, 0x0a]));
  assert.equal(await readCommandLine(machine.host), undefined);
  machine.set('/proc/cmdline', 'root=/dev/vda1 ünï');
  assert.equal(await readCommandLine(machine.host), 'root=/dev/vda1 ünï');
});

test('every taint bit has its letter, and an unknown bit a question mark', () => {
  assert.equal(describeTaint(0), '');
  assert.equal(describeTaint(-1), '');
  assert.equal(describeTaint(2 ** 20 - 1), 'PFSRMBUDAWCIOELKXTNJ');
  assert.equal(describeTaint(2 ** 20), '?');
});
