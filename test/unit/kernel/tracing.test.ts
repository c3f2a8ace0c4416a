import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { KernelPatchError } from '../../../kernel/errors.ts';
import { symbolCounter } from '../../../kernel/symbols.ts';
import { readFunctions } from '../../../kernel/tracing.ts';
import type { Host } from '../../../kernel/host.ts';
import { simulatedClock } from '../../simulated/clock.ts';
import { SimulatedMachine } from '../../simulated/host.ts';

const UID = '5f3c1f1e-8a53-4b1e-9c46-2f4de1c1a001';
const KALLSYMS = [
  'ffffffff81000000 T _text',
  'ffffffff81234560 t version_proc_show',
  'ffffffff81234570 t show_it',
  'ffffffff81234580 t show_it',
  'ffffffff81234590 t lto_function.llvm.1234567890',
  'ffffffff812345a0 t version_proc_show_more',
  'ffffffffc0800000 t nft_init\t[nf_tables]',
  'ffffffffc0900000 t nft_init\t[other]',
];
const FILTER = ['version_proc_show', 'lto_function', 'nft_init [nf_tables]'];
const ENABLED = ['schedule (1)           \t->f+0x0/0x10', 'show_it (1) R I     \ttramp: 0xffffffffc02d5000 (kprobe_ftrace_handler+0x0/0x220)', 'nft_init [other] (2) R I D   '];

function aMachine(): SimulatedMachine {
  const machine = new SimulatedMachine(simulatedClock());
  machine.set('/proc/kallsyms', KALLSYMS.join('\n'));
  machine.set('/sys/kernel/tracing/available_filter_functions', FILTER.join('\n'));
  machine.set('/sys/kernel/tracing/enabled_functions', ENABLED.join('\n'));
  return machine;
}

const unreadable: Host['scan'] = async () => {
  throw new KernelPatchError('HostUnreadable', 'EPERM');
};

const about = (name: string, object = 'vmlinux') => ({ object, name, position: 0 });

async function look(machine: { readonly host: Host }, name: string, object?: string, livePatched: readonly string[] = []) {
  const { functions, unchecked } = await readFunctions(machine.host, [about(name, object)], new Set(livePatched));
  const [facts] = functions;
  return { symbols: facts?.symbols, traceable: facts?.traceable, user: facts?.user, unchecked };
}

const ROWS: readonly (readonly [what: string, name: string, object: string, symbols: number, traceable: boolean, user: string | undefined])[] = [
  ['a function that is there once', 'version_proc_show', 'vmlinux', 1, true, undefined],
  ['a function that is not there', 'gone', 'vmlinux', 0, false, undefined],
  ['a function of which there are two, hooked by somebody', 'show_it', 'vmlinux', 2, false, 'another tracer of the kernel'],
  ['a function that clang renamed', 'lto_function', 'vmlinux', 1, true, undefined],
  ['a function of a module', 'nft_init', 'nf_tables', 1, true, undefined],
  ['a function of a module, hooked', 'nft_init', 'other', 1, false, 'another tracer of the kernel'],
  ['a function of another object than it says', 'nft_init', 'vmlinux', 0, false, undefined],
];

for (const [what, name, object, symbols, traceable, user] of ROWS) {
  test(`${what}: ${symbols} in kallsyms, ${traceable ? '' : 'not '}traceable, ${user ?? 'nobody else’s'}`, async () => {
    assert.deepEqual(await look(aMachine(), name, object), { symbols, traceable, user, unchecked: [] });
  });
}

test('a function that a live patch has already is free for another one', async () => {
  assert.equal((await look(aMachine(), 'show_it', 'vmlinux', ['vmlinux:show_it'])).user, undefined);
});

test('the probe that holds a function is named, and the process and pod that made it', async () => {
  const machine = aMachine();
  machine.set('/sys/kernel/tracing/kprobe_events', 'p:kprobes/p_show_it_bcc_812 show_it\np:mine/other version_proc_show\np:mine/unowned show_it+0');
  assert.equal((await look(machine, 'show_it')).user, 'kprobe kprobes/p_show_it_bcc_812, kprobe mine/unowned');
  machine.set('/proc/812/comm', 'bpftrace');
  machine.set('/proc/812/cgroup', `0::/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod${UID.replaceAll('-', '_')}.slice/cri-containerd-ab.scope`);
  machine.set(`/var/log/pods/tools_tracer_${UID}/tracer/0.log`, '');
  assert.match((await look(machine, 'show_it')).user ?? '', /p_show_it_bcc_812 of bpftrace \(PID 812\) in pod tools\/tracer/);
});

test('a probe that only debugfs shows is named as what it is', async () => {
  const machine = aMachine();
  machine.set('/sys/kernel/debug/kprobes/list', 'ffffffff81234574  k  show_it+0x4    [FTRACE]');
  assert.equal((await look(machine, 'show_it')).user, 'a kprobe of a kernel module or of perf');
});

test('tracefs is found at its older place', async () => {
  const machine = aMachine();
  for (const name of ['available_filter_functions', 'enabled_functions']) {
    machine.files.set(`/sys/kernel/debug/tracing/${name}`, machine.files.get(`/sys/kernel/tracing/${name}`) ?? Buffer.alloc(0));
    machine.files.delete(`/sys/kernel/tracing/${name}`);
  }
  assert.equal((await look(machine, 'version_proc_show')).traceable, true);
});

test('what is not mounted or can not be read is unknown, and said', async () => {
  const machine = aMachine();
  for (const name of ['available_filter_functions', 'enabled_functions']) machine.files.delete(`/sys/kernel/tracing/${name}`);
  const unmounted = await look(machine, 'version_proc_show');
  assert.deepEqual([unmounted.symbols, unmounted.traceable, unmounted.user], [1, 'unknown', undefined]);
  assert.match(unmounted.unchecked.join(), /tracefs is not mounted/);
  const blind = await look({ host: { ...machine.host, scan: unreadable } }, 'version_proc_show');
  assert.deepEqual([blind.symbols, blind.traceable], ['unknown', 'unknown']);
  assert.match(blind.unchecked.join(), /kallsyms can not be read/);
});

test('no list is read further than it can tell anything', async () => {
  const { host } = aMachine();
  const shown: Readonly<Record<string, readonly string[]>> = { '/proc/kallsyms': KALLSYMS, '/sys/kernel/tracing/available_filter_functions': FILTER };
  const read: string[] = [];
  const byLine: Host['scan'] = async (path, limitBytes, visit) => {
    if (shown[path] === undefined) return host.scan(path, limitBytes, visit);
    for (const line of shown[path]) {
      read.push(line);
      if (visit(Buffer.from(`${line}\n`))) break;
    }
    return true;
  };
  const lineByLine = { host: { ...host, scan: byLine } };
  const [firstOfModules] = KALLSYMS.flatMap((line, index) => (line.includes('[') ? [index] : []));
  await look(lineByLine, 'lto_function');
  assert.deepEqual(read.splice(0), [...KALLSYMS.slice(0, (firstOfModules ?? 0) + 1), ...FILTER.slice(0, 2)]);
  await look(lineByLine, 'nft_init', 'nf_tables');
  assert.deepEqual(read.splice(0), [...KALLSYMS, ...FILTER]);
  await look(lineByLine, 'show_it');
  assert.equal(read.filter((line) => FILTER.includes(line)).length, FILTER.length);
});

test('a second function of the name is counted wherever the kernel has it', async () => {
  const machine = aMachine();
  machine.set('/proc/kallsyms', [...KALLSYMS.slice(0, 6), 'ffffffff82000000 d version_proc_show', ...KALLSYMS.slice(6)].join('\n'));
  assert.equal((await look(machine, 'version_proc_show')).symbols, 2);
});

test('an empty list is unknown, not a kernel without functions', async () => {
  const machine = aMachine();
  machine.files.set('/proc/kallsyms', Buffer.alloc(0));
  assert.equal((await look(machine, 'version_proc_show')).symbols, 'unknown');
});

test('however a list is cut into pieces of whole lines, and whatever is in it, the count is that of its lines', () => {
  const line = fc.oneof(fc.constantFrom(...KALLSYMS, '', ' ', '\t[x]', 'ffffffff81234560 t', 'a b show_it c'), fc.string());
  fc.assert(
    fc.property(fc.array(line, { maxLength: 12 }), fc.nat(12), (lines, at) => {
      const clean = lines.map((each) => Buffer.from(each.replaceAll('\n', ''), 'latin1').toString('latin1'));
      const counter = symbolCounter([about('show_it')], 2);
      for (const part of [clean.slice(0, at), clean.slice(at)]) counter.accept(Buffer.from(part.map((each) => `${each}\n`).join(''), 'latin1'));
      const expected = clean.filter((each) => /^[^ ]* [^ ]* show_it(?=$|[ \t]|\.llvm\.)(?!.*?\[\w+\])/.test(each)).length;
      assert.equal(counter.count(about('show_it')), expected);
    }),
    { numRuns: 10_000 },
  );
});
