import assert from 'node:assert/strict';
import type { Scenario } from '../scenario.ts';
import { AGENT_START, MODULES, apply, assertHealthyKernel, isCurrent, livePatch, patchOf, place, policy, untilNodes } from '../world.ts';

const TRACE = '/sys/kernel/tracing';

export const refused: Scenario = {
  name: 'refused',
  title: 'a wrong digest, a missing file, a module for another kernel and one that is no live patch are refused by name, and the kernel is never asked',
  async run(world) {
    const [first] = world.fleet.nodes;
    const good = await place(world, 'kp_first');
    const plain = await place(world, 'kp_plain');
    const other = world.subject('kp_second', world.fleet.image.kernels[1]);
    await Promise.all(world.fleet.nodes.map((node) => node.copyIn(other.file, `${MODULES}/kp_second.ko`)));
    // The kernel itself counts the system calls that load a module, whoever makes them.
    for (const node of world.fleet.nodes) {
      await node.must(`mountpoint -q ${TRACE} || mount -t tracefs tracefs ${TRACE}; for call in init_module finit_module; do echo 1 >${TRACE}/events/syscalls/sys_enter_$call/enable; done; echo >${TRACE}/trace`);
    }
    assert.equal(await loads(first), 0);

    const wrong = '0'.repeat(64);
    await apply(
      world,
      livePatch(world, 'wrong-digest', { ...good, sha256: wrong }),
      livePatch(world, 'missing-file', { name: 'kp_gone', source: { hostPath: `${MODULES}/kp_gone.ko` }, sha256: wrong }),
      livePatch(world, 'wrong-kernel', { name: 'kp_second', source: { hostPath: `${MODULES}/kp_second.ko` }, sha256: other.sha256 }),
      livePatch(world, 'not-a-live-patch', plain),
      policy(),
    );
    const reports = await untilNodes(world, 'every patch refused', AGENT_START, (node) => isCurrent(node) && node.status?.livePatches.length === 4 && node.status.livePatches.every((patch) => patch.state === 'Refused'));
    for (const { status } of reports) {
      assert.equal(patchOf(status, 'kp_first')?.reason, 'DigestMismatch');
      assert.match(patchOf(status, 'kp_first')?.message ?? '', new RegExp(good.sha256), 'the digest that was found is named');
      assert.equal(patchOf(status, 'kp_gone')?.reason, 'FileMissing');
      assert.match(patchOf(status, 'kp_gone')?.message ?? '', /kp_gone\.ko/);
      assert.equal(patchOf(status, 'kp_second')?.reason, 'WrongKernel');
      assert.match(patchOf(status, 'kp_second')?.message ?? '', new RegExp(world.fleet.image.kernels[1].replaceAll('+', String.raw`\+`)));
      assert.equal(patchOf(status, 'kp_plain')?.reason, 'NotALivePatch');
      assert.equal(status?.state, 'Refused');
    }
    for (const node of world.fleet.nodes) {
      assert.equal(await loads(node), 0, 'no system call that loads a module was made');
      assert.equal((await node.must('ls /sys/kernel/livepatch; grep kp_ /proc/modules || true')).trim(), '');
      await assertHealthyKernel(node);
    }
    // The trace must be able to see a load: the one thing it exists for.
    await first.must(`insmod ${MODULES}/kp_plain.ko && rmmod kp_plain`);
    assert.ok((await loads(first)) > 0, 'the trace sees a load that is made by hand');
    world.say(await world.fleet.plane.mustKubectl(['get', 'kernelpatches,nodekernels', '-o', 'wide']));
  },
};

async function loads(node: { must(script: string): Promise<string> }): Promise<number> {
  return Number((await node.must(`grep -c 'sys_f\\?init_module(' ${TRACE}/trace || true`)).trim());
}
