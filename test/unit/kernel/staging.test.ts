import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Errno } from '../../../kernel/errno.ts';
import type { KexecFacts } from '../../../kernel/kexec.ts';
import { describeStageError, describeUnstageError, refuseCommandLine, refuseKexec } from '../../../kernel/staging.ts';

const STOCK: KexecFacts = { supported: 'on', loadDisabled: 'off', loadsLeft: undefined, lockdown: 'none', secureBoot: 'off', capable: 'on' };

const BEFORE: readonly (readonly [what: string, facts: Partial<KexecFacts>, reason: string | undefined])[] = [
  ['a stock kernel', {}, undefined],
  ['nothing is known', { supported: 'unknown', loadDisabled: 'unknown', lockdown: 'unknown', secureBoot: 'unknown', capable: 'unknown' }, undefined],
  ['lockdown: the kernel may trust the image', { lockdown: 'integrity', secureBoot: 'on' }, undefined],
  ['no kexec', { supported: 'off' }, 'KexecUnsupported'],
  ['no CAP_SYS_BOOT', { capable: 'off' }, 'CapabilityMissing'],
  ['kexec_load_disabled', { loadDisabled: 'on' }, 'KexecLoadDisabled'],
  ['no loads left', { loadsLeft: 0 }, 'KexecLoadLimit'],
  ['some loads left', { loadsLeft: 2 }, undefined],
];

for (const [what, facts, reason] of BEFORE) test(`before the kernel is asked, ${what}: ${reason ?? 'it may be'}`, () => assert.equal(refuseKexec({ ...STOCK, ...facts })?.reason, reason));

const FILES = { image: '/boot/vmlinuz-6.12', initrd: '/boot/initrd.img-6.12' };

const ANSWERED: readonly (readonly [what: string, errno: Errno, facts: Partial<KexecFacts>, reason: string, retry: boolean])[] = [
  ['kexec_load_disabled', 'EPERM', { loadDisabled: 'on' }, 'KexecLoadDisabled', true],
  ['no CAP_SYS_BOOT', 'EPERM', { capable: 'off' }, 'CapabilityMissing', true],
  ['the last load was used up', 'EPERM', { loadsLeft: 0 }, 'KexecLoadLimit', true],
  ['lockdown', 'EPERM', { lockdown: 'integrity' }, 'LockedDown', false],
  ['lockdown by Secure Boot', 'EPERM', { lockdown: 'integrity', secureBoot: 'on' }, 'SecureBoot', false],
  ['nothing that can be read', 'EPERM', {}, 'PermissionDenied', true],
  ['an unknown key, Secure Boot', 'EKEYREJECTED', { secureBoot: 'on' }, 'SecureBoot', false],
  ['an unknown key, no Secure Boot', 'ENOKEY', {}, 'SignatureRejected', false],
  ['no signature', 'ENODATA', {}, 'SignatureRejected', false],
  ['another load at the same moment', 'EBUSY', {}, 'KexecBusy', true],
  ['no memory', 'ENOMEM', {}, 'NotEnoughMemory', true],
  ['no hole in memory', 'EADDRNOTAVAIL', {}, 'NotEnoughMemory', true],
  ['a broken image', 'ENOEXEC', {}, 'ImageRejected', false],
  ['an image that does not fit', 'EINVAL', {}, 'ImageRejected', false],
  ['neither call takes it, and the kernel has kexec', 'ENOSYS', {}, 'ImageRejected', false],
  ['a kernel without kexec', 'ENOSYS', { supported: 'unknown' }, 'KexecUnsupported', false],
  ['the file is being written', 'ETXTBSY', {}, 'ImageBusy', true],
  ['a file that has gone', 'ENOENT', {}, 'BootUnreadable', true],
  ['a disk that fails', 'EIO', {}, 'BootUnreadable', true],
  ['anything else', 'unknown', {}, 'StageFailed', false],
];

for (const [what, errno, facts, reason, retry] of ANSWERED) {
  test(`${what} (${errno}) is ${reason}, ${retry ? 'looked at again' : 'final'}`, () => {
    const failure = describeStageError(errno, { release: '6.12', files: FILES, facts: { ...STOCK, ...facts } }, 'kexec: something\n');
    assert.deepEqual([failure.reason, failure.retry], [reason, retry]);
    assert.match(failure.message, /.{30}/);
  });
}

test('an error that is not understood shows what kexec printed', () => {
  assert.match(describeStageError('unknown', { release: '6.12', files: FILES, facts: STOCK }, 'a\nlast words\n').message, /last words/);
});

test('an image that stays in the kernel is said with what a reboot would do', () => {
  assert.match(describeUnstageError('EPERM', { ...STOCK, loadDisabled: 'on' }, '').message, /reboot of this node may start it.*kexec_load_disabled=1/);
});

test('a command line is refused from the byte on that the kernel does not take', () => {
  assert.equal(refuseCommandLine('ä'.repeat(1008)), undefined);
  assert.match(refuseCommandLine(`${'ä'.repeat(1008)}b`)?.message ?? '', /2017 bytes, and it takes 2016/);
});
