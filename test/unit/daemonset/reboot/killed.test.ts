/** The agent is killed at each of its effects of a reboot in turn, and started again: the end is always the same. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { JOURNAL_PATH } from '../../../../daemonset/journal.ts';
import { ADVANCED_ID, advancedID } from '../../../simulated/boot.ts';
import { RELEASE } from '../../../simulated/module.ts';
import { aNode } from '../../../simulated/node.ts';
import type { SimulatedNode } from '../../../simulated/node.ts';
import { PACKAGE, TARGET, anOrder } from '../../../simulated/reboot.ts';

interface Scenario {
  /** The kernel is not installed, and a repository has its package. */
  readonly missing?: boolean;
  readonly arrange: (node: SimulatedNode) => Promise<void>;
  readonly isAtEnd: (node: SimulatedNode) => boolean;
  readonly assertEnd: (node: SimulatedNode) => void;
}

const isSaid = (state: string, id = 'order-1') => ({ object: { status, metadata } }: SimulatedNode) => status?.reboot?.state === state && status.reboot.id === id && status.observedGeneration === metadata.generation;
const isForgotten = ({ machine, object: { status, metadata } }: SimulatedNode): boolean => status?.observedGeneration === metadata.generation && status?.reboot === undefined && !machine.files.has(JOURNAL_PATH);

async function staged(node: SimulatedNode): Promise<void> {
  node.want([], { reboot: anOrder() });
  node.start();
  await node.settle();
  await node.stop();
}

function assertStaged({ machine }: SimulatedNode, id: string): void {
  assert.equal(machine.reboots.image?.release, TARGET);
  assert.match(machine.reboots.image?.commandLine ?? '', new RegExp(`^kernelpatch.reboot=${id} `));
  assert.equal(machine.reboots.goingInto, undefined);
}

const [DEFAULT, ENTRY] = [RELEASE, TARGET].map((release) => `${ADVANCED_ID}>${advancedID(release)}`) as [string, string];

function savesDefault({ machine: { grub } }: SimulatedNode): void {
  grub.update('saved');
  grub.set('saved_entry', DEFAULT);
}

function assertDefault({ machine: { grub }, object: { status } }: SimulatedNode, reason: string): void {
  assert.deepEqual([status?.reboot?.reason, status?.kernel.release, status?.nextBoot?.release], [reason, TARGET, TARGET]);
  assert.deepEqual([grub.variable('saved_entry'), grub.variable('next_entry')], [ENTRY, '']);
}

const SCENARIOS: Readonly<Record<string, Scenario>> = {
  'while it installs the kernel and stages it': {
    missing: true,
    async arrange(node) {
      node.want([], { reboot: anOrder({ install: { name: PACKAGE } }) });
    },
    isAtEnd: isSaid('Staged'),
    assertEnd(node) {
      assertStaged(node, 'order-1');
      assert.equal(node.machine.packages.begun, 1, 'installed once');
    },
  },
  'while the installation of the kernel fails': {
    missing: true,
    async arrange(node) {
      node.machine.packages.known.clear();
      node.want([], { reboot: anOrder({ install: { name: PACKAGE } }) });
    },
    isAtEnd: isSaid('Refused'),
    assertEnd({ machine, object }) {
      assert.equal(object.status?.reboot?.reason, 'PackageUnknown');
      assert.ok(machine.packages.begun <= 2, 'at most by each agent once');
      assert.equal(machine.files.has(JOURNAL_PATH), false);
    },
  },
  'while the kernel is installed for an order that is taken back': {
    missing: true,
    async arrange(node) {
      node.want([], { reboot: anOrder({ install: { name: PACKAGE } }) });
      node.start();
      await node.until('it installs', () => node.machine.packages.isRunning);
      await node.stop();
      node.want([]);
    },
    isAtEnd: isForgotten,
    assertEnd: ({ machine }) => assert.deepEqual([machine.reboots.image, machine.packages.begun], [undefined, 1]),
  },
  'while it stages': {
    async arrange(node) {
      node.want([], { reboot: anOrder() });
    },
    isAtEnd: isSaid('Staged'),
    assertEnd: (node) => assertStaged(node, 'order-1'),
  },
  'while it changes from one order to the next': {
    async arrange(node) {
      await staged(node);
      node.want([], { reboot: anOrder({ id: 'order-2' }) });
    },
    isAtEnd: isSaid('Staged', 'order-2'),
    assertEnd: (node) => assertStaged(node, 'order-2'),
  },
  'while it takes an order back': {
    async arrange(node) {
      await staged(node);
      node.want([]);
    },
    isAtEnd: isForgotten,
    assertEnd: ({ machine }) => assert.equal(machine.reboots.image, undefined),
  },
  'while it goes down by kexec': {
    async arrange(node) {
      node.want([], { reboot: anOrder({ phase: 'Rebooting' }) });
    },
    isAtEnd: isSaid('Proven'),
    assertEnd({ machine, object }) {
      assert.deepEqual([object.status?.kernel.release, object.status?.kernel.rebootID], [TARGET, 'order-1']);
      assert.ok(machine.count('systemctl kexec') <= 2, 'asked again at most once');
    },
  },
  'while it goes down by the firmware': {
    async arrange(node) {
      node.machine.reboots.byDefault = TARGET;
      node.want([], { reboot: anOrder({ method: 'Firmware', phase: 'Rebooting' }) });
    },
    isAtEnd: isSaid('Proven'),
    assertEnd: ({ machine }) => assert.ok(!machine.asked.includes('kexec -s -l') && machine.count('systemctl reboot') <= 2),
  },
  'while it makes the kernel that a kexec has started the default': {
    async arrange(node) {
      savesDefault(node);
      node.want([], { reboot: anOrder({ phase: 'Rebooting', setDefault: true }) });
    },
    isAtEnd: isSaid('Proven'),
    assertEnd: (node) => assertDefault(node, 'ByKexec'),
  },
  'while it goes down into a kernel that the boot loader starts once, and makes it the default': {
    async arrange(node) {
      savesDefault(node);
      node.want([], { reboot: anOrder({ method: 'Firmware', phase: 'Rebooting', setDefault: true }) });
    },
    isAtEnd: isSaid('Proven'),
    assertEnd: (node) => assertDefault(node, 'ByFirmware'),
  },
  'while the shutdown into a kernel that the boot loader starts once is stuck, and the order is given up': {
    async arrange(node) {
      savesDefault(node);
      node.machine.reboots.stuck = true;
      const order = anOrder({ method: 'Firmware', phase: 'Rebooting', setDefault: true });
      node.want([], { reboot: order });
      node.start();
      await node.until('it is told', () => node.object.status?.reboot?.state === 'GoingDown');
      await node.stop();
      assert.equal(node.machine.grub.variable('next_entry'), ENTRY);
      node.want([], { reboot: { ...order, phase: 'Failed' } });
    },
    isAtEnd: isSaid('Unstaged'),
    assertEnd: ({ machine: { grub } }) => assert.deepEqual([grub.variable('next_entry'), grub.variable('saved_entry')], ['', DEFAULT]),
  },
  'while its kexec fails': {
    async arrange(node) {
      node.machine.reboots.panics.add(TARGET);
      node.want([], { reboot: anOrder({ phase: 'Rebooting' }) });
    },
    isAtEnd: isSaid('CameBackByFirmware'),
    assertEnd: ({ object }) => assert.equal(object.status?.hardware?.kexecFailure?.id, 'order-1'),
  },
  'while systemd refuses': {
    async arrange(node) {
      node.machine.reboots.refusals.push('Call to RebootWithFlags failed: Access denied\n');
      node.want([], { reboot: anOrder({ phase: 'Rebooting' }) });
    },
    isAtEnd: isSaid('Proven'),
    assertEnd: ({ machine }) => assert.ok(machine.count('systemctl kexec') <= 3),
  },
  'while a shutdown is stuck and the order is given up': {
    async arrange(node) {
      node.machine.reboots.stuck = true;
      node.want([], { reboot: anOrder({ phase: 'Rebooting' }) });
      node.start();
      await node.until('it is told', () => node.object.status?.reboot?.state === 'GoingDown');
      await node.stop();
      node.want([], { reboot: anOrder({ phase: 'Failed' }) });
    },
    isAtEnd: isSaid('Unstaged'),
    assertEnd: ({ machine }) => assert.deepEqual([machine.reboots.image, machine.count('systemctl kexec')], [undefined, 1]),
  },
};

for (const [when, scenario] of Object.entries(SCENARIOS)) {
  test(`killed at each effect ${when}, the next agent comes to the same end`, async () => {
    let effect = 1;
    while (await endsWell(scenario, effect)) effect += 1;
    assert.ok(effect > 2, 'there were effects to be killed at');
  });
}

/** Returns whether the agent was killed: false when it has fewer effects. */
async function endsWell({ missing = false, arrange, isAtEnd, assertEnd }: Scenario, effect: number): Promise<boolean> {
  await using node = aNode();
  if (missing) node.machine.packages.known.set(PACKAGE, TARGET);
  else node.machine.installKernel(TARGET);
  await arrange(node);
  node.start(effect);
  const first = node.life;
  await node.until('the agent is dead or done', () => first.over || isAtEnd(node));
  const died = first.effects === effect && first.over;
  if (died) {
    await node.machine.clock.sleep(1000);
    node.start();
  }
  await node.until(`at the end after a kill at effect ${effect}`, () => isAtEnd(node));
  await node.machine.clock.sleep(60_000);
  assert.ok(isAtEnd(node), 'and it stays so');
  assertEnd(node);
  return died;
}
