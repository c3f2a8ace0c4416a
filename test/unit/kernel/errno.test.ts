import assert from 'node:assert/strict';
import { test } from 'node:test';
import { describeLoadError, parseErrno } from '../../../kernel/errno.ts';
import type { Errno, LoadContext } from '../../../kernel/errno.ts';

const insmod = (text: string) => `insmod: ERROR: could not insert module /run/kernelpatch/fix.ko: ${text}\n`;

const PRINTED: readonly (readonly [string, Errno])[] = [
  [insmod('Invalid module format'), 'ENOEXEC'],
  [insmod('Unknown symbol in module'), 'ENOENT'],
  [insmod('Invalid parameters'), 'EINVAL'],
  [insmod('Device or resource busy'), 'EBUSY'],
  [insmod('File exists'), 'EEXIST'],
  [insmod('Key was rejected by service'), 'EKEYREJECTED'],
  [insmod('Required key not available'), 'ENOKEY'],
  [insmod('Operation not permitted'), 'EPERM'],
  [insmod('Cannot allocate memory'), 'ENOMEM'],
  ['insmod: ERROR: could not load module /run/kernelpatch/fix.ko: No such file or directory\n', 'ENOENT'],
  ['rmmod: ERROR: could not remove module fix: Resource temporarily unavailable\n', 'EAGAIN'],
  ['rmmod: ERROR: Module fix is in use\n', 'EAGAIN'],
  ['rmmod: ERROR: Module fix is not currently loaded\n', 'ENOENT'],
  [`insmod: WARNING: File exists\n${insmod('Invalid parameters')}`, 'EINVAL'],
  [insmod('Level 2 halted'), 'unknown'],
  ['', 'unknown'],
];

for (const [stderr, errno] of PRINTED) {
  test(`${JSON.stringify(stderr)} is ${errno}`, () => assert.equal(parseErrno(stderr), errno));
}

const facts: LoadContext['facts'] = { release: '6.12.1', ftrace: 'on', lockdown: 'none', modulesDisabled: 'off' };
const context: LoadContext = { hostPath: '/fix.ko', facts, otherTransition: undefined };

const EXPLAINED: readonly (readonly [what: string, errno: Errno, context: LoadContext, reason: string, retry: boolean])[] = [
  ['built for another kernel', 'ENOEXEC', context, 'ModuleRejected', false],
  ['a function that is not there', 'EINVAL', context, 'PatchNotApplicable', false],
  ['an unknown symbol', 'ENOENT', context, 'UnknownSymbol', false],
  ['an unknown key', 'EKEYREJECTED', context, 'SignatureRejected', false],
  ['lockdown', 'EPERM', { ...context, facts: { ...facts, lockdown: 'integrity' } }, 'LockedDown', false],
  ['no more modules', 'EPERM', { ...context, facts: { ...facts, modulesDisabled: 'on' } }, 'ModulesDisabled', false],
  ['no privilege', 'EPERM', context, 'PermissionDenied', false],
  ['ftrace off', 'EBUSY', { ...context, facts: { ...facts, ftrace: 'off' } }, 'FtraceDisabled', false],
  ['another transition', 'EBUSY', { ...context, otherTransition: 'vendor_fix' }, 'TransitionInProgress', true],
  ['a kprobe', 'EBUSY', context, 'FunctionInUse', true],
  ['loaded at the same moment', 'EEXIST', context, 'AlreadyLoaded', true],
  ['no memory', 'ENOMEM', context, 'KernelBusy', true],
  ['anything else', 'unknown', context, 'LoadFailed', false],
];

for (const [what, errno, given, reason, retry] of EXPLAINED) {
  test(`${what} (${errno}) is ${reason}, ${retry ? 'tried again' : 'final'}`, () => {
    const failure = describeLoadError(errno, given, insmod('text'));
    assert.deepEqual([failure.reason, failure.retry], [reason, retry]);
    assert.match(failure.message, /.{20}/);
  });
}

test('an error that is not understood shows what insmod printed', () => {
  assert.match(describeLoadError('unknown', context, insmod('Level 2 halted')).message, /Level 2 halted/);
});
