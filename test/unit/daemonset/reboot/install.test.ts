/** The real agent on a node that does not have the kernel it is to boot into. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { JOURNAL_PATH } from '../../../../daemonset/journal.ts';
import { aNode } from '../../../simulated/node.ts';
import type { SimulatedNode } from '../../../simulated/node.ts';
import { INSTALL_MILLISECONDS } from '../../../simulated/packages.ts';
import { PACKAGE, TARGET, anOrder } from '../../../simulated/reboot.ts';
import { INHIBITOR, kinds, order, reboot, reportOf, saysOf } from './ordered.ts';

const install = { name: PACKAGE };

/** A repository of the node has its package. */
function aNodeWithRepository(): SimulatedNode {
  const node = aNode();
  node.machine.packages.known.set(PACKAGE, TARGET);
  return node;
}

test('the kernel is installed, put in place and booted into, and each is reported', async () => {
  await using node = aNodeWithRepository();
  node.start();
  await order(node, { install });
  assert.deepEqual([saysOf(node), node.machine.asked, kinds(node)], [['Staged', 'Staged'], [`install ${PACKAGE}`, 'kexec -s -l'], ['Staging']]);
  assert.deepEqual([...new Set(node.writes.map(({ reboot: report }) => report?.state))], ['Installing', 'Staging', 'Staged']);
  const installing = node.writes.find(({ reboot: report }) => report?.state === 'Installing');
  assert.deepEqual([installing?.reboot?.message, installing?.conditions?.find(({ type }) => type === 'Progressing')?.status], [`the package manager of the node installs package ${PACKAGE} with kernel ${TARGET}`, 'True']);
  await reboot(node, { install });
  assert.deepEqual(saysOf(node), ['Proven', 'ByKexec']);
});

test('what is installed is in the first report that says that it has ended', async () => {
  await using node = aNodeWithRepository();
  node.start();
  await order(node, { install });
  const after = node.writes.filter(({ reboot: report }) => report?.state === 'Staging' || report?.state === 'Staged');
  assert.ok(after.length > 0 && after.every(({ installedKernels }) => installedKernels.includes(TARGET)));
});

test('a kernel that is there is not installed again, nor is one whose order does not say so', async () => {
  await using node = aNodeWithRepository();
  node.machine.installKernel(TARGET);
  node.start();
  await order(node, { install });
  assert.deepEqual([saysOf(node), node.machine.packages.begun], [['Staged', 'Staged'], 0]);

  await using other = aNodeWithRepository();
  other.start();
  await order(other);
  assert.deepEqual([saysOf(other), other.machine.packages.begun], [['Refused', 'KernelMissing'], 0]);
});

test('a drained node does not wait for packages', async () => {
  await using node = aNodeWithRepository();
  node.start();
  for (const phase of ['Draining', 'Rebooting'] as const) {
    await order(node, { id: phase, phase, install });
    assert.deepEqual([saysOf(node), node.machine.packages.begun], [['Refused', 'KernelMissing'], 0], phase);
  }
});

test('an installation that fails is named, and begun again by the next order only', async () => {
  await using node = aNodeWithRepository();
  node.machine.packages.failures.push('E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 812 (unattended-upgr)');
  node.start();
  await order(node, { install });
  await node.machine.clock.sleep(600_000);
  assert.deepEqual([saysOf(node), node.machine.packages.begun, kinds(node)], [['Refused', 'PackagesLocked'], 1, []]);
  assert.match(reportOf(node)?.message ?? '', /process 812 \(unattended-upgr\).*journalctl -u kernelpatch-install\.service/);
  await order(node, { id: 'order-2', install });
  assert.deepEqual([saysOf(node), node.machine.packages.begun], [['Staged', 'Staged'], 2]);
});

test('a package that brings another kernel is named', async () => {
  await using node = aNodeWithRepository();
  node.machine.packages.known.set(PACKAGE, '6.12.999-other');
  node.start();
  await order(node, { install });
  assert.deepEqual(saysOf(node), ['Refused', 'PackageWithoutKernel']);
});

const OBSTACLES: Readonly<Record<string, { readonly arrange: (node: SimulatedNode) => void; readonly reason: string; readonly end: (node: SimulatedNode) => void }>> = {
  'a full disk': {
    arrange: ({ machine }) => machine.free.set('/boot', 1024),
    reason: 'DiskFull',
    end: ({ machine }) => machine.free.clear(),
  },
  'somebody who lets nobody shut the node down': {
    arrange: ({ machine }) => machine.set('/run/systemd/inhibit/1', INHIBITOR),
    reason: 'Inhibited',
    end: ({ machine }) => machine.files.delete('/run/systemd/inhibit/1'),
  },
  'a node without a package manager': {
    arrange: ({ machine }) => machine.files.delete('/usr/bin/apt-get'),
    reason: 'NoPackageManager',
    end: ({ machine }) => machine.set('/usr/bin/yum', ''),
  },
  'a systemd that begins nothing': {
    arrange: ({ machine }) => machine.packages.refusals.push('Failed to connect to bus: Connection refused\n'),
    reason: 'InstallNotBegun',
    end: () => undefined,
  },
  'a journal that can not be written': {
    arrange: ({ machine }) => {
      machine.disk.readOnly = [JOURNAL_PATH];
    },
    reason: 'JournalUnwritable',
    end: ({ machine }) => {
      machine.disk.readOnly = [];
    },
  },
};
for (const [what, { arrange, reason, end }] of Object.entries(OBSTACLES)) {
  test(`${what} is named before anything is installed, and looked at again`, async () => {
    await using node = aNodeWithRepository();
    arrange(node);
    node.start();
    await order(node, { install });
    assert.deepEqual([saysOf(node), node.machine.packages.begun, kinds(node)], [['Refused', reason], 0, []]);
    end(node);
    await node.until('it is staged', () => reportOf(node)?.state === 'Staged');
    assert.equal(node.machine.packages.begun, 1);
  });
}

test('what was in the way until the deadline of the order is not installed after it: nobody may want it any more', async () => {
  await using node = aNodeWithRepository();
  node.machine.set('/run/systemd/inhibit/1', INHIBITOR);
  node.start();
  const deadline = new Date(node.machine.clock.now().getTime() + 300_000).toISOString().replace(/\.\d+/, '');
  await order(node, { install, deadline });
  await node.machine.clock.sleep(301_000);
  node.machine.files.delete('/run/systemd/inhibit/1');
  await node.machine.clock.sleep(600_000);
  assert.deepEqual([saysOf(node), node.machine.packages.begun], [['Refused', 'InstallTooLate'], 0]);
  await order(node, { id: 'order-2', install });
  assert.deepEqual([saysOf(node), node.machine.packages.begun], [['Staged', 'Staged'], 1]);
});

test('an installation goes on when its order is given up, which is told, and the next order finds it', async () => {
  await using node = aNodeWithRepository();
  node.start();
  node.want([], { reboot: anOrder({ install }) });
  await node.until('it installs', () => node.machine.packages.isRunning);
  node.want([], { reboot: anOrder({ install, phase: 'Refused' }) });
  await node.machine.clock.sleep(INSTALL_MILLISECONDS * 0.4);
  assert.deepEqual(saysOf(node), ['Installing', 'Installing']);
  node.want([], { reboot: anOrder({ id: 'order-2', install }) });
  await node.machine.clock.sleep(INSTALL_MILLISECONDS * 0.4);
  assert.deepEqual([saysOf(node), reportOf(node)?.message], [['Installing', 'Installing'], 'the package manager of the node installs a kernel for an earlier order']);
  await node.settle();
  assert.deepEqual([saysOf(node), node.machine.packages.begun], [['Staged', 'Staged'], 1]);
});

test('an uninstall leaves a package manager at work alone, and no file behind', async () => {
  await using node = aNodeWithRepository();
  node.start();
  node.want([], { reboot: anOrder({ install }) });
  await node.until('it installs', () => node.machine.packages.isRunning);
  node.machine.stageByHand({ release: 'theirs', commandLine: '' });
  node.removed = true;
  await node.stop();
  assert.deepEqual([kinds(node), node.machine.packages.isRunning, node.machine.reboots.image?.release], [[], true, 'theirs']);
});
