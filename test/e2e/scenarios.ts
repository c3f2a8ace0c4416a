/** Every scenario, in the order they run. */
import type { Scenario } from './scenario.ts';
import { agentRestart } from './scenarios/agent-restart.ts';
import { bootLoad } from './scenarios/boot-load.ts';
import { kpatchBeside } from './scenarios/kpatch-beside.ts';
import { livePatchScenario } from './scenarios/live-patch.ts';
import { noPolicy } from './scenarios/no-policy.ts';
import { operatorRestart } from './scenarios/operator-restart.ts';
import { panicOnLoad } from './scenarios/panic-on-load.ts';
import { plan } from './scenarios/plan.ts';
import { powerCut } from './scenarios/power-cut.ts';
import { preflight } from './scenarios/preflight.ts';
import { replace } from './scenarios/replace.ts';
import { stall } from './scenarios/stall.ts';
import { twoOperators } from './scenarios/two-operators.ts';
import { withdraw } from './scenarios/withdraw.ts';

export const SCENARIOS: readonly Scenario[] = [livePatchScenario, withdraw, plan, noPolicy, operatorRestart, agentRestart, twoOperators, preflight, stall, panicOnLoad, powerCut, replace, kpatchBeside, bootLoad];
