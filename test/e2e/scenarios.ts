/** Every scenario, in the order they run. `make e2e SCENARIO=name` finds each of them. */
import type { Scenario } from './scenario.ts';
import { agentRestart } from './scenarios/agent-restart.ts';
import { bootLoad } from './scenarios/boot-load.ts';
import { kexec } from './scenarios/kexec.ts';
import { kexecRefused } from './scenarios/kexec-refused.ts';
import { kpatchBeside } from './scenarios/kpatch-beside.ts';
import { livePatchScenario } from './scenarios/live-patch.ts';
import { neverReturns } from './scenarios/never-returns.ts';
import { noPolicy } from './scenarios/no-policy.ts';
import { operatorRestart } from './scenarios/operator-restart.ts';
import { packageInstall } from './scenarios/package-install.ts';
import { panicOnLoad } from './scenarios/panic-on-load.ts';
import { pdbBlocked } from './scenarios/pdb-blocked.ts';
import { plan } from './scenarios/plan.ts';
import { powerCut } from './scenarios/power-cut.ts';
import { preflight } from './scenarios/preflight.ts';
import { rebootPowerCut } from './scenarios/reboot-power-cut.ts';
import { rebootTwoOperators } from './scenarios/reboot-two-operators.ts';
import { replace } from './scenarios/replace.ts';
import { signedBundle } from './scenarios/signed-bundle.ts';
import { staleIntent } from './scenarios/stale-intent.ts';
import { stall } from './scenarios/stall.ts';
import { targetBroken } from './scenarios/target-broken.ts';
import { targetPanics } from './scenarios/target-panics.ts';
import { twoOperators } from './scenarios/two-operators.ts';
import { withdraw } from './scenarios/withdraw.ts';

/** What `make e2e` runs. */
export const SCENARIOS: readonly Scenario[] = [
  livePatchScenario, withdraw, staleIntent, plan, noPolicy, operatorRestart, agentRestart, twoOperators, preflight, stall, panicOnLoad, replace,
  kpatchBeside, bootLoad, kexec, packageInstall, pdbBlocked, kexecRefused, targetBroken, targetPanics, neverReturns, rebootPowerCut, rebootTwoOperators,
  signedBundle,
];

/** What `make soak` runs before them: cases that take so many boots that a busy machine needs more time for them than a CI gives. */
export const LONG: readonly Scenario[] = [powerCut];
