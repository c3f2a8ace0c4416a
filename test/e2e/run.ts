/** `make e2e`: runs the scenarios one after the other and ends with "N passed, N failed". SCENARIO=name runs one, LIST=1 prints the names, SOAK=1 runs the long ones too. */
import { clusterTools } from '../cluster/tools.ts';
import { stopFleet } from '../fleet/fleet.ts';
import type { Fleet } from '../fleet/fleet.ts';
import { buildProduct, startInstalledFleet } from '../fleet/product.ts';
import type { Product } from '../fleet/product.ts';
import { stopAllDaemons } from '../process.ts';
import { buildSubjects } from '../subjects/subjects.ts';
import type { Scenario } from './scenario.ts';
import { LONG, SCENARIOS } from './scenarios.ts';
import { crashOf, describeFailure, describeNodes } from './failure.ts';

/** Characters of a failure in the summary. */
const LAST_WORDS = 700;
const started = performance.now();
const seconds = (since = started) => ((performance.now() - since) / 1000).toFixed(1);
const say = (line: string) => process.stdout.write(`[${seconds().padStart(6)} s] ${line}\n`);

async function main(): Promise<void> {
  const { SCENARIO: wanted, LIST: list, SOAK: soak } = process.env;
  const all = [...LONG, ...SCENARIOS];
  if (list) {
    process.stdout.write(all.map((scenario) => `${scenario.name}\n`).join(''));
    return;
  }
  const chosen = wanted ? all.filter(({ name }) => name === wanted) : soak ? all : SCENARIOS;
  if (chosen.length === 0) throw new Error(`SCENARIO=${wanted}: there is no such scenario; make e2e LIST=1 prints the names`);
  await clusterTools();
  const product = await buildProduct();
  const failures: string[] = [];
  for (const scenario of chosen) {
    const why = await failureOf(scenario, product);
    if (why !== undefined) failures.push(`FAILED ${scenario.name}: ${why}`);
  }
  say('done');
  process.stdout.write([...failures, `${chosen.length - failures.length} passed, ${failures.length} failed`, ''].join('\n'));
  process.exitCode = failures.length === 0 ? 0 : 1;
}

/** What went wrong, in the last lines of a long log: where a person, or a CI that keeps only those, looks first. */
function clip(text: string): string {
  return text.length <= LAST_WORDS ? text : `${text.slice(0, LAST_WORDS)}...`;
}

/** Undefined when it passed. A failed scenario leaves its directory (logs, consoles, disks) and says where. */
async function failureOf(scenario: Scenario, product: Product): Promise<string | undefined> {
  const begun = performance.now();
  say(`[${scenario.name}] ${scenario.title}`);
  let fleet: Fleet | undefined;
  try {
    fleet = await startInstalledFleet(product, (line) => say(`[${scenario.name}]   ${line}`));
    const subject = await buildSubjects(fleet.image.kernels);
    await scenario.run({ fleet, subject, say: (line) => say(`[${scenario.name}]   ${line}`) });
    await stopFleet(fleet);
    say(`[${scenario.name}] passed in ${seconds(begun)} s`);
    return undefined;
  } catch (error) {
    say(`[${scenario.name}] FAILED after ${seconds(begun)} s: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
    const message = clip(error instanceof Error ? error.message : String(error));
    return fleet === undefined ? message : autopsy(fleet, scenario.name, message);
  }
}

/** The message with what the fleet shows of the failure. The fleet has ended; its logs are kept. */
async function autopsy(fleet: Fleet, scenario: string, message: string): Promise<string> {
  const crash = fleet.nodes.map(crashOf).find((found) => found !== undefined);
  const told = [crash === undefined ? message : `${crash}; ${message}`, ...(await describeNodes(fleet))].join('\n  ');
  say(await describeFailure(fleet));
  await stopFleet(fleet, true);
  say(`[${scenario}] logs and consoles are kept in ${fleet.dir}`);
  return told;
}

try {
  await main();
} finally {
  await stopAllDaemons();
}
