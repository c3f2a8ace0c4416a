/** What an idle agent costs its node: memory and processor time of its container, read from its cgroup after the rounds of apply-to-active.ts. */
import { setTimeout as delay } from 'node:timers/promises';
import type { World } from '../e2e/world.ts';
import type { Machine } from '../node/machine.ts';
import { FIND_AGENT } from './agent-process.ts';
import { round } from './figure.ts';
import type { Figure } from './figure.ts';

const MIB = 1024 * 1024;
/** Seconds of idling: two of the agent's 30-second looks at the facts. */
const IDLE_SECONDS = 60;

interface Weight {
  readonly anonymous: number;
  readonly workingSet: number;
  readonly file: number;
  readonly cpuSeconds: number;
}

const most = (figures: readonly number[]) => round(Math.max(...figures));

/** The heaviest of the nodes' agents: on one node the operator's container may carry the pages of the binary that both use. */
export async function agentWeight(world: World): Promise<readonly Figure[]> {
  const weigh = () => Promise.all(world.fleet.nodes.map(weighAgent));
  const before = await weigh();
  await delay(IDLE_SECONDS * 1000);
  const after = await weigh();
  const anonymous = most(after.map((weight) => weight.anonymous));
  const workingSet = most(after.map((weight) => weight.workingSet));
  const file = most(after.map((weight) => weight.file));
  const cpu = most(after.map((weight, index) => ((weight.cpuSeconds - (before[index]?.cpuSeconds ?? 0)) / IDLE_SECONDS) * 1000));
  return [
    { name: 'agent-anonymous-memory', value: anonymous, unit: 'MiB', baseline: 'a bare node process holds 8.5 MiB', goal: '<= 20', ok: anonymous <= 20 },
    { name: 'agent-working-set', value: workingSet, unit: 'MiB', baseline: `a bare node process holds 44 MiB; ${file} MiB are clean pages of the binary and what was read ahead with them`, goal: '<= 65', ok: workingSet <= 65 },
    // 10 of a thousand: one per cent of one emulated processor.
    { name: 'agent-idle-cpu', value: cpu, unit: 'millicores', baseline: 'one emulated processor is 1000', goal: '<= 10', ok: cpu <= 10 },
  ];
}

async function weighAgent(node: Machine): Promise<Weight> {
  const text = await node.must(
    `${FIND_AGENT}; cd $(sed "s|^0::|/sys/fs/cgroup|" /proc/$pid/cgroup) && cat memory.stat cpu.stat && echo current $(cat memory.current)`,
  );
  const field = (name: string) => Number(new RegExp(`^${name} (\\d+)$`, 'm').exec(text)?.[1]);
  return { anonymous: field('anon') / MIB, workingSet: (field('current') - field('inactive_file')) / MIB, file: field('active_file') / MIB, cpuSeconds: field('usage_usec') / 1e6 };
}
