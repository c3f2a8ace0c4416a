/** As killed.test.ts, for reboots: from making the kernel ready over cordon, drain and boot to the uncordon. */
import assert from 'node:assert/strict';
import { FIXED_RELEASE, RELEASE, aKernelPatch, aPolicy } from './builders.ts';
import { tellAll } from './story.ts';
import type { Cluster } from './story.ts';

const PATCH = aKernelPatch({ name: 'fix', kernels: [{ release: RELEASE, state: 'Affected', rebootInto: FIXED_RELEASE }, { release: FIXED_RELEASE, state: 'Fixed' }] });

const WITH_PACKAGE = aKernelPatch({ name: 'fix', kernels: [{ release: RELEASE, state: 'Affected', rebootInto: FIXED_RELEASE, package: { name: 'linux-image-fixed' } }, { release: FIXED_RELEASE, state: 'Fixed' }] });

function begin({ world }: Cluster, policy: object = {}): void {
  world.putPolicy(aPolicy({ maxDisruption: 'Kexec', ...policy }));
  world.putKernelPatch(PATCH);
}

/** By node: the kernel it runs, the phase of its order, and whose cordon it has. */
function standing({ world }: Cluster): readonly string[] {
  return [...world.places.keys()].map((name) => {
    const { unschedulable, cordonedFor } = world.node(name);
    const cordon = unschedulable ? (cordonedFor === undefined ? ' foreign cordon' : ' our cordon') : '';
    return `${world.machine(name).release === FIXED_RELEASE ? 'fixed' : 'open'} ${world.order(name)?.phase ?? '-'}${cordon}`;
  });
}

const slotsOf = ({ world }: Cluster) => world.policies.get('workers')?.status?.rebootSlots ?? [];
const closed = ({ world }: Cluster) => world.kernelPatches.get('fix')?.status?.closed;
const boots = ({ world }: Cluster) => [...world.places.values()].map(({ machine }) => machine.wentDown);

tellAll({
  'kexecs, node by node': {
    nodes: [{ pods: 'Moves' }, {}],
    async tell(cluster) {
      begin(cluster);
      await cluster.run({ passes: 45 });
    },
    assertEnd(cluster) {
      assert.deepEqual([standing(cluster), boots(cluster), closed(cluster), slotsOf(cluster)], [['fixed -', 'fixed -'], [1, 1], '2/2', []]);
    },
  },
  'installations of the kernel, of which one does not come to it and is asked again': {
    nodes: [{ package: 'Installs', pods: 'Moves' }, { package: 'Unknown' }],
    async tell(cluster) {
      cluster.world.putPolicy(aPolicy({ maxDisruption: 'Kexec', reboot: { install: 'Package' } }));
      cluster.world.putKernelPatch(WITH_PACKAGE);
      await cluster.run({ passes: 40 });
      await cluster.run({ passes: 1, seconds: 600 });
      await cluster.run({ passes: 10 });
    },
    assertEnd(cluster) {
      assert.deepEqual([standing(cluster), boots(cluster), closed(cluster), slotsOf(cluster)], [['fixed -', 'open Refused'], [1, 0], '1/2', []]);
      assert.equal(cluster.world.order('n1')?.reason, 'PackageUnknown');
    },
  },
  'kexecs that are refused, with the firmware in their place': {
    nodes: [{ boot: 'RefusesKexec', byDefault: FIXED_RELEASE, pods: 'Moves' }, { boot: 'RefusesKexec' }],
    async tell(cluster) {
      begin(cluster, { maxDisruption: 'Reboot' });
      await cluster.run({ passes: 35 });
    },
    assertEnd(cluster) {
      assert.deepEqual([standing(cluster), boots(cluster), closed(cluster), slotsOf(cluster)], [['fixed -', 'open Refused'], [1, 0], '1/2', []]);
    },
  },
  'boots by kexec and by the firmware of nodes that start the old kernel by default, until they start the fixed one': {
    nodes: [{ pods: 'Moves' }, { boot: 'RefusesKexec' }],
    async tell(cluster) {
      begin(cluster, { maxDisruption: 'Reboot', reboot: { setDefault: true } });
      await cluster.run({ passes: 50 });
    },
    assertEnd(cluster) {
      const defaults = [...cluster.world.places.values()].map(({ machine }) => machine.byDefault);
      assert.deepEqual([standing(cluster), boots(cluster), defaults, closed(cluster), slotsOf(cluster)], [['fixed -', 'fixed -'], [1, 1], [FIXED_RELEASE, FIXED_RELEASE], '2/2', []]);
    },
  },
  'a kexec that comes back by the firmware, at which the rollout halts until a person asks for another try': {
    nodes: [{ boot: 'ComesBackByFirmware', pods: 'Moves' }, {}],
    async tell(cluster) {
      begin(cluster);
      await cluster.run({ passes: 25 });
      assert.deepEqual([standing(cluster), boots(cluster)], [['open Failed', 'open -'], [1, 0]]);
      await cluster.run({ passes: 5, seconds: 600 });
      cluster.world.putKernelPatch({ ...PATCH, spec: { ...PATCH.spec, retryReboot: 'ticket-1' } });
      await cluster.run({ passes: 25 });
    },
    assertEnd(cluster) {
      assert.deepEqual([standing(cluster), boots(cluster), slotsOf(cluster)], [['open Failed', 'open -'], [2, 0], []]);
      assert.match(cluster.world.kernelPatches.get('fix')?.status?.attention?.map(({ verdict, message }) => `${verdict}: ${message}`).join() ?? '', /^Failed: the kexec .* did not come to a kernel that runs.*retryReboot of KernelPatch fix.*,Waiting: the reboot failed on n0/);
    },
  },
  'a node that never returns and one that is not Ready again, the others going on as the budget lets them': {
    nodes: [{ boot: 'NeverReturns' }, { boot: 'StaysNotReady' }, {}],
    async tell(cluster) {
      begin(cluster, { rollout: { failureBudget: 3 } });
      await cluster.run({ passes: 65, seconds: 40 });
    },
    assertEnd(cluster) {
      assert.deepEqual([standing(cluster), boots(cluster), slotsOf(cluster)], [['open Failed', 'fixed Failed', 'fixed -'], [1, 1, 1], []]);
    },
  },
  'drains that do not end, until they do': {
    nodes: [{ pods: 'Blocked' }, { pods: 'Hangs' }],
    async tell(cluster) {
      begin(cluster);
      await cluster.run({ passes: 25, seconds: 60 });
      assert.deepEqual(boots(cluster), [0, 0]);
      for (const name of ['n0', 'n1']) cluster.world.relent(name);
      await cluster.run({ passes: 35, seconds: 40 });
    },
    assertEnd(cluster) {
      assert.deepEqual([standing(cluster), boots(cluster)], [['fixed -', 'fixed -'], [1, 1]]);
    },
  },
  'the cordon of a person': {
    nodes: [{ pods: 'Moves' }],
    async tell(cluster) {
      cluster.world.cordon('n0');
      begin(cluster);
      await cluster.run({ passes: 40 });
    },
    assertEnd(cluster) {
      assert.deepEqual([standing(cluster), boots(cluster)], [['fixed - foreign cordon'], [1]]);
    },
  },
  'the withdrawal of consent while a node is drained': {
    nodes: [{ pods: 'Hangs' }, {}],
    async tell(cluster) {
      begin(cluster);
      await cluster.run({ passes: 12 });
      assert.equal(cluster.world.order('n0')?.phase, 'Draining');
      begin(cluster, { mode: 'Plan' });
      await cluster.run({ passes: 10 });
    },
    assertEnd(cluster) {
      assert.deepEqual([standing(cluster), boots(cluster), slotsOf(cluster)], [['open -', 'open -'], [0, 0], []]);
    },
  },
  'the removal of the policy while a node is drained': {
    nodes: [{ pods: 'Hangs' }, {}],
    async tell(cluster) {
      begin(cluster);
      await cluster.run({ passes: 12 });
      cluster.world.policies.clear();
      await cluster.run({ passes: 10 });
    },
    assertEnd(cluster) {
      assert.deepEqual([standing(cluster), boots(cluster), [...cluster.world.nodeKernels.keys()]], [['open -', 'open -'], [0, 0], []]);
    },
  },
});
