import assert from 'node:assert/strict';
import { registerAnew } from '../../fleet/fleet.ts';
import { NAMESPACE } from '../../fleet/product.ts';
import { waitFor } from '../../wait.ts';
import { leaderOf, nodeOf } from '../operators.ts';
import { LETTING_BARE_PODS_GO, fixedByReboot, holdDrain, inService, letDrain, untilCordonedFor, untilGoingDown } from '../reboot.ts';
import type { Scenario } from '../scenario.ts';
import { AGENT_START, BOOT, SOON, apply, assertHealthyKernel, flush, getKernelPatch, getNodeKernels, getPolicy, policy, runningRelease, untilNode } from '../world.ts';
import type { World } from '../world.ts';

/** Seconds that a node has to come back, and how long that takes to be seen. */
const TIMEOUT = 60;

export const neverReturns: Scenario = {
  name: 'never-returns',
  title: '[never-returns] a node that does not come back from its kexec is Failed and gives its slot back, and no other is begun; powered on later it serves with the kernel that it has. [node-deleted] while it is drained: nothing of ours is left on it, others go on, and registered anew it is a new node',
  async run(world) {
    const { nodes, plane } = world.fleet;
    const home = await nodeOf(world, await leaderOf(world));
    const [node, other] = nodes[0] === home ? [nodes[1], home] : [nodes[0], home];
    const [name, others] = [node.options.name, other.options.name];
    const drained = () => untilNode(world, { name, what: 'being drained', seconds: AGENT_START }, ({ spec }) => spec.reboot?.phase === 'Draining');
    for (const each of [name, others]) await holdDrain(world, each);
    await join(world, name);
    await apply(world, fixedByReboot(world, 'fix'), policy({ nodeSelector: { matchLabels: JOINED }, maxDisruption: 'Kexec', reboot: { timeoutSeconds: TIMEOUT }, ...LETTING_BARE_PODS_GO }));
    await drained();
    await join(world, others);
    await flush(node);

    await letDrain(world, name);
    await untilGoingDown(node, SOON);
    await node.powerOff();
    const failed = await untilNode(world, { name, what: '[never-returns] given up', seconds: TIMEOUT + SOON }, ({ spec }) => spec.reboot?.phase === 'Failed');
    assert.equal(failed.spec.reboot?.reason, 'NotBack');
    await slotsAre(world, []);
    await tells(world, { [name]: /^Failed NotBack: .*look at its console/, [others]: new RegExp(`^Waiting RolloutHalted: the reboot failed on ${name}`) });
    await untilCordonedFor(world, name, '');

    await node.boot();
    const back = await untilNode(world, { name, what: '[never-returns] back', seconds: BOOT }, ({ status }) => status?.reboot?.state === 'CameBackByFirmware');
    assert.deepEqual([back.spec.reboot?.phase, back.spec.reboot?.reason], ['Failed', 'NotBack']);
    assert.equal((await node.must('uname -r')).trim(), runningRelease(world));
    await inService(world, name);
    await tells(world, { [name]: /^Failed NotBack:/, [others]: new RegExp(`a kexec into \\S+ on node ${name}, the same kind of machine, came back by the firmware`) });
    assert.equal((await nodeKernelOf(world, others))?.spec.reboot, undefined, 'the other node was not begun');

    await holdDrain(world, name);
    await plane.mustKubectl(['patch', 'kernelpatch', 'fix', '--type=merge', '-p', JSON.stringify({ spec: { retryReboot: 'powered-on-again' } })]);
    const { spec: { reboot: order } } = await drained();
    await untilCordonedFor(world, name, order?.id ?? '');
    const since = new Date().toISOString();
    await plane.mustKubectl(['delete', 'node', name]);
    await untilNode(world, { name: others, what: '[node-deleted] has the slot', seconds: SOON }, ({ spec }) => spec.reboot?.phase === 'Draining');
    await slotsAre(world, [others]);
    assert.equal(await nodeKernelOf(world, name), undefined);
    await waitFor('nothing of the order to be left on the node', { seconds: SOON }, async () => (await node.must('cat /sys/kernel/kexec_loaded; ls /var/lib/misc')).trim() === '0' || undefined, () => node.must('cat /sys/kernel/kexec_loaded; ls /var/lib/misc'));

    await registerAnew(world.fleet, node);
    await join(world, name);
    const anew = await untilNode(world, { name, what: '[node-deleted] reported as a new node', seconds: AGENT_START }, ({ metadata, status }) => status !== undefined && metadata.uid !== back.metadata.uid);
    assert.equal(anew.spec.reboot, undefined, 'the other one has the slot');
    await inService(world, name);
    const troubles = (await plane.mustKubectl(['logs', '-n', NAMESPACE, '-l', 'app.kubernetes.io/component=operator', '--tail=-1', `--since-time=${since}`])).split('\n').filter((line) => /"level":[456]0/.test(line));
    assert.ok(troubles.length <= 2, `the operator's log has no loop of errors:\n${troubles.join('\n')}`);
    world.say(await plane.mustKubectl(['get', 'kernelpatches,nodekernels,nodes', '-o', 'wide']));
    for (const each of nodes) await assertHealthyKernel(each);
  },
};

const JOINED = { 'kernelpatch.test/joined': 'yes' };

/** The policy selects the node. */
async function join({ fleet: { plane } }: World, name: string): Promise<void> {
  await plane.mustKubectl(['label', 'node', name, ...Object.entries(JOINED).map(([key, value]) => `${key}=${value}`)]);
}

async function nodeKernelOf(world: World, name: string) {
  return (await getNodeKernels(world)).find(({ metadata }) => metadata.name === name);
}

async function slotsAre(world: World, nodes: readonly string[]): Promise<void> {
  const held = async () => ((await getPolicy(world, 'all')).status?.rebootSlots ?? []).map(({ node }) => node).join(', ');
  await waitFor(`slots of ${nodes.join(', ') || 'nobody'}`, { seconds: SOON }, async () => (await held()) === nodes.join(', ') || undefined, held);
}

/** What the KernelPatch says of each node. */
async function tells(world: World, wanted: Readonly<Record<string, RegExp>>): Promise<void> {
  const look = async () => ((await getKernelPatch(world, 'fix')).status?.attention ?? []).map(({ node, verdict, reason, message }) => ({ node, text: `${verdict} ${reason}: ${message}` }));
  await waitFor('the KernelPatch to tell of the nodes', { seconds: AGENT_START }, async () => {
    const told = await look();
    return Object.entries(wanted).every(([name, text]) => told.some((each) => each.node === name && text.test(each.text))) || undefined;
  }, look);
}
