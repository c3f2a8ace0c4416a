/** The power fails at each effect of a reboot in turn, and of a write under way each thing is left that can be left: the node is never taken down twice for one order. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RebootOrder } from '../../../../crds/nodekernel.ts';
import { JOURNAL_PATH } from '../../../../daemonset/journal.ts';
import { isReboot, parseJournal } from '../../../../kernel/journal.ts';
import { ADVANCED_ID, advancedID } from '../../../simulated/boot.ts';
import { WRITE_FATES } from '../../../simulated/disk.ts';
import type { WriteFate } from '../../../simulated/disk.ts';
import type { SimulatedMachine } from '../../../simulated/host.ts';
import { RELEASE } from '../../../simulated/module.ts';
import { aNode } from '../../../simulated/node.ts';
import type { SimulatedNode } from '../../../simulated/node.ts';
import { PACKAGE, TARGET, anOrder } from '../../../simulated/reboot.ts';

const ORDERS: Readonly<Record<string, RebootOrder>> = {
  'a node that is staged': anOrder(),
  'a node that installs the kernel': anOrder({ install: { name: PACKAGE } }),
  'a node that goes down by kexec': anOrder({ phase: 'Rebooting' }),
  'a node that goes down by the firmware': anOrder({ phase: 'Rebooting', method: 'Firmware' }),
  'a node whose boot loader is to start the kernel once': anOrder({ phase: 'Rebooting', method: 'Firmware', setDefault: true }),
};

const recordOf = ({ machine }: SimulatedNode) => parseJournal(machine.files.get(JOURNAL_PATH) ?? Buffer.alloc(0)).records.findLast(isReboot);
const timesTold = ({ machine }: SimulatedNode): number => machine.asked.filter((line) => line.startsWith('systemctl')).length;

for (const [what, order] of Object.entries(ORDERS)) {
  for (const fate of WRITE_FATES) {
    test(`the power fails at each effect of ${what}, a write under way is ${fate}: what is reported is what the journal has, and nothing is done again`, async () => {
      let effect = 1;
      while (await endsWell(order, fate, effect)) effect += 1;
      assert.ok(effect > 3, 'there were effects to fail at');
    });
  }
}

/** The boot loader starts the kernel that runs, as its grubenv says. */
function prepareKernels(machine: SimulatedMachine, order: RebootOrder): void {
  machine.packages.known.set(PACKAGE, TARGET);
  if (order.install === undefined) machine.installKernel(TARGET);
  machine.grub.update('saved');
  machine.grub.set('saved_entry', `${ADVANCED_ID}>${advancedID(RELEASE)}`);
}

/** Returns whether the power failed: false when the agent has fewer effects. */
async function endsWell(order: RebootOrder, fate: WriteFate, effect: number): Promise<boolean> {
  await using node = aNode();
  prepareKernels(node.machine, order);
  node.want([], { reboot: order });
  node.start(effect);
  const first = node.life;
  await node.until('the agent is dead or done', () => first.over || node.object.status?.reboot?.state === 'Staged');
  if (first.effects !== effect) return false;
  if (fate !== 'kept' && !node.machine.disk.isWriting) return true;

  const told = timesTold(node);
  const isOnce = node.machine.grub.variable('next_entry') !== '';
  node.cutPower(fate);
  const record = recordOf(node);
  const wasToBoot = record?.kind === 'GoingDown';
  assert.ok(wasToBoot || (told === 0 && !isOnce), `at effect ${effect} the node or its boot loader was told, and the journal did not know`);

  node.start();
  const says = isOnce ? 'Proven' : failureOf(order, wasToBoot);
  await node.until(`${says} after the power failed at effect ${effect}`, () => node.object.status?.reboot?.state === says);
  await node.machine.clock.sleep(600_000);
  assert.deepEqual([node.object.status?.reboot?.state, timesTold(node), node.machine.reboots.image, node.object.status?.kernel.release], [says, told, undefined, isOnce ? TARGET : RELEASE]);
  assert.equal(node.machine.files.has(JOURNAL_PATH), false, 'nothing of it is left on the node');
  return true;
}

/** The boot loader starts the kernel that ran before. */
function failureOf({ method }: RebootOrder, wasTold: boolean): string {
  if (!wasTold) return 'OtherBoot';
  return method === 'Kexec' ? 'CameBackByFirmware' : 'WrongKernel';
}

test('power that fails while the new kernel boots brings the firmware back, and is said as that', async () => {
  await using node = aNode();
  node.machine.installKernel(TARGET);
  node.want([], { reboot: anOrder({ phase: 'Rebooting' }) });
  node.start();
  await node.until('the new kernel boots', () => node.machine.files.get('/proc/cmdline')?.includes('order-1') === true);
  node.cutPower();
  node.start();
  await node.until('it is said', () => node.object.status?.reboot?.state === 'CameBackByFirmware');
  assert.equal(node.object.status?.kernel.release, RELEASE);
});
