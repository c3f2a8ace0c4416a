import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseModule } from '../../../kernel/elf.ts';
import type { KernelFacts } from '../../../kernel/facts.ts';
import type { PatchedFunction } from '../../../kernel/functions.ts';
import { refuseFile, refuseFunctions, refuseHiding, refuseLoad, refuseMemory } from '../../../kernel/preflight.ts';
import type { FileFinding, ModuleOrder, RefusalReason } from '../../../kernel/preflight.ts';
import type { FunctionFacts } from '../../../kernel/tracing.ts';
import { KERNEL_BUILD_ID, someFacts } from '../../simulated/facts.ts';
import { RELEASE, aModule } from '../../simulated/module.ts';

const DIGEST = 'a1'.repeat(32);
const OTHER = 'b2'.repeat(32);

const order: ModuleOrder = { name: 'livepatch_fix', release: RELEASE, buildID: KERNEL_BUILD_ID, hostPath: '/fix.ko', sha256: DIGEST, replace: true };
const facts = someFacts();
const SHOWN: PatchedFunction = { object: 'vmlinux', name: 'show_it', position: 0 };
const holding = (options: Parameters<typeof aModule>[0] = {}): FileFinding => ({ kind: 'Read', sha256: DIGEST, module: parseModule(aModule(options)), invalid: '' });

interface Case {
  readonly reason: RefusalReason;
  readonly order?: Partial<ModuleOrder>;
  readonly facts?: Partial<KernelFacts>;
  readonly file?: FileFinding;
  /** Values that the message names. */
  readonly names: readonly string[];
}

const CASES: Readonly<Record<string, Case>> = {
  'a kernel without live patching': { reason: 'LivePatchingUnavailable', facts: { livePatching: 'Unavailable' }, names: [RELEASE, 'CONFIG_LIVEPATCH'] },
  'an order for another kernel': { reason: 'WrongKernel', order: { release: '6.1.0-9-amd64' }, names: [RELEASE, '6.1.0-9-amd64'] },
  'an order for another build': { reason: 'BuildIDMismatch', facts: { buildID: OTHER }, names: [OTHER, KERNEL_BUILD_ID] },
  'a kernel whose build id can not be read': { reason: 'BuildIDUnknown', facts: { buildID: 'unknown' }, names: [KERNEL_BUILD_ID] },
  'a kernel that takes no more modules': { reason: 'ModulesDisabled', facts: { modulesDisabled: 'on' }, names: ['kernel.modules_disabled'] },
  'ftrace off': { reason: 'FtraceDisabled', facts: { ftrace: 'off' }, names: ['kernel.ftrace_enabled=1'] },
  'no file': { reason: 'FileMissing', file: { kind: 'Missing' }, names: ['/fix.ko', 'source.hostPath'] },
  'a file that can not be read': { reason: 'FileUnreadable', file: { kind: 'Unreadable', detail: '/fix.ko can not be read: EIO' }, names: ['EIO'] },
  'a file beyond all bounds': { reason: 'FileTooLarge', file: { kind: 'TooLarge', detail: '/fix.ko is larger than 9 bytes' }, names: ['/fix.ko'] },
  'another digest': { reason: 'DigestMismatch', order: { sha256: OTHER }, names: [DIGEST, OTHER] },
  'no module': { reason: 'NotAModule', file: { kind: 'Read', sha256: DIGEST, module: undefined, invalid: 'it begins with 2321' }, names: ['it begins with 2321'] },
  'another name': { reason: 'NameMismatch', file: holding({ name: 'another' }), names: ['another', 'livepatch_fix'] },
  'no mark': { reason: 'NotALivePatch', file: holding({ livePatch: false }), names: ['MODULE_INFO(livepatch, "Y")'] },
  'no build id': { reason: 'NoBuildID', file: holding({ buildID: null }), names: ['--build-id'] },
  'built for another kernel': { reason: 'WrongKernel', file: holding({ release: '6.1.0-9-amd64' }), names: [RELEASE, '6.1.0-9-amd64'] },
  'one that replaces others although it is said not to': { reason: 'ReplaceMismatch', order: { replace: false }, file: holding({ patches: [SHOWN], replace: true }), names: ['is cumulative', 'set replace: true'] },
  'one that replaces nothing although it is said to': { reason: 'ReplaceMismatch', file: holding({ patches: [SHOWN], replace: false }), names: ['is not cumulative', 'set replace: false'] },
  'unsigned under lockdown': { reason: 'LockedDown', facts: { lockdown: 'integrity' }, names: ['integrity'] },
  'unsigned where signatures are enforced': { reason: 'SignatureRequired', facts: { signaturesEnforced: 'on' }, names: ['module.sig_enforce'] },
};

for (const [what, given] of Object.entries(CASES)) {
  test(`${what} is refused as ${given.reason}, with the values`, () => {
    const refusal = refuseLoad({ ...order, ...given.order }, { ...facts, ...given.facts }, given.file ?? holding());
    assert.equal(refusal?.reason, given.reason);
    for (const name of given.names) assert.ok(refusal?.message.includes(name), `${refusal?.message} names ${name}`);
  });
}

test('the right module on the right kernel is not refused', () => {
  assert.equal(refuseLoad(order, facts, holding()), undefined);
});

test('a function that a live patch of somebody else has is left to it, whichever of several of that name it is', () => {
  const theirs = [{ name: 'vendor_fix', owner: 'somebody else', functions: ['vmlinux:f', 'ext4:g,2'] }];
  const hiding = (object: string, name: string, position: number) => refuseHiding(order, [SHOWN, { object, name, position }], theirs);
  for (const found of [hiding('vmlinux', 'f', 0), hiding('vmlinux', 'f', 1), hiding('ext4', 'g', 2)]) {
    assert.equal(found?.reason, 'WouldHideForeign');
    assert.match(found.message, /\/fix\.ko patches \S+, as vendor_fix does, which was loaded by somebody else/);
  }
  for (const found of [hiding('ext4', 'f', 0), hiding('ext4', 'g', 0), hiding('vmlinux', 'f', 2)]) assert.equal(found, undefined);
});

test('an order without a build id takes any build of the release', () => {
  assert.equal(refuseLoad({ ...order, buildID: undefined }, { ...facts, buildID: OTHER }, holding()), undefined);
});

test('a signed module is left to the kernel to judge, under lockdown too', () => {
  assert.equal(refuseLoad(order, { ...facts, lockdown: 'integrity', signaturesEnforced: 'on' }, holding({ signed: true })), undefined);
});

test('a fact that is unknown does not refuse: the kernel is asked and answers itself', () => {
  const unknown = { livePatching: 'Unknown', lockdown: 'unknown', ftrace: 'unknown', modulesDisabled: 'unknown', signaturesEnforced: 'unknown' } as const;
  assert.equal(refuseLoad(order, { ...facts, ...unknown }, holding()), undefined);
});

test('a file is recognised whatever the kernel allows now', () => {
  assert.equal(refuseFile(order, holding({ release: '6.1.0-9-amd64' })), undefined);
});

const aboutFunction = (changes: Partial<FunctionFacts>, position = 0, object = 'vmlinux'): FunctionFacts => ({ function: { object, name: 'show_it', position }, symbols: 1, traceable: true, user: undefined, ...changes });

const FUNCTIONS: readonly (readonly [what: string, facts: FunctionFacts, reason: RefusalReason | undefined, names: readonly string[]])[] = [
  ['a function that is there once', aboutFunction({}), undefined, []],
  ['a function that is not there', aboutFunction({ symbols: 0 }), 'FunctionMissing', ['show_it', RELEASE]],
  ['a function that its module does not have', aboutFunction({ symbols: 0 }, 0, 'ext4'), 'FunctionMissing', ['show_it', 'module ext4']],
  ['two of them and no position', aboutFunction({ symbols: 2 }), 'FunctionAmbiguous', ['show_it', '2 functions', 'old_sympos']],
  ['two of them and the second meant', aboutFunction({ symbols: 2 }, 2), undefined, []],
  ['two of them and the third meant', aboutFunction({ symbols: 2 }, 3), 'FunctionMissing', ['number 3', 'has 2']],
  ['one that can not be hooked', aboutFunction({ traceable: false }), 'FunctionNotTraceable', ['show_it', 'notrace']],
  ['one that somebody holds', aboutFunction({ user: 'kprobe mine of bpftrace (PID 812) in pod tools/tracer' }), 'FunctionInUse', ['show_it', 'bpftrace (PID 812) in pod tools/tracer']],
  ['nothing known', aboutFunction({ symbols: 'unknown', traceable: 'unknown' }), undefined, []],
];

for (const [what, found, reason, names] of FUNCTIONS) {
  test(`${what}: ${reason ?? 'not refused'}`, () => {
    const refusal = refuseFunctions(order, RELEASE, [aboutFunction({}), found]);
    assert.equal(refusal?.reason, reason);
    for (const name of names) assert.ok(refusal?.message.includes(name), `${refusal?.message} names ${name}`);
  });
}

test('a module is loaded where there is memory for it three times, or nobody knows', () => {
  assert.equal(refuseMemory(order, 10, 30), undefined);
  assert.equal(refuseMemory(order, 10, -1), undefined);
  const refusal = refuseMemory(order, 4 * 1024 * 1024, 5 * 1024 * 1024);
  assert.equal(refusal?.reason, 'NotEnoughMemory');
  assert.match(refusal?.message ?? '', /12\.0 MiB .* 5\.0 MiB/);
});
