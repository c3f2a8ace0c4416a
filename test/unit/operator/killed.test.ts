/** The leader is killed before and after each of its writes in turn, and its successor knows nothing: the end is always the same. */
import assert from 'node:assert/strict';
import { RELEASE, aKernelPatch, aLivePatch, aPolicy } from './builders.ts';
import { FOREIGN } from './machine.ts';
import { tellAll } from './story.ts';

const NODES = ['n0', 'n1', 'n2'] as const;

const aPatch = () =>
  aKernelPatch({ name: 'fix', kernels: [{ release: RELEASE, state: 'Affected', livePatch: aLivePatch({ name: 'livepatch_fix', replace: false }) }] });

tellAll({
  'a rollout, node by node': {
    nodes: [{}, {}, {}],
    async tell(cluster) {
      cluster.world.putPolicy(aPolicy({ rollout: { maxInFlight: '1', failureBudget: 1 } }));
      cluster.world.putKernelPatch(aPatch());
      await cluster.run({ passes: 40 });
    },
    assertEnd(cluster) {
      for (const name of NODES) assert.deepEqual(cluster.loaded(name), [FOREIGN, 'livepatch_fix']);
      assert.equal(cluster.world.kernelPatches.get('fix')?.status?.closed, '3/3');
      assert.deepEqual(cluster.world.policies.get('workers')?.status?.slots, []);
    },
  },
  'a withdrawal and the removal of the policy': {
    nodes: [{}, {}, {}],
    async tell(cluster) {
      cluster.world.putPolicy(aPolicy({ rollout: { maxInFlight: '100%', failureBudget: 1 } }));
      cluster.world.putKernelPatch(aPatch());
      await cluster.run({ passes: 40 });
      const { spec, ...stored } = cluster.world.kernelPatches.get('fix') ?? aPatch();
      cluster.world.putKernelPatch({ ...stored, spec: { ...spec, withdrawn: true } });
      await cluster.run({ passes: 40 });
      cluster.world.policies.clear();
      await cluster.run({ passes: 40 });
    },
    assertEnd(cluster) {
      for (const name of NODES) assert.deepEqual(cluster.loaded(name), [FOREIGN]);
      assert.deepEqual([...cluster.world.nodeKernels.keys()], []);
    },
  },
  'a file that takes its first node down': {
    nodes: [{ nature: 'Quarantines' }, {}, {}],
    async tell(cluster) {
      cluster.world.putPolicy(aPolicy({ rollout: { maxInFlight: '1', failureBudget: 3 } }));
      await cluster.run({ passes: 40 });
      cluster.world.putKernelPatch(aPatch());
      await cluster.run({ passes: 40 });
    },
    assertEnd(cluster) {
      for (const name of NODES) assert.deepEqual(cluster.loaded(name), [FOREIGN], 'it is started nowhere else');
      const { nodes } = cluster.world.kernelPatches.get('fix')?.status ?? {};
      assert.deepEqual([nodes?.failed, nodes?.blocked], [1, 2]);
    },
  },
});
