import assert from 'node:assert/strict';
import type { NodeKernelStatus } from '../../../crds/nodekernel.ts';
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
    // replace: false, or the newest of them would be taken for the cumulative one that closes what the others close.
    const beside = (name: string, patch: object) => livePatch(world, name, { ...patch, replace: false });
    await apply(
      world,
      beside('wrong-digest', { ...good, sha256: wrong }),
      beside('missing-file', { name: 'kp_gone', source: { hostPath: `${MODULES}/kp_gone.ko` }, sha256: wrong }),
      beside('wrong-kernel', { name: 'kp_second', source: { hostPath: `${MODULES}/kp_second.ko` }, sha256: other.sha256 }),
      beside('not-a-live-patch', plain),
      policy(),
    );
    const reports = await untilNodes(world, 'every patch refused', AGENT_START, (node) => isCurrent(node) && node.status?.livePatches.length === 4 && node.status.livePatches.every((patch) => patch.state === 'Refused'));
    for (const { status } of reports) {
      assert.equal(status?.state, 'Refused');
      // Each with the offending thing in its message.
      assertRefused(status, 'kp_first', 'DigestMismatch', good.sha256);
      assertRefused(status, 'kp_gone', 'FileMissing', `${MODULES}/kp_gone.ko`);
      assertRefused(status, 'kp_second', 'WrongKernel', world.fleet.image.kernels[1]);
      assertRefused(status, 'kp_plain', 'NotALivePatch', `${MODULES}/kp_plain.ko`);
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

function assertRefused(status: NodeKernelStatus | undefined, name: string, reason: string, offender: string): void {
  const patch = patchOf(status, name);
  assert.equal(patch?.reason, reason);
  assert.ok(patch.message.includes(offender), `${patch.message} names ${offender}`);
}

/** How many system calls of the trace load a module, but for those of modprobe: CNI and iptables have the kernel fetch Debian's own modules. */
async function loads(node: { must(script: string): Promise<string> }): Promise<number> {
  return Number((await node.must(`grep 'sys_f\\?init_module(' ${TRACE}/trace | grep -vc '^ *modprobe-' || true`)).trim());
}
