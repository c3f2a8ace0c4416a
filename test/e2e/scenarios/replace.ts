import assert from 'node:assert/strict';
import type { Machine } from '../../node/machine.ts';
import { waitFor } from '../../wait.ts';
import type { Scenario } from '../scenario.ts';
import { AGENT_START, LOOK, SOON, apply, assertHealthyKernel, assertTaintedByModulesOnly, effect, getKernelPatch, isCurrent, livePatch, loadByHand, patchOf, place, policy, timesEnabled, untilNodes } from '../world.ts';
import type { World } from '../world.ts';

const GAPS = '/run/gaps';

export const replace: Scenario = {
  name: 'replace',
  title: 'a newer cumulative live patch replaces the older one, and the older one the withdrawn newer one, without a moment unpatched or a module left; a module that comes later is patched',
  async run(world) {
    const { nodes } = world.fleet;
    const [first, second] = [await place(world, 'kp_first'), await place(world, 'kp_second')];
    await apply(world, livePatch(world, 'first', first), policy());
    await untilActive(world, 'kp_first', AGENT_START);
    for (const node of nodes) await watchForGaps(node);

    await apply(world, livePatch(world, 'second', second));
    await untilActive(world, 'kp_second', SOON);
    await untilClosed(world, 'first', 'second');

    await apply(world, livePatch(world, 'second', second, { withdrawn: true }));
    await untilActive(world, 'kp_first', SOON);
    for (const node of nodes) {
      assert.equal(await timesEnabled(node, 'kp_first'), 2, 'a replaced module is loaded anew');
      assert.doesNotMatch(await node.must('dmesg'), /starting unpatching transition/, 'each was replaced, none disabled');
    }

    await comeLater(world);
    for (const node of nodes) {
      assert.equal(await node.must(`cat ${GAPS}`), '', '/proc/version showed a live patch whenever it was read');
      await assertHealthyKernel(node);
      await assertTaintedByModulesOnly(node);
    }
    world.say(await world.fleet.plane.mustKubectl(['get', 'kernelpatches,nodekernels', '-o', 'wide']));
  },
};

/** It is the only live patch, and the only module of the test's. */
async function untilActive(world: World, name: string, seconds: number): Promise<void> {
  await untilNodes(world, `only ${name} Active`, seconds, ({ metadata, spec, status }) => isCurrent({ metadata, spec, ...(status && { status }) }) && status?.livePatches.length === 1 && patchOf(status, name)?.state === 'Active');
  for (const node of world.fleet.nodes) {
    assert.match(await effect(node), new RegExp(`closed by ${name}`));
    assert.equal((await node.must('ls /sys/kernel/livepatch; grep -o "^kp_[a-z]*" /proc/modules')).trim(), `${name}\n${name}`);
  }
}

async function untilClosed(world: World, ...names: readonly string[]): Promise<void> {
  for (const name of names) await waitFor(`KernelPatch ${name} to count both nodes as closed`, { seconds: SOON }, async () => (await getKernelPatch(world, name)).status?.closed === '2/2' || undefined);
}

/** Every read of /proc/version without a live patch leaves a line from now on. */
async function watchForGaps(node: Machine): Promise<void> {
  await node.must(`: >${GAPS}; (setsid sh -c 'while :; do read -r line </proc/version; case $line in *"closed by"*) ;; *) cat /proc/uptime >>${GAPS} ;; esac; sleep 0.05; done' >/dev/null 2>&1 &)`);
}

/** kp_held patches a function of kp_sleeper, too, which is not loaded before the patch is. */
async function comeLater(world: World): Promise<void> {
  await apply(world, livePatch(world, 'third', await place(world, 'kp_held')));
  await untilActive(world, 'kp_held', SOON);
  for (const node of world.fleet.nodes) await loadByHand(world, node, 'kp_sleeper');
  await untilNodes(world, 'the module that came later reported as patched', LOOK, ({ status }) => patchOf(status, 'kp_held')?.functions?.includes('kp_sleeper:kp_sleeper_wait') ?? false);
  for (const node of world.fleet.nodes) {
    assert.equal((await node.must('cat /sys/kernel/livepatch/kp_held/kp_sleeper/patched')).trim(), '1');
    assert.equal(await node.must('timeout 5 cat /proc/kp_sleeper'), '', 'the patched function does not sleep');
    await node.must('rmmod kp_sleeper');
  }
  const reports = await untilNodes(world, 'the module reported as gone again', LOOK, ({ status }) => patchOf(status, 'kp_held')?.functions?.length === 1);
  for (const { status } of reports) {
    assert.equal(patchOf(status, 'kp_held')?.state, 'Active');
    assert.match(patchOf(status, 'kp_held')?.message ?? '', /those of kp_sleeper follow when that module is loaded/);
  }
}
