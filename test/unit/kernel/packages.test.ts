import assert from 'node:assert/strict';
import { test } from 'node:test';
import { describeInstallError, installCommand } from '../../../kernel/packages.ts';

const CONTEXT = { package: { name: 'linux-image-6.12.118+deb13-cloud-amd64' }, release: '6.12.118+deb13-cloud-amd64', where: 'journalctl has it' };
const FAILED = "kernelpatch-install.service: Main process exited, code=exited, status=100/n/a\nkernelpatch-install.service: Failed with result 'exit-code'.\nFailed to start kernelpatch-install.service - /usr/bin/apt-get -q -y.";

/** As apt 2.2 to 3.0, dpkg, dnf 4 and 5 and rpm print it. */
const PRINTED: readonly (readonly [what: string, log: string, reason: string, says: RegExp])[] = [
  ['an interrupted dpkg', "E: dpkg was interrupted, you must manually run 'dpkg --configure -a' to correct the problem.", 'InstallInterrupted', /run dpkg --configure -a there/],
  [
    'a held lock of dpkg',
    'E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 5475 (unattended-upgr)\nE: Unable to acquire the dpkg frontend lock (/var/lib/dpkg/lock-frontend), is another process using it?',
    'PackagesLocked', /held by process 5475 \(unattended-upgr\)/,
  ],
  [
    'a lock that was waited for in vain',
    'Waiting for cache lock: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 17139 (perl)...\nWaiting for cache lock: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 17139 (perl)...\nE: Unable to acquire the dpkg frontend lock (/var/lib/dpkg/lock-frontend), is another process using it?',
    'PackagesLocked', /\(held by process 17139 \(perl\)\)/,
  ],
  ['a lock that dpkg itself finds', 'dpkg: error: dpkg frontend lock was locked by another process with pid 812', 'PackagesLocked', /pid 812/],
  ['a held lock of dnf 4', 'metadata already locked by 3814\nThe application with PID 3814 is: dnf', 'PackagesLocked', /locked by 3814/],
  ['a held lock of rpm', 'Failed to obtain the transaction lock (logged in as: root).\nError: Could not run transaction.', 'PackagesLocked', /transaction lock/],
  ['a held lock of dnf 5', 'Failed to obtain rpm transaction lock. Another transaction is in progress.', 'PackagesLocked', /in progress/],
  ["a lock that rpm can not have", "error: can't create transaction lock on /var/lib/rpm/.rpm.lock (Resource temporarily unavailable)", 'PackagesLocked', /rpm\.lock/],
  ['a wait for a lock that has ended, and then a full disk', 'Waiting for cache lock: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 3372 (apt-get)\nE: You don\'t have enough free space in /var/cache/apt/archives/.', 'DiskFull', /\/var\/cache\/apt\/archives/],
  ['a disk that is full while dpkg unpacks', "dpkg: error processing archive /var/cache/apt/archives/linux-image-dummy_1_amd64.deb (--unpack):\n cannot copy extracted data for './usr/share/dummy/x' to '/usr/share/dummy/x.dpkg-new': failed to write (No space left on device)\ndpkg-deb: error: paste subprocess was killed by signal (Broken pipe)\nErrors were encountered while processing:\n /var/cache/apt/archives/linux-image-dummy_1_amd64.deb\nE: Sub-process /usr/bin/dpkg returned an error code (1)", 'DiskFull', /No space left/],
  ['a full /boot, by rpm', 'Error: Transaction test error:\n  installing package kernel-core-6.11.11-300.fc41.x86_64 needs 48MB more space on the /boot filesystem', 'DiskFull', /48MB more space on the \/boot/],
  ['a full disk, by dnf', 'Error Summary\n-------------\nDisk Requirements:\n   At least 187MB more space needed on the / filesystem.', 'DiskFull', /187MB/],
  ['a root that takes nothing', 'W: Not using locking for read only lock file /var/lib/dpkg/lock-frontend\nE: Unable to determine file size for fd 7 - fstat (30: Read-only file system)', 'NodeReadOnly', /put the kernel into its image/],
  ['a removal that would be needed', 'The following packages will be REMOVED:\n  linux-image-6.12.118+deb13-cloud-amd64-unsigned\nE: Packages need to be removed but remove is disabled.', 'WouldRemovePackages', /without removing others/],
  ['a package that is held', 'E: Held packages were changed and -y was used without --allow-change-held-packages.', 'PackageHeld', /apt-mark showhold/],
  ['a package that is excluded', 'All matches were filtered out by exclude filtering for argument: kernel-core\nError: Unable to find a match: kernel-core', 'PackageHeld', /exclude filtering/],
  ['dependencies that are missing, by apt', 'The following packages have unmet dependencies:\n linux-image-6.12.118 : Depends: linux-base but it is not installable\nE: Unable to correct problems, you have held broken packages.', 'DependenciesUnmet', /broken packages/],
  ['dependencies that are missing, by dnf', 'Error: \n Problem: conflicting requests\n  - nothing provides linux-firmware >= 20240101 needed by kernel-core-6.12.0-55.el10.x86_64', 'DependenciesUnmet', /conflicting requests/],
  ['a package that nobody has signed', 'E: There were unauthenticated packages and -y was used without --allow-unauthenticated', 'RepositoryUntrusted', /install its key/],
  ['a signature that does not fit', 'Error: GPG check FAILED', 'RepositoryUntrusted', /install its key/],
  ['metadata with a bad signature', "Error: Failed to download metadata for repo 'runner_gitlab-runner':\nrepomd.xml GPG signature verification error: Bad GPG signature", 'RepositoryUntrusted', /Bad GPG signature/],
  ['a package that no repository has', 'E: Unable to locate package linux-image-6.12.118+deb13-cloud-amd64\nE: Couldn\'t find any package by glob \'linux-image-6.12.118+deb13-cloud-amd64\'', 'PackageUnknown', /add the one that has it/],
  ['a version that no repository has', "E: Version '6.12.118-9' for 'linux-image-6.12.118+deb13-cloud-amd64' was not found", 'PackageUnknown', /add the one that has it/],
  ['a name without a package', "Package linux-image-6.12.118 is not available, but is referred to by another package.\nE: Package 'linux-image-6.12.118' has no installation candidate", 'PackageUnknown', /correct the name/],
  ['a package that dnf does not know', 'Last metadata expiration check: 0:30:37 ago on Tue Feb 14 15:32:20 2023.\nNo match for argument: kernel-core-6.13\nError: Unable to find a match: kernel-core-6.13', 'PackageUnknown', /add the one that has it/],
  ['no repository at all', 'Error: There are no enabled repositories in "/etc/yum.repos.d", "/etc/yum/repos.d", "/etc/distro.repos.d".', 'PackageUnknown', /add the one that has it/],
  ['a package that is unknown since its repository could not be reached', "Ign:1 http://10.0.2.2:9 ./ InRelease\nErr:1 http://10.0.2.2:9 ./ InRelease\n  Could not connect to 10.0.2.2:9 (10.0.2.2). - connect (111: Connection refused)\n  Unable to connect to 10.0.2.2:9:\nReading package lists...\nW: Failed to fetch http://10.0.2.2:9/./InRelease  Unable to connect to 10.0.2.2:9:\nW: Some index files failed to download. They have been ignored, or old ones used instead.\nE: Unable to locate package linux-image", 'RepositoryUnreachable', /Unable to connect to 10\.0\.2\.2:9/],
  ['a package that is unknown since its repository has no list', 'Err:3 http://127.0.0.1:18999/none ./ Packages\n  404  File not found [IP: 127.0.0.1 18999]\nE: Failed to fetch http://127.0.0.1:18999/none/./Packages  404  File not found [IP: 127.0.0.1 18999]\nE: Some index files failed to download. They have been ignored, or old ones used instead.\nE: Unable to locate package linux-image', 'RepositoryUnreachable', /404 {2}File not found/],
  ['a package that is unknown since its repository is gone', "E: The repository 'http://mirror.internal/debian trixie Release' does not have a Release file.\nE: Unable to locate package linux-image", 'RepositoryUnreachable', /does not have a Release file/],
  ['a package that is unknown since its repository has no key', "W: GPG error: http://mirror.internal trixie InRelease: The following signatures couldn't be verified because the public key is not available: NO_PUBKEY 6ED0E7B82643E131\nE: The repository 'http://mirror.internal trixie InRelease' is not signed.\nE: Unable to locate package linux-image", 'RepositoryUntrusted', /NO_PUBKEY/],
  ['a file that the repository does not have', 'E: Failed to fetch http://10.0.2.2:9/linux-image.deb  404  Not Found [IP: 10.0.2.2 9]\nE: Unable to fetch some archives, maybe run apt-get update or try with --fix-missing?', 'RepositoryUnreachable', /404 {2}Not Found/],
  ['a repository that dnf does not reach', "Errors during downloading metadata for repository 'emp-sw':\n  - Status code: 404 for https://mirror.internal/repodata/repomd.xml\nError: Failed to download metadata for repo 'emp-sw': Cannot download repomd.xml: Cannot download repodata/repomd.xml: All mirrors were tried", 'RepositoryUnreachable', /emp-sw/],
  ['a name that is not resolved', "Error: Failed to download metadata for repo 'baseos': Cannot prepare internal mirrorlist: Curl error (6): Couldn't resolve host name", 'RepositoryUnreachable', /baseos/],
  ['a repository whose address has a password', 'Error: Failed to download metadata for repo: Status code: 401 for https://user:s3cret@mirror.internal/repodata/repomd.xml', 'RepositoryUnreachable', /https:\/\/mirror\.internal/],
  ['a script that fails after a repository could not be read', 'E: Failed to fetch http://10.0.2.2:9/other.deb\ndpkg: error processing package linux-image (--configure):', 'PackageFailed', /dpkg: error processing/],
  ['a script of the package that fails', 'run-parts: /etc/kernel/postinst.d/initramfs-tools exited with return code 1\ndpkg: error processing package linux-image-6.12.118 (--configure):\n installed linux-image-6.12.118 package post-installation script subprocess returned error exit status 1\nE: Sub-process /usr/bin/dpkg returned an error code (1)', 'PackageFailed', /error processing package/],
  ['something that nobody knows', `Segmentation fault\n${FAILED}`, 'InstallFailed', /\(Segmentation fault\)/],
  ['a failure that says nothing of itself', FAILED, 'InstallFailed', /\(Building dependency tree\.\.\.\)/],
  ['a package that brings another kernel', 'linux-image is already the newest version (6.12.118-1).\nkernelpatch-install.service: Deactivated successfully.\nFinished kernelpatch-install.service - /usr/bin/apt-get -q -y.', 'PackageWithoutKernel', /there is no kernel 6\.12\.118/],
];

for (const [what, log, reason, says] of PRINTED) {
  test(`${what} is ${reason}, and says what to do`, () => {
    const failure = describeInstallError(`Reading package lists...\nBuilding dependency tree...\n${log}`, CONTEXT);
    assert.deepEqual([failure.reason, failure.retry], [reason, false]);
    assert.match(failure.message, says);
    assert.ok(failure.message.endsWith('. journalctl has it'), failure.message);
    assert.ok(failure.message.length < 800, failure.message);
  });
}

test('an installation that has printed nothing has failed', () => {
  const { reason, message } = describeInstallError('', CONTEXT);
  assert.deepEqual([reason, message], ['InstallFailed', 'package linux-image-6.12.118+deb13-cloud-amd64 could not be installed (nothing was printed). journalctl has it']);
});

test('apt-get is told to remove nothing, to take the name for a name, to wait for a lock and not for ever, and nobody is asked', () => {
  const { before, argv, environment } = installCommand('apt-get', { name: 'linux-image-x' });
  const line = argv.join(' ');
  for (const option of ['-y', '--no-remove', '--no-install-recommends', 'APT::Cmd::Pattern-Only=true', 'DPkg::Lock::Timeout=10', 'Dpkg::Options::=--force-confold']) assert.ok(line.includes(option), option);
  assert.equal(argv.slice(-2).join(' '), 'install linux-image-x');
  assert.equal(before, '-/usr/bin/apt-get -q update');
  for (const each of ['LC_ALL=C', 'DEBIAN_FRONTEND=noninteractive', 'NEEDRESTART_SUSPEND=1']) assert.ok(environment.includes(each), each);
  assert.equal(installCommand('apt-get', { name: 'linux-image-x', version: '1:6.12.118-1~bpo12+1' }).argv.at(-1), 'linux-image-x=1:6.12.118-1~bpo12+1');
});

test('dnf and yum keep older kernels, do not wait for a lock, and look at what the repositories have now', () => {
  for (const manager of ['dnf', 'yum'] as const) {
    const { before, argv } = installCommand(manager, { name: 'kernel-core', version: '5.14.0-570.12.1.el9_6' });
    assert.deepEqual(argv, [`/usr/bin/${manager}`, '-y', '--refresh', '--setopt=installonly_limit=0', '--setopt=install_weak_deps=False', '--setopt=exit_on_lock=True', 'install', 'kernel-core-5.14.0-570.12.1.el9_6']);
    assert.equal(before, undefined);
  }
});
