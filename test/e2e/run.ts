/** `make e2e`: runs the scenarios one after the other and ends with "N passed, N failed". SCENARIO=name runs one, LIST=1 prints the names. */
import { clusterTools } from '../cluster/tools.ts';
import { stopFleet } from '../fleet/fleet.ts';
import type { Fleet } from '../fleet/fleet.ts';
import { buildProduct, startInstalledFleet } from '../fleet/product.ts';
import type { Product } from '../fleet/product.ts';
import { stopAllDaemons } from '../process.ts';
import { buildSubjects } from '../subjects/subjects.ts';
import type { Scenario } from './scenario.ts';
import { SCENARIOS } from './scenarios.ts';
import { describeFailure } from './failure.ts';

const started = performance.now();
const seconds = (since = started) => ((performance.now() - since) / 1000).toFixed(1);
const say = (line: string) => process.stdout.write(`[${seconds().padStart(6)} s] ${line}\n`);

async function main(): Promise<void> {
  const { SCENARIO: wanted, LIST: list } = process.env;
  if (list) {
    process.stdout.write(SCENARIOS.map((scenario) => `${scenario.name}\n`).join(''));
    return;
  }
  const chosen = SCENARIOS.filter((scenario) => !wanted || scenario.name === wanted);
  if (chosen.length === 0) throw new Error(`SCENARIO=${wanted}: there is no such scenario; make e2e LIST=1 prints the names`);
  await clusterTools();
  const product = await buildProduct();
  let failed = 0;
  for (const scenario of chosen) if (!(await passes(scenario, product))) failed++;
  say('done');
  process.stdout.write(`${chosen.length - failed} passed, ${failed} failed\n`);
  process.exitCode = failed === 0 ? 0 : 1;
}

/** A failed scenario leaves its directory (logs, consoles, disks) and says where. */
async function passes(scenario: Scenario, product: Product): Promise<boolean> {
  const begun = performance.now();
  say(`[${scenario.name}] ${scenario.title}`);
  let fleet: Fleet | undefined;
  try {
    fleet = await startInstalledFleet(product, (line) => say(`[${scenario.name}]   ${line}`));
    const subject = await buildSubjects(fleet.image.kernels);
    await scenario.run({ fleet, subject, say: (line) => say(`[${scenario.name}]   ${line}`) });
    await stopFleet(fleet);
    say(`[${scenario.name}] passed in ${seconds(begun)} s`);
    return true;
  } catch (error) {
    say(`[${scenario.name}] FAILED after ${seconds(begun)} s: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
    if (fleet) {
      say(await describeFailure(fleet));
      await stopFleet(fleet, true);
      say(`[${scenario.name}] logs and consoles are kept in ${fleet.dir}`);
    }
    return false;
  }
}

try {
  await main();
} finally {
  await stopAllDaemons();
}
