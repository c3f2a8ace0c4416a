import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { parsePodUID, parseStack } from '../../../kernel/process.ts';

const UID = '5f3c1f1e-8a53-4b1e-9c46-2f4de1c1a001';
const UNDERSCORED = UID.replaceAll('-', '_');

const CGROUPS: Readonly<Record<string, readonly [string, string | undefined]>> = {
  'cgroup v2 with systemd': [`0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod${UNDERSCORED}.slice/cri-containerd-0a.scope`, UID],
  'a guaranteed pod with systemd': [`0::/kubepods.slice/kubepods-pod${UNDERSCORED}.slice/crio-0a.scope`, UID],
  'cgroup v2 with cgroupfs': [`0::/kubepods/besteffort/pod${UID}/0a1b`, UID],
  'cgroup v1': [`12:pids:/system.slice/containerd.service\n4:memory:/kubepods/pod${UID}/0a1b`, UID],
  'a service of the node': ['0::/system.slice/ssh.service', undefined],
  'the kernel': ['0::/', undefined],
};

for (const [what, [cgroup, uid]] of Object.entries(CGROUPS)) test(`${what}: ${uid === undefined ? 'no pod' : 'its pod'}`, () => assert.equal(parsePodUID(cgroup), uid));

test('a stack is its functions, innermost first, without offsets', () => {
  assert.deepEqual(parseStack('[<0>] kp_sleeper_wait+0x5b/0x90 [kp_sleeper]\n[<0>] proc_reg_read+0x5a/0xa0\n[<0>] vfs_read+0xb5/0x370\n', 2), ['kp_sleeper_wait', 'proc_reg_read']);
  assert.deepEqual(parseStack('', 5), []);
});

test('whatever a process shows of itself, reading it never throws', () => {
  fc.assert(fc.property(fc.string(), fc.string(), (cgroup, stack) => (parsePodUID(cgroup)?.length ?? 36) === 36 && parseStack(stack, 5).length <= 5), { numRuns: 10_000 });
});
