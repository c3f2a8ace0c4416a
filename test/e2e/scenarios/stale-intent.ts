import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import { RECHECK_SECONDS } from '../../../daemonset/rules.ts';
import { HOST_SEEN_BY_GUESTS } from '../../cluster/control-plane.ts';
import { NAMESPACE } from '../../fleet/product.ts';
import type { Machine } from '../../node/machine.ts';
import type { Scenario } from '../scenario.ts';
import type { World } from '../world.ts';
import { AGENT_START, SOON, apply, assertHealthyKernel, effect, isCurrent, livePatch, patchOf, place, policy, timesEnabled, untilNode } from '../world.ts';

/** Seconds until an agent that could not reach the API server is told again: it gives a silent watch up after 150 (daemonset/api.ts). */
const HEARD_AGAIN = 150 + SOON;

export const staleIntent: Scenario = {
  name: 'stale-intent',
  title: 'a node that is cut off loads nothing that is withdrawn meanwhile, neither then nor when it is back',
  async run(world) {
    const patch = await place(world, 'kp_first');
    const { cut, other } = await byOperator(world);
    const { hostPath } = patch.source;
    await cut.must(`mv ${hostPath} ${hostPath}.later`);
    await apply(world, livePatch(world, 'first', patch), policy());
    await untilNode(world, { name: other.options.name, what: 'Active', seconds: AGENT_START }, ({ status }) => status?.state === 'Active');
    await untilNode(world, { name: cut.options.name, what: 'its file is missing', seconds: AGENT_START }, ({ status }) => patchOf(status, 'kp_first')?.reason === 'FileMissing');

    await cut.must(`ip route add blackhole ${HOST_SEEN_BY_GUESTS}`);
    await apply(world, livePatch(world, 'first', patch, { withdrawn: true }));
    await untilNode(world, { name: cut.options.name, what: 'not asked for it any more', seconds: SOON }, ({ spec }) => (spec.livePatches ?? []).every(({ desired }) => desired === 'Absent'));
    await cut.must(`mv ${hostPath}.later ${hostPath}`);
    await delay((RECHECK_SECONDS + 15) * 1000);
    assert.equal(await timesEnabled(cut, 'kp_first'), 0, 'it is not loaded while nobody says that it is wanted');

    await cut.must(`ip route del blackhole ${HOST_SEEN_BY_GUESTS}`);
    await untilNode(world, { name: cut.options.name, what: 'heard again', seconds: HEARD_AGAIN }, (node) => isCurrent(node) && node.status?.state === 'Idle');
    assert.equal(await timesEnabled(cut, 'kp_first'), 0, 'nor when it is back');
    assert.doesNotMatch(await effect(cut), /closed by/);
    await assertHealthyKernel(cut);
  },
};

/** One that the operator is not on, so that it sees the node being cut off, and the one that it is on. */
async function byOperator({ fleet }: World): Promise<{ readonly cut: Machine; readonly other: Machine }> {
  const host = await fleet.plane.mustKubectl(['get', 'pods', '-n', NAMESPACE, '-l', 'app.kubernetes.io/component=operator', '-o', 'jsonpath={.items[0].spec.nodeName}']);
  const other = fleet.nodes.find(({ options }) => options.name === host);
  const cut = fleet.nodes.find(({ options }) => options.name !== host);
  assert.ok(cut && other);
  return { cut, other };
}
