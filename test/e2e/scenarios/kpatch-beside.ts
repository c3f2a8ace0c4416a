import assert from 'node:assert/strict';
import type { NodeKernel } from '../../../crds/nodekernel.ts';
import type { Machine } from '../../node/machine.ts';
import type { SubjectName } from '../../subjects/subjects.ts';
import type { Scenario } from '../scenario.ts';
import { AGENT_START, LOOK, SOON, apply, assertHealthyKernel, assertTaintedByModulesOnly, effect, isCurrent, livePatch, patchOf, place, policy, runningRelease, timesEnabled, untilNode } from '../world.ts';
import type { World } from '../world.ts';


export const kpatchBeside: Scenario = {
  name: 'kpatch-beside',
  title: "a live patch loaded with Debian's kpatch is seen and never touched: ours load beside it, what would disable or hide it is refused by name, and loads once it is gone",
  async run(world) {
    const [first, second] = world.fleet.nodes;
    await installKpatch(first);
    for (const name of ['kp_foreign', 'kp_second'] as const) await install(world, first, name);
    await first.must('kpatch load kp_foreign');
    const module = await moduleLine(first);

    await apply(world, await ours(world, 'beside', 'kp_beside', false), await ours(world, 'cumulative', 'kp_first', true), await ours(world, 'over', 'kp_over', false), policy());
    const seen = await untilNode(world, { name: first.options.name, what: 'what can be loaded to be Active', seconds: AGENT_START }, (node) => isCurrent(node) && patchOf(node.status, 'kp_beside')?.state === 'Active' && patchOf(node.status, 'kp_over')?.state === 'Refused');
    assertBeside(seen);
    assert.match(await effect(first), /closed by kp_foreign/);
    assert.match(await first.must('cat /proc/execdomains'), /closed by kp_beside/);
    await untilNode(world, { name: second.options.name, what: 'all of ours Active', seconds: SOON }, hasAll);
    assert.match(await effect(second), /closed by kp_over/);

    assert.equal(await moduleLine(first), module, 'the same module, at the same place and with the same holders');
    assert.equal((await first.must('cat /sys/kernel/livepatch/kp_foreign/enabled')).trim(), '1');
    assert.equal(await timesEnabled(first, 'kp_foreign'), 1);
    assert.equal(await timesEnabled(first, 'kp_first'), 0, 'the kernel was not asked');
    assert.doesNotMatch(await first.must('dmesg'), /starting unpatching transition/);

    await first.must('kpatch unload kp_foreign');
    await untilNode(world, { name: first.options.name, what: 'all of ours Active once the other is gone', seconds: LOOK }, hasAll);
    assert.match(await effect(first), /closed by kp_over/);
    for (const node of world.fleet.nodes) {
      await assertHealthyKernel(node);
      await assertTaintedByModulesOnly(node);
    }
    world.say(await world.fleet.plane.mustKubectl(['get', 'kernelpatches,nodekernels', '-o', 'wide']));
  },
};

const hasAll = ({ status }: NodeKernel) => ['kp_first', 'kp_beside', 'kp_over'].every((name) => patchOf(status, name)?.state === 'Active');

function assertBeside({ spec, status }: NodeKernel): void {
  const directory = `/var/lib/kpatch/${status?.kernel.release}`;
  assertSaid(patchOf(status, 'kp_foreign'), { origin: 'Foreign', state: 'Active', reason: 'Foreign' }, `loaded by the kpatch utility, which has it in ${directory}`);
  assertSaid(patchOf(status, 'kp_second'), { origin: 'Foreign', state: 'Installed', reason: 'InstalledByKpatch' }, 'kpatch.service loads it at the next boot');
  assertSaid(patchOf(status, 'kp_over'), { origin: 'KernelPatch', state: 'Refused', reason: 'WouldHideForeign' }, 'vmlinux:version_proc_show, as kp_foreign does');
  assertSaid(spec.plan?.patches.find(({ kernelPatch }) => kernelPatch === 'cumulative'), { action: 'Blocked', reason: 'WouldReplaceForeign' }, 'kp_first is cumulative, and loading it would disable kp_foreign');
}

function assertSaid(said: (object & { readonly message: string }) | undefined, expected: object, words: string): void {
  assert.partialDeepStrictEqual(said, expected);
  assert.ok(said?.message.includes(words), `${said?.message} has: ${words}`);
}

/** Each closes another CVE, or a cumulative one would make those beside it needless. */
async function ours(world: World, name: string, subject: SubjectName, replace: boolean): Promise<object> {
  const cve = { beside: 'CVE-2026-1000', cumulative: 'CVE-2026-1001' }[name] ?? 'CVE-2026-1002';
  return livePatch(world, name, { ...(await place(world, subject)), replace }, { cves: [{ id: cve }] });
}

/** The utility is part of the node's image, but for readelf, which it asks for a module's name only. */
async function installKpatch(node: Machine): Promise<void> {
  const readelf = '/usr/local/bin/readelf';
  await node.must(`printf '#!/bin/sh\\nprintf "  [ 18]  %%s\\\\n" "$(modinfo -F name "$3")"\\n' >${readelf} && chmod 755 ${readelf}`);
}

async function install(world: World, node: Machine, name: SubjectName): Promise<void> {
  await node.copyIn(world.subject(name, runningRelease(world)).file, `/run/${name}.ko`);
  await node.must(`kpatch install /run/${name}.ko`);
}

/** Size, references, holders, state and address. */
const moduleLine = (node: Machine) => node.must('grep "^kp_foreign " /proc/modules');
