import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { KernelPatchError } from '../../../kernel/errors.ts';
import { findTraces, traceReader } from '../../../kernel/oops.ts';
import { simulatedClock } from '../../simulated/clock.ts';
import { SimulatedMachine } from '../../simulated/host.ts';

/** As Debian's 6.12 prints it, shortened. */
const OOPS = [
  'BUG: kernel NULL pointer dereference, address: 0000000000000000',
  '#PF: supervisor read access in kernel mode',
  'Oops: Oops: 0000 [#1] PREEMPT SMP NOPTI',
  'CPU: 0 UID: 0 PID: 812 Comm: cat Tainted: G           OE K    6.12.117+deb13-cloud-amd64 #1',
  'RIP: 0010:patched_version_proc_show+0x12/0x40 [livepatch_fix]',
  'Modules linked in: livepatch_fix(OEK) vendor_fix(OEK) [last unloaded: older_fix(OEK)]',
];
const NAMES = ['livepatch_fix', 'vendor_fix', 'older_fix'];
const SUSPECTS = NAMES.map((name) => ({ name, uptimeSeconds: 0 }));

function read(texts: readonly string[], { priority = 4, at = 200, since = 100, names = NAMES } = {}) {
  const reader = traceReader(names, since);
  for (const text of texts) reader.accept(`${priority},10,${at * 1e6},-;${text}`);
  return [...reader.traces];
}

test('a trace names the module of a function in it, by its first line', () => {
  assert.deepEqual(read(OOPS), [['livepatch_fix', OOPS[0] ?? '']]);
});

for (const head of ['WARNING: CPU: 0 PID: 1 at kernel/fork.c:1 f+0x1/0x2', 'general protection fault, probably for non-canonical address 0xdead: 0000', 'kernel BUG at lib/list_debug.c:52!']) {
  test(`a trace that begins with ${head.slice(0, 14)} counts`, () => {
    assert.equal(read([head, ' patched_f+0x1/0x2 [livepatch_fix]']).length, 1);
  });
}

const NOT_NAMED: Readonly<Record<string, ReturnType<typeof read>>> = {
  'a module that is only listed': read(OOPS.filter((line) => !line.startsWith('RIP'))),
  'a trace before the load': read(OOPS, { at: 99 }),
  'a trace that a program wrote': read(OOPS, { priority: 12 }),
  'a module in no trace': read(['livepatch: enabling patch', 'f+0x1/0x2 [livepatch_fix]']),
  'a line long after the trace': read([OOPS[0] ?? '', ...Array.from({ length: 200 }, () => 'something else'), 'f+0x1/0x2 [livepatch_fix]']),
  'a module whose name only begins so': read(['BUG: x', 'f+0x1/0x2 [livepatch_fix_2]']),
};

for (const [what, found] of Object.entries(NOT_NAMED)) test(`${what} is not held against it`, () => assert.deepEqual(found, []));

test('a kernel log that is not there, or can not be read, is unknown', async () => {
  const machine = new SimulatedMachine(simulatedClock());
  machine.say('Linux version 6.12');
  assert.deepEqual(await findTraces(machine.host, SUSPECTS), new Map());
  const blind = (scan: typeof machine.host.scan) => findTraces({ ...machine.host, scan }, SUSPECTS);
  assert.equal(await blind(async () => false), undefined);
  assert.equal(await blind(async () => { throw new KernelPatchError('HostUnreadable', 'EPERM'); }), undefined);
});

test('of two files of one name each is held responsible from its own load on', async () => {
  const machine = new SimulatedMachine(simulatedClock());
  for (const text of OOPS) machine.say(text);
  const [before, after] = [{ name: 'livepatch_fix', uptimeSeconds: 0 }, { name: 'livepatch_fix', uptimeSeconds: 1e6 }];
  assert.deepEqual([...((await findTraces(machine.host, [before, after])) ?? [])], [[before, OOPS[0]]]);
});

test('whatever the kernel log holds, reading it never throws', () => {
  const line = fc.oneof(fc.string(), fc.constantFrom(...OOPS), fc.tuple(fc.nat(20), fc.constantFrom(...OOPS)).map(([priority, text]) => `${priority},1,2,-;${text}`));
  fc.assert(
    fc.property(fc.array(line, { maxLength: 20 }), (lines) => {
      const reader = traceReader(NAMES, 0);
      for (const each of lines) reader.accept(each);
      return reader.traces.size <= NAMES.length;
    }),
    { numRuns: 10_000 },
  );
});
