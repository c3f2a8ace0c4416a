/** What an idle agent costs its node: memory and processor time of its container, read from the node's cgroup. */
import { setTimeout as delay } from 'node:timers/promises';
import type { World } from '../e2e/world.ts';
import { round } from './figure.ts';
import type { Figure } from './figure.ts';

const MIB = 1024 * 1024;
/** Seconds of idling: two of the agent's 30-second looks at the facts. */
const IDLE_SECONDS = 60;

export async function agentWeight(world: World): Promise<readonly Figure[]> {
  const [node] = world.fleet.nodes;
  // The container with the agent's process, found by its command line.
  const cgroup = (await node.must("pid=$(grep -l agent.cjs /proc/[0-9]*/cmdline | cut -d/ -f3 | head -n 1); sed 's|^0::|/sys/fs/cgroup|' /proc/$pid/cgroup")).trim();
  const read = async () => {
    const text = await node.must(`cat ${cgroup}/memory.stat ${cgroup}/cpu.stat; echo current $(cat ${cgroup}/memory.current)`);
    const field = (name: string) => Number(new RegExp(`^${name} (\\d+)$`, 'm').exec(text)?.[1]);
    return { anonymous: field('anon') / MIB, workingSet: (field('current') - field('inactive_file')) / MIB, cpuSeconds: field('usage_usec') / 1e6 };
  };
  const before = await read();
  await delay(IDLE_SECONDS * 1000);
  const after = await read();
  const anonymous = round(after.anonymous);
  const workingSet = round(after.workingSet);
  const cpu = round(((after.cpuSeconds - before.cpuSeconds) / IDLE_SECONDS) * 1000);
  return [
    { name: 'agent-anonymous-memory', value: anonymous, unit: 'MiB', baseline: 'a bare node process holds 8.5 MiB', goal: '<= 20', ok: anonymous <= 20 },
    { name: 'agent-working-set', value: workingSet, unit: 'MiB', baseline: 'a bare node process holds 44 MiB, 45 of them the binary', goal: '<= 65', ok: workingSet <= 65 },
    // 10 of a thousand: one per cent of one emulated processor.
    { name: 'agent-idle-cpu', value: cpu, unit: 'millicores', baseline: 'one emulated processor is 1000', goal: '<= 10', ok: cpu <= 10 },
  ];
}
