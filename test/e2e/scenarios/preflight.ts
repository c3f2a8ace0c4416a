import assert from 'node:assert/strict';
import type { NodeKernel } from '../../../crds/nodekernel.ts';
import type { Machine } from '../../node/machine.ts';
import type { SubjectName } from '../../subjects/subjects.ts';
import type { Scenario } from '../scenario.ts';
import { AGENT_START, LOOK, MODULES, SOON, apply, assertHealthyKernel, effect, isCurrent, livePatch, loadByHand, patchOf, place, policy, untilNodes } from '../world.ts';
import type { World } from '../world.ts';

const TRACE = '/sys/kernel/tracing';
const JOURNAL_DIRECTORY = '/var/lib/misc';

export const preflight: Scenario = {
  name: 'preflight',
  title: 'whatever the kernel would refuse is found before it is asked, by name and with the offending thing; what passes is loaded once it has passed',
  async run(world) {
    const [first, second] = world.fleet.nodes;
    for (const node of world.fleet.nodes) await traceLoads(node);
    // A file system without room for the journal, there before the agent's pod that mounts it.
    await second.must(`mount -t tmpfs -o size=4m tmpfs ${JOURNAL_DIRECTORY} && { cat /dev/zero >${JOURNAL_DIRECTORY}/full 2>/dev/null || true; }`);

    await refuseFiles(world);
    for (const node of world.fleet.nodes) {
      assert.equal(await loads(node), 0, 'no system call that loads a module was made');
      assert.equal((await node.must('ls /sys/kernel/livepatch; grep kp_ /proc/modules || true')).trim(), '');
    }
    await refuseNodes(world, first, second);
    await failInKernel(world);
    await refuseUnsigned(world, first, second);
    for (const node of world.fleet.nodes) await assertHealthyKernel(node);
    world.say(await world.fleet.plane.mustKubectl(['get', 'kernelpatches,nodekernels', '-o', 'wide']));
  },
};

/** Live patches that no node can have, each with the reason and what its message must name. */
async function refuseFiles(world: World): Promise<void> {
  const digest = '0'.repeat(64);
  const other = world.subject('kp_second', world.fleet.image.kernels[1]);
  await Promise.all(world.fleet.nodes.map((node) => node.copyIn(other.file, `${MODULES}/kp_second.ko`)));
  const good = await place(world, 'kp_first');
  for (const node of world.fleet.nodes) await node.must(`head -c 2000 ${MODULES}/kp_first.ko >${MODULES}/kp_cut.ko`);
  const cut = (await world.fleet.nodes[0].must(`sha256sum ${MODULES}/kp_cut.ko`)).split(' ')[0];
  const rows: readonly (readonly [patch: { readonly name: string }, reason: string, offender: string])[] = [
    [{ ...good, sha256: digest }, 'DigestMismatch', good.sha256],
    [at('kp_gone', digest), 'FileMissing', `${MODULES}/kp_gone.ko`],
    [at('kp_cut', cut), 'NotAModule', `${MODULES}/kp_cut.ko`],
    [at('kp_second', other.sha256), 'WrongKernel', world.fleet.image.kernels[1]],
    [await place(world, 'kp_plain'), 'NotALivePatch', `${MODULES}/kp_plain.ko`],
    [await place(world, 'kp_missing'), 'FunctionMissing', 'kp_no_such_function'],
    [await place(world, 'kp_ambiguous'), 'FunctionAmbiguous', 's_show'],
    [await place(world, 'kp_untraceable'), 'FunctionNotTraceable', 'ktime_get_mono_fast_ns'],
  ];
  // replace: false, or the newest of them would be taken for the cumulative one that closes what the others close.
  const patches = rows.map(([patch]) => livePatch(world, patch.name.replace('_', '-'), { ...patch, replace: false }));
  await apply(world, ...patches, policy({ rollout: { maxInFlight: '100%', failureBudget: 10 } }));
  const reports = await untilNodes(world, 'every patch refused', AGENT_START, (node) => isCurrent(node) && node.status?.livePatches.length === rows.length && node.status.livePatches.every((patch) => patch.state === 'Refused'));
  for (const report of reports) for (const [{ name }, reason, offender] of rows) assertRefused(report, name, reason, offender);
  await world.fleet.plane.mustKubectl(['delete', 'kernelpatches', '--all']);
}

const at = (name: string, sha256: string | undefined) => ({ name, source: { hostPath: `${MODULES}/${name}.ko` }, sha256 });

/** A good live patch on nodes that can not take it, until they can. */
async function refuseNodes(world: World, first: Machine, second: Machine): Promise<void> {
  await loadByHand(world, first, 'kp_prober');
  await second.must('echo 0 >/proc/sys/kernel/ftrace_enabled');
  await apply(world, livePatch(world, 'first', await place(world, 'kp_first')));
  const reports = await untilNodes(world, 'a function in use and ftrace off', SOON, (node) => isCurrent(node) && node.status?.state === 'Refused');
  assertRefused(reports[0], 'kp_first', 'FunctionInUse', 'version_proc_show, and a kprobe of a kernel module');
  assertRefused(reports[1], 'kp_first', 'FtraceDisabled', 'sysctl kernel.ftrace_enabled=1');

  await first.must('rmmod kp_prober');
  await second.must('echo 1 >/proc/sys/kernel/ftrace_enabled');
  const later = await untilNodes(world, 'the function free, and no room for the journal', LOOK, ({ metadata, status }) =>
    metadata.name === first.options.name ? status?.state === 'Active' : patchOf(status, 'kp_first')?.reason === 'JournalUnwritable');
  assertRefused(later[1], 'kp_first', 'JournalUnwritable', 'ENOSPC');
  assert.equal(await loads(second), 0, 'what can not be journalled is not loaded');

  await second.must(`rm ${JOURNAL_DIRECTORY}/full`);
  await untilNodes(world, 'both nodes Active', LOOK, (node) => node.status?.state === 'Active');
  for (const node of world.fleet.nodes) assert.match(await effect(node), /closed by kp_first/);
  assert.equal(await loads(second), 1);
}

/** What only the kernel can tell: it refuses, and is as it was before. */
async function failInKernel(world: World): Promise<void> {
  const beside = async (name: SubjectName) => livePatch(world, name.replace('_', '-'), { ...(await place(world, name)), replace: false });
  await apply(world, await beside('kp_null'), await beside('kp_unlinked'));
  await untilNodes(world, 'refused by the kernel', SOON, (node) => failedWith(node, 'kp_null', 'PatchNotApplicable') && failedWith(node, 'kp_unlinked', 'UnknownSymbol'));
  for (const node of world.fleet.nodes) {
    assert.equal((await node.must('ls /sys/kernel/livepatch')).trim(), 'kp_first');
    assert.equal((await node.must("grep -cE 'kp_null|kp_unlinked' /proc/modules || true")).trim(), '0');
  }
  await world.fleet.plane.mustKubectl(['delete', 'kernelpatches', 'kp-null', 'kp-unlinked']);
}

function failedWith({ status }: NodeKernel, name: string, reason: string): boolean {
  const patch = patchOf(status, name);
  return patch?.state === 'Failed' && patch.reason === reason;
}

/** The kernel's own locks, which only a boot opens again. */
async function refuseUnsigned(world: World, first: Machine, second: Machine): Promise<void> {
  const before = await Promise.all(world.fleet.nodes.map(loads));
  await first.must('echo 1 >/sys/module/module/parameters/sig_enforce');
  await second.must('echo integrity >/sys/kernel/security/lockdown');
  await apply(world, livePatch(world, 'second', await place(world, 'kp_second')));
  const reports = await untilNodes(world, 'unsigned modules refused', SOON, (node) => isCurrent(node) && patchOf(node.status, 'kp_second')?.state === 'Refused');
  assertRefused(reports[0], 'kp_second', 'SignatureRequired', `${MODULES}/kp_second.ko`);
  assertRefused(reports[1], 'kp_second', 'LockedDown', 'integrity');
  assert.deepEqual(await Promise.all(world.fleet.nodes.map(loads)), before, 'the kernel was not asked');
}

function assertRefused(report: NodeKernel | undefined, name: string, reason: string, offender: string): void {
  const patch = patchOf(report?.status, name);
  assert.equal(patch?.reason, reason, JSON.stringify(patch));
  assert.equal(patch.state, 'Refused');
  assert.ok(patch.message.includes(offender), `${patch.message} names ${offender}`);
}

/** The kernel itself counts the system calls that load a module, whoever makes them. */
async function traceLoads(node: Machine): Promise<void> {
  await node.must(`mountpoint -q ${TRACE} || mount -t tracefs tracefs ${TRACE}; for call in init_module finit_module; do echo 1 >${TRACE}/events/syscalls/sys_enter_$call/enable; done; echo >${TRACE}/trace`);
}

/** How many system calls of the trace load a module, but for those of modprobe: CNI and iptables have the kernel fetch Debian's own modules. */
async function loads(node: Machine): Promise<number> {
  return Number((await node.must(`grep 'sys_f\\?init_module(' ${TRACE}/trace | grep -vc '^ *modprobe-' || true`)).trim());
}
