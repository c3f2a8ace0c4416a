/** `make bench`: one JSON object a line, {name, value, unit, baseline, goal, ok}; progress on standard error. Ends with 1 when a goal is missed. */
import { stopFleet } from '../fleet/fleet.ts';
import { buildProduct, startInstalledFleet } from '../fleet/product.ts';
import { stopAllDaemons } from '../process.ts';
import { buildSubjects } from '../subjects/subjects.ts';
import { agentWeight } from './agent-weight.ts';
import { applyToActive } from './apply-to-active.ts';
import { bootLoadCost } from './boot-load.ts';
import { demoTime } from './demo-time.ts';
import { drainCost } from './drain.ts';
import { fetchCost } from './fetch.ts';
import type { Figure } from './figure.ts';
import { preflightCost } from './preflight.ts';
import { rebootCost } from './reboot.ts';

const started = performance.now();
const say = (line: string) => process.stderr.write(`[${((performance.now() - started) / 1000).toFixed(1).padStart(6)} s] ${line}\n`);
let missed = 0;

function print(figures: readonly Figure[]): void {
  for (const figure of figures) {
    if (!figure.ok) missed++;
    process.stdout.write(`${JSON.stringify(figure)}\n`);
  }
}

try {
  const product = await buildProduct();
  const fleet = await startInstalledFleet(product, say);
  const world = { fleet, subject: await buildSubjects(fleet.image.kernels), say };
  print(await applyToActive(world));
  print(await agentWeight(world));
  print(await preflightCost(world));
  print(await bootLoadCost(world));
  await stopFleet(fleet);
  print(await drainCost(say));
  const booted = await startInstalledFleet(product, say);
  print(await rebootCost({ ...world, fleet: booted }));
  await stopFleet(booted);
  print(await fetchCost());
  // Last: everything is built and saved by then, so the demo is a warm one.
  print(await demoTime(say));
} finally {
  await stopAllDaemons();
}
process.exitCode = missed === 0 ? 0 : 1;
