import assert from 'node:assert/strict';
import { SLEEP, untilAsleep } from '../held.ts';
import type { Scenario } from '../scenario.ts';
import { BOOT, SOON, activeAgain, apply, assertHealthyKernel, effect, livePatch, loadByHand, onlyNode, patchOf, place, policy, startAgents, timesEnabled, untilNode, untilNodes } from '../world.ts';

export const powerCut: Scenario = {
  name: 'power-cut',
  title: 'a power cut in the middle of a load quarantines the file until a person lifts it; one after the load does not, and the node loads it again',
  async run(world) {
    const [first, second] = world.fleet.nodes;
    const [middle, after] = [first.options.name, second.options.name];
    await loadByHand(world, first, 'kp_sleeper');
    await first.must(SLEEP);
    await untilAsleep(first);
    const policies = [onlyOf(middle), onlyOf(after)];
    const patches = [forNode(middle, livePatch(world, 'held', await place(world, 'kp_held'))), forNode(after, livePatch(world, 'first', await place(world, 'kp_first')))];
    await startAgents(world, policies);
    await apply(world, ...patches, ...policies);
    await untilNodes(world, 'one node Transitioning and one Active', SOON, ({ metadata, status }) => status?.state === (metadata.name === middle ? 'Transitioning' : 'Active'));

    // Both at once: a kill of QEMU, so that only what the guest had synced is there.
    await Promise.all(world.fleet.nodes.map((node) => node.powerOff()));
    await Promise.all(world.fleet.nodes.map((node) => node.boot()));
    const held = await untilNode(world, { name: middle, what: 'the file quarantined', seconds: BOOT }, ({ status }) => status?.state === 'Quarantined');
    assert.equal(patchOf(held.status, 'kp_held')?.reason, 'QuarantinedAfterBoot');
    assert.equal(await timesEnabled(first, 'kp_held'), 0);
    await activeAgain(world, second);
    assert.equal(await timesEnabled(second, 'kp_first'), 1);
    assert.match(await effect(second), /closed by kp_first/);

    await world.fleet.plane.mustKubectl(['patch', 'kernelpatch', 'held', '--type=merge', '-p', JSON.stringify({ spec: { liftQuarantine: 'seen-by-a-person' } })]);
    await untilNode(world, { name: middle, what: 'Active once a person has lifted it', seconds: SOON }, ({ status }) => status?.state === 'Active');
    assert.match(await effect(first), /closed by kp_held/);
    for (const node of world.fleet.nodes) await assertHealthyKernel(node);
  },
};

const forNode = (name: string, kernelPatch: object) => ({ ...kernelPatch, metadata: { ...(kernelPatch as { metadata: object }).metadata, labels: { node: name } } });
const onlyOf = (name: string) => policy({ ...onlyNode(name), patchSelector: { matchLabels: { node: name } } }, name);
