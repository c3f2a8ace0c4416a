/** What the real agent refuses before the kernel is asked, on a simulated machine. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { aModule } from '../../simulated/module.ts';
import { HOST_PATH, aNode, aWanted, sha256Of } from '../../simulated/node.ts';

function putting(node: ReturnType<typeof aNode>, bytes: Buffer) {
  node.machine.files.set(HOST_PATH, bytes);
  return aWanted({ sha256: sha256Of(bytes) });
}

/** A module that lists its function, on a kernel that has it, unless told. */
function patching(node: ReturnType<typeof aNode>, { kallsyms = 'ffffffff81234560 t show_it', traceable = 'show_it', enabled = '' } = {}) {
  node.machine.set('/proc/kallsyms', kallsyms);
  node.machine.set('/sys/kernel/tracing/available_filter_functions', traceable);
  node.machine.set('/sys/kernel/tracing/enabled_functions', enabled);
  return putting(node, aModule({ patches: [{ object: 'vmlinux', name: 'show_it', position: 0 }, { object: 'not_loaded', name: 'elsewhere', position: 0 }] }));
}

const REFUSED: Readonly<Record<string, { reason: string; arrange: (node: ReturnType<typeof aNode>) => ReturnType<typeof aWanted> }>> = {
  'a missing file': {
    reason: 'FileMissing',
    arrange(node) {
      node.machine.files.delete(HOST_PATH);
      return aWanted();
    },
  },
  'a wrong digest': { reason: 'DigestMismatch', arrange: () => aWanted({ sha256: 'ab'.repeat(32) }) },
  'a module for another kernel': { reason: 'WrongKernel', arrange: (node) => putting(node, aModule({ release: '6.1.0-1-amd64' })) },
  'an intent for another kernel': { reason: 'WrongKernel', arrange: () => aWanted({ release: '6.1.0-1-amd64' }) },
  'another build of the kernel': { reason: 'BuildIDMismatch', arrange: () => aWanted({ buildID: 'ab'.repeat(20) }) },
  'a module that is no live patch': { reason: 'NotALivePatch', arrange: (node) => putting(node, aModule({ livePatch: false })) },
  'a file that is no module': { reason: 'NotAModule', arrange: (node) => putting(node, Buffer.from('#!/bin/sh\n')) },
  'a module cut short': { reason: 'NotAModule', arrange: (node) => putting(node, aModule().subarray(0, 300)) },
  'a module of another name': { reason: 'NameMismatch', arrange: (node) => putting(node, aModule({ name: 'another' })) },
  'a function that the kernel does not have': { reason: 'FunctionMissing', arrange: (node) => patching(node, { kallsyms: 'ffffffff81234560 t another' }) },
  'a function that the kernel has twice': { reason: 'FunctionAmbiguous', arrange: (node) => patching(node, { kallsyms: 'ff t show_it\nfe t show_it' }) },
  'a function that can not be hooked': { reason: 'FunctionNotTraceable', arrange: (node) => patching(node, { traceable: 'another' }) },
  'a function that a tracer holds': { reason: 'FunctionInUse', arrange: (node) => patching(node, { enabled: 'show_it (1) R I     \ttramp: 0xff (kprobe_ftrace_handler+0x0/0x220)' }) },
  'a node without memory': {
    reason: 'NotEnoughMemory',
    arrange(node) {
      node.machine.set('/proc/meminfo', 'MemTotal:  500 kB\nMemAvailable:       1 kB');
      return aWanted();
    },
  },
  'a locked down kernel': {
    reason: 'LockedDown',
    arrange(node) {
      node.machine.set('/sys/kernel/security/lockdown', 'none [integrity] confidentiality');
      return aWanted();
    },
  },
};

for (const [what, { reason, arrange }] of Object.entries(REFUSED)) {
  test(`${what} is Refused as ${reason}, and the kernel is never asked`, async () => {
    await using node = aNode();
    node.want([arrange(node)]);
    node.start();
    await node.settle();
    assert.deepEqual([node.report()?.state, node.report()?.reason], ['Refused', reason]);
    await node.machine.clock.sleep(120_000);
    assert.deepEqual(node.machine.asked, []);
    assert.equal(node.machine.staged.size, 0);
  });
}

test('a live patch whose functions the kernel has is loaded; those of a module that is not there are not looked for', async () => {
  await using node = aNode();
  node.want([patching(node)]);
  node.start();
  await node.settle();
  assert.equal(node.report()?.state, 'Active');
});

test('what could not be looked at before does not refuse, and is said when the kernel refuses', async () => {
  await using node = aNode();
  const wanted = patching(node);
  node.machine.files.delete('/sys/kernel/tracing/available_filter_functions');
  node.machine.behaviours.set('livepatch_fix', { refuses: ['EINVAL'] });
  node.want([wanted]);
  node.start();
  await node.settle();
  assert.equal(node.report()?.reason, 'PatchNotApplicable');
  assert.match(node.report()?.message ?? '', /Not known before the load: .*tracefs is not mounted/);
});
