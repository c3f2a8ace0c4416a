import assert from 'node:assert/strict';
import type { Machine } from '../../node/machine.ts';
import { fixedRelease, inFixedKernel, inService, isCordoned } from '../reboot.ts';
import { DEAD_REPOSITORY, kernelPackage, removeFixedKernel, setRepository, withRepository } from '../repository.ts';
import type { Scenario } from '../scenario.ts';
import { AGENT_START, BOOT, SOON, apply, assertHealthyKernel, kernelPatch, onlyNode, policy, runningRelease, untilNode } from '../world.ts';
import type { World } from '../world.ts';

/** Somebody else installs packages: apt's own lock, which ends with the shell. The struct is flock of x86-64 (fcntl(2)). */
const HOLD_LOCK = `perl -MFcntl -e 'open my $f, ">>", "/var/lib/dpkg/lock-frontend"; my $lock = pack("s s x4 q q i x4", F_WRLCK, 0, 0, 0, 0); fcntl $f, F_SETLK, $lock or die; sleep 600' >/dev/null 2>&1 & echo $! >/run/holder; sleep 1`;

interface Failure {
  readonly reason: string;
  readonly says: RegExp;
  /** Shell of the node. */
  readonly arrange: string;
  readonly undo: string;
}

const failures = (world: World): readonly Failure[] => [
  { reason: 'PackagesLocked', says: /held by process \d+ \(perl\)/, arrange: HOLD_LOCK, undo: 'kill $(cat /run/holder)' },
  { reason: 'InstallInterrupted', says: /dpkg --configure -a/, arrange: ': >/var/lib/dpkg/updates/0001', undo: 'rm /var/lib/dpkg/updates/0001' },
  { reason: 'DiskFull', says: /enough free space in \/var\/cache\/apt\/archives/, arrange: 'mount -t tmpfs -o size=8m tmpfs /var/cache/apt/archives', undo: 'umount /var/cache/apt/archives' },
  { reason: 'DiskFull', says: /^the file system of \/boot has \d+ MiB left/, arrange: `mkdir /run/boot && cp -a /boot/vmlinuz-${runningRelease(world)} /boot/initrd.img-${runningRelease(world)} /boot/grub /run/boot/ && mount -t tmpfs -o size=32m tmpfs /boot && cp -a /run/boot/. /boot/`, undo: 'umount /boot' },
];

export const packageInstall: Scenario = {
  name: 'package-install',
  title: 'a node without the fixed kernel installs its package from an apt repository before it is cordoned, also when its agent is killed meanwhile, and kexecs into it; what keeps it from that is named and costs nobody a cordon',
  async run(world) {
    const { nodes: [node], plane } = world.fleet;
    const { name } = node.options;
    await Promise.all([removeFixedKernel(world, node), setRepository(node, undefined)]);
    await withRepository(world, async (url) => {
      await apply(world, fixedByPackage(world, '1'), policy({ ...onlyNode(name), maxDisruption: 'Kexec', reboot: { install: 'Package' } }));
      await refused(world, node, { retry: '1', reason: 'PackageUnknown', says: /no repository of the node has package linux-image-/ });
      await setRepository(node, DEAD_REPOSITORY);
      await apply(world, fixedByPackage(world, '2'));
      await refused(world, node, { retry: '2', reason: 'RepositoryUnreachable', says: /Failed to fetch .*:9\// });
      await setRepository(node, url);
      for (const [index, { reason, says, arrange, undo }] of failures(world).entries()) {
        await node.must(arrange);
        await apply(world, fixedByPackage(world, `f${index}`));
        await refused(world, node, { retry: `f${index}`, reason, says });
        await node.must(undo);
      }

      await apply(world, fixedByPackage(world, 'ok'));
      const bootID = await node.bootID();
      const begun = performance.now();
      await untilNode(world, { name, what: 'installing', seconds: SOON }, ({ status, spec }) => status?.reboot?.state === 'Installing' && spec.reboot?.retry === 'ok');
      await node.must('until systemctl show -p ActiveState kernelpatch-install.service | grep -q activating; do sleep 0.2; done');
      await node.must("pkill -9 -f '[/]app/agent.cjs'");
      await untilNode(world, { name, what: 'installed', seconds: BOOT }, ({ status }) => status?.reboot?.state !== 'Installing' && status?.installedKernels.includes(fixedRelease(world)) === true);
      world.say(`installed ${((performance.now() - begun) / 1000).toFixed(1)} s after it was asked for`);
      await node.rebooted(bootID, BOOT);
      await inFixedKernel(world, node, AGENT_START);
      assert.equal((await node.must('uname -r')).trim(), fixedRelease(world));
      await inService(world, name);
      world.say((await node.must("grep -E '^(Start|End)-Date' /var/log/apt/history.log | tail -n 2")).trim().replace('\n', ', '));
      assert.match(await node.must(`dpkg-query -W -f '\${Status}' ${kernelPackage(world)}`), /^install ok installed/);
      assert.equal((await node.must(`grep -c '^Commandline: /usr/bin/apt-get .* install ${kernelPackage(world)}' /var/log/apt/history.log`)).trim(), '1', 'it was installed once');
      await node.must(`grep -q 'vmlinuz-${fixedRelease(world)}' /boot/grub/grub.cfg`);
    });
    world.say(await plane.mustKubectl(['get', 'kernelpatches,nodekernels', '-o', 'wide']));
    await assertHealthyKernel(node);
  },
};

/** Another word is another try. */
function fixedByPackage(world: World, retryReboot: string): object {
  const fixed = fixedRelease(world);
  return kernelPatch('fix', { retryReboot, kernels: [{ release: runningRelease(world), state: 'Affected', rebootInto: fixed, package: { name: kernelPackage(world) } }, { release: fixed, state: 'Fixed' }] });
}

/** The try has come to this, and the node is as it was. */
async function refused(world: World, node: Machine, { retry, reason, says }: { readonly retry: string; readonly reason: string; readonly says: RegExp }): Promise<void> {
  const { name } = node.options;
  const { spec, status } = await untilNode(world, { name, what: `refused with ${reason}`, seconds: AGENT_START }, ({ spec: { reboot } }) => reboot?.phase === 'Refused' && reboot.retry === retry);
  assert.equal(spec.reboot?.reason, reason, spec.reboot?.message);
  assert.match(spec.reboot.message, says);
  assert.equal(await isCordoned(world, name), false);
  assert.deepEqual(status?.installedKernels, [runningRelease(world)]);
}
