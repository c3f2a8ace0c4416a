/** What the checks before a load cost: the agent's own code, run as the agent runs it in its own container on a node, beside the insmod they come before. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { build } from 'esbuild';
import { ROOT } from '../cache.ts';
import { MODULES, place, runningRelease } from '../e2e/world.ts';
import type { World } from '../e2e/world.ts';
import type { Machine } from '../node/machine.ts';
import { FIND_AGENT } from './agent-process.ts';
import { bareLoadOn } from './bare-load.ts';
import { percentile, round } from './figure.ts';
import type { Figure } from './figure.ts';

const ROUNDS = 10;
const PROGRAM = '/run/preflight.cjs';

/** After the agents have started. The nodes have the module at its place and not loaded, before and afterwards. */
export async function preflightCost(world: World): Promise<readonly Figure[]> {
  const patch = await place(world, 'kp_first');
  const [node] = world.fleet.nodes;
  await node.copyIn(await bundled(world, patch.sha256), PROGRAM);
  const checks = await timeChecks(node);
  const bare: number[] = [];
  for (let count = 0; count < ROUNDS; count++) bare.push(await bareLoadOn(node));
  const [check, insmod] = [percentile(checks, 0.5), percentile(bare, 0.5)];
  const ratio = round(check / insmod);
  return [
    {
      name: 'preflight-cost', value: ratio, unit: 'of a bare insmod', goal: '<= 1', ok: ratio <= 1,
      baseline: `p50 of ${ROUNDS}: checks ${round(check)} s (the worst ${round(Math.max(...checks))} s), insmod and transition of the same module ${round(insmod)} s`,
    },
  ];
}

async function bundled(world: World, sha256: string): Promise<string> {
  const wanted = { name: 'kp_first', kernelPatch: 'bench', desired: 'Loaded', release: runningRelease(world), hostPath: `${MODULES}/kp_first.ko`, sha256, replace: true, reversible: true };
  const contents = `
    import { checkLoad } from './daemonset/check.ts';
    import { realHost } from './kernel/host.ts';
    async function main() {
      const host = realHost({ root: '/host', stagingDirectory: '/run/kernelpatch' });
      const verification = { policy: 'Off', readKeyFiles: () => Promise.resolve([]) };
      for (let count = 0; count < ${ROUNDS}; count++) {
        const begun = performance.now();
        const { refusal, unchecked } = await checkLoad({ host, verification }, ${JSON.stringify(wanted)}, []);
        if (refusal !== undefined || unchecked.length > 0) throw new Error(JSON.stringify([refusal, unchecked]));
        console.log((performance.now() - begun) / 1000);
      }
    }
    void main();`;
  const result = await build({ stdin: { contents, resolveDir: ROOT }, bundle: true, write: false, platform: 'node', format: 'cjs' });
  const file = join(world.fleet.dir, 'preflight.cjs');
  writeFileSync(file, result.outputFiles[0]?.contents ?? '');
  return file;
}

/** Seconds of each round, in the mount namespace and with the flags of the agent. */
async function timeChecks(node: Machine): Promise<readonly number[]> {
  const output = await node.must(`${FIND_AGENT}; nsenter -t $pid -m -- $(tr '\\0' '\\n' </proc/$pid/cmdline | grep -v agent.cjs) /host${PROGRAM}`, 120);
  return output.trim().split('\n').map(Number);
}
