/** The real agent where live patches must be signed, on a simulated machine. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { WantedLivePatch } from '../../../crds/nodekernel.ts';
import { BOOT_DIRECTORY } from '../../../daemonset/boot/install.ts';
import type { KeyFile } from '../../../trust/keys.ts';
import { bundleNameOf } from '../../../trust/verify.ts';
import { KERNEL_BUILD_ID } from '../../simulated/facts.ts';
import { RELEASE, aModule } from '../../simulated/module.ts';
import { HOST_PATH, NO_VERIFICATION, aNode, aWanted, sha256Of } from '../../simulated/node.ts';
import type { SimulatedNode } from '../../simulated/node.ts';
import { PATCHED, aSigner, signFile, someClaims } from '../../simulated/signed.ts';

const SIGNER = aSigner();
const INSTALLED: readonly KeyFile[] = [{ name: 'release.pub', text: SIGNER.publicPEM }];
const MODULE = aModule({ patches: [PATCHED] });

interface Given {
  readonly module?: Buffer;
  /** null: there is none. */
  readonly bundle?: Buffer | null;
  readonly wanted?: Partial<WantedLivePatch>;
  readonly keys?: readonly KeyFile[] | string;
}

/** A node on which the kernel has the function, and where nothing unsigned is loaded. */
function arrange({ module = MODULE, bundle = signFile(SIGNER, module), wanted = {}, keys = INSTALLED }: Given): SimulatedNode {
  const node = aNode();
  node.machine.set('/proc/kallsyms', 'ffffffff81234560 t version_proc_show');
  node.machine.set('/sys/kernel/tracing/available_filter_functions', 'version_proc_show');
  node.machine.set('/sys/kernel/tracing/enabled_functions', '');
  node.machine.files.set(HOST_PATH, module);
  if (bundle !== null) node.machine.files.set(bundleNameOf(HOST_PATH), bundle);
  node.verification = { policy: 'Require', readKeyFiles: () => Promise.resolve(keys) };
  node.want([aWanted({ sha256: sha256Of(module), cves: ['CVE-2026-31431'], ...wanted })]);
  return node;
}

test('a live patch that an installed key has signed is loaded, and kept for the next boot', async () => {
  await using node = arrange({});
  node.start();
  const status = await node.settle();
  assert.equal(node.report()?.state, 'Active');
  assert.equal(status.boot?.state, 'Kept');
});

const garbage = Buffer.from('\x7fELF, or something that begins like it');

const REFUSED: Readonly<Record<string, { readonly reason: string; readonly given: Given }>> = {
  'one that nobody has signed': { reason: 'SignatureMissing', given: { bundle: null } },
  'one that somebody else has signed': { reason: 'SignatureUntrusted', given: { bundle: signFile(aSigner(), MODULE) } },
  'one with the bundle of another file': { reason: 'ClaimsOfOtherFile', given: { bundle: signFile(SIGNER, aModule()) } },
  'one whose bundle is a module': { reason: 'SignatureMalformed', given: { bundle: MODULE } },
  'one whose bundle is larger than any': { reason: 'SignatureMalformed', given: { bundle: Buffer.alloc(600 * 1024, ' ') } },
  'one where no key is installed': { reason: 'NoTrustedKey', given: { keys: [] } },
  'one where the keys can not be read': { reason: 'NoTrustedKey', given: { keys: '/etc/kernelpatch/keys can not be read: EIO' } },
  'one whose key was removed': { reason: 'SignatureUntrusted', given: { keys: [{ name: 'next.pub', text: aSigner().publicPEM }] } },
  'one that is signed for another kernel': { reason: 'ClaimedKernelMismatch', given: { bundle: signFile(SIGNER, MODULE, someClaims({ kernel: { release: '6.1.0-9-amd64' } })) } },
  'one that is signed for another build of the kernel': { reason: 'ClaimedKernelMismatch', given: { bundle: signFile(SIGNER, MODULE, someClaims({ kernel: { release: RELEASE, buildID: 'ab'.repeat(20) } })) } },
  'one that is said to close more than its signer says': { reason: 'ClaimedCVEsMismatch', given: { wanted: { cves: ['CVE-2026-31431', 'CVE-2026-40000'] } } },
  'one that is said to be reversible against its signer': { reason: 'ClaimedReversibleMismatch', given: { bundle: signFile(SIGNER, MODULE, someClaims({ reversible: false })) } },
  'one that is signed under another name': { reason: 'ClaimedNameMismatch', given: { bundle: signFile(SIGNER, MODULE, someClaims({ name: 'another' })) } },
  'one that patches what its signer does not name': { reason: 'ClaimedFunctionsMismatch', given: { bundle: signFile(SIGNER, MODULE, someClaims({ functions: ['vmlinux:another'] })) } },
  'one whose build is not the signed one': { reason: 'ClaimedBuildIDMismatch', given: { bundle: signFile(SIGNER, MODULE, someClaims({ buildID: 'ab'.repeat(20) })) } },
  'bytes that are no module, unsigned: they are not looked into': { reason: 'SignatureMissing', given: { module: garbage, bundle: null } },
  'bytes that are no module, signed': { reason: 'NotAModule', given: { module: garbage } },
  'another file than the one that was asked for, whoever signed it': { reason: 'DigestMismatch', given: { wanted: { sha256: 'ab'.repeat(32) } } },
};

for (const [what, { reason, given }] of Object.entries(REFUSED)) {
  test(`${what} is Refused as ${reason}, and the kernel is never asked`, async () => {
    await using node = arrange(given);
    node.start();
    await node.settle();
    assert.deepEqual([node.report()?.state, node.report()?.reason], ['Refused', reason]);
    await node.machine.clock.sleep(120_000);
    assert.deepEqual(node.machine.asked, []);
    assert.equal(node.machine.staged.size, 0);
  });
}

test('the build of the kernel that it is signed for is the running one', async () => {
  await using node = arrange({ bundle: signFile(SIGNER, MODULE, someClaims({ kernel: { release: RELEASE, buildID: KERNEL_BUILD_ID } })) });
  node.start();
  await node.settle();
  assert.equal(node.report()?.state, 'Active');
});

test('what is refused is loaded once its bundle or its key is there', async () => {
  let keys: readonly KeyFile[] = [];
  await using node = arrange({ bundle: null });
  node.verification = { policy: 'Require', readKeyFiles: () => Promise.resolve(keys) };
  node.start();
  await node.settle();
  assert.equal(node.report()?.reason, 'NoTrustedKey');
  keys = INSTALLED;
  await node.until('the key is seen', () => node.report()?.reason === 'SignatureMissing');
  node.machine.files.set(bundleNameOf(HOST_PATH), signFile(SIGNER, MODULE));
  await node.until('the bundle is seen', () => node.report()?.state === 'Active');
});

test('one that is active stays when its key goes, also with a new agent, and can be withdrawn', async () => {
  await using node = arrange({});
  node.start();
  await node.settle();
  await node.stop();
  node.verification = { policy: 'Require', readKeyFiles: () => Promise.resolve([]) };
  node.start();
  await node.settle();
  assert.equal(node.report()?.state, 'Active');
  node.want([aWanted({ sha256: sha256Of(MODULE), desired: 'Absent' })]);
  await node.settle();
  assert.equal(node.machine.asked.at(-1), 'rmmod livepatch_fix');
});

const bootCopies = ({ machine }: SimulatedNode): readonly string[] => [...machine.files.keys()].filter((path) => path.startsWith(BOOT_DIRECTORY) && path.includes(sha256Of(MODULE)));

test('a key that goes takes the copy from the next boot, and not the live patch from the kernel; a key that comes back brings it back', async () => {
  let keys = INSTALLED;
  await using node = arrange({});
  node.verification = { policy: 'Require', readKeyFiles: () => Promise.resolve(keys) };
  node.start();
  await node.settle();
  assert.equal(bootCopies(node).length, 2, 'the module and its bundle');
  keys = [];
  await node.until('the next boot loads nothing', () => node.object.status?.boot?.state === 'Unavailable');
  assert.equal(node.object.status?.boot?.reason, 'NoTrustedKey');
  assert.deepEqual(bootCopies(node).filter((path) => path.endsWith('.ko')), []);
  assert.equal(node.report()?.state, 'Active');
  keys = INSTALLED;
  await node.until('it does again', () => node.object.status?.boot?.state === 'Kept');
  assert.equal(bootCopies(node).length, 2);
});

test('a copy is vouched for by its own bundle, so a new agent keeps it where the file is gone from its place', async () => {
  await using node = arrange({});
  node.start();
  await node.settle();
  await node.stop();
  node.machine.files.delete(HOST_PATH);
  node.machine.files.delete(bundleNameOf(HOST_PATH));
  node.start();
  await node.settle();
  await node.machine.clock.sleep(60_000);
  assert.equal(node.object.status?.boot?.state, 'Kept');
  assert.equal(bootCopies(node).length, 2);
});

test('a copy of the time when nobody had to sign is not loaded by the next boot any more', async () => {
  await using node = arrange({ bundle: null });
  const required = node.verification;
  node.verification = NO_VERIFICATION;
  node.start();
  await node.settle();
  assert.equal(node.object.status?.boot?.state, 'Kept');
  await node.stop();
  node.verification = required;
  node.start();
  await node.until('the next boot loads nothing', () => node.object.status?.boot?.reason === 'SignatureMissing');
  assert.deepEqual(bootCopies(node), []);
  assert.equal(node.report()?.state, 'Active');
});
