/** The agent's metrics, on a registry of their own. */
import { Counter, Gauge, Registry } from 'prom-client';
import { CVE_STATES, LIVE_PATCH_STATES } from '../crds/nodekernel.ts';
import type { NodeKernelStatus } from '../crds/nodekernel.ts';
import type { RebootStepName } from './reboot/steps.ts';
import type { StepName } from './steps.ts';

export interface AgentMetrics {
  readonly registry: Registry;
  count(step: StepName | RebootStepName, result: 'ok' | 'failed'): void;
  countWrite(result: 'ok' | 'failed'): void;
  countWatchRestart(): void;
  observe(status: NodeKernelStatus): void;
}

export function createMetrics(): AgentMetrics {
  const registry = new Registry();
  const registers = [registry];
  const steps = new Counter({
    name: 'kernelpatch_agent_steps_total',
    help: 'Steps carried out on this node, by step (Inspect, Load, Disable, Enable, RemoveModule; Stage, Unstage, GoDown, StayUp of a reboot) and result (ok, failed).',
    labelNames: ['step', 'result'],
    registers,
  });
  const writes = new Counter({ name: 'kernelpatch_agent_status_writes_total', help: 'Status writes to the API server, by result (ok, failed).', labelNames: ['result'], registers });
  const restarts = new Counter({ name: 'kernelpatch_agent_watch_restarts_total', help: 'Watches of the NodeKernel that ended with an error.', registers });
  const patches = new Gauge({ name: 'kernelpatch_agent_live_patches', help: 'Live patches of this node, by state.', labelNames: ['state'], registers });
  const cves = new Gauge({ name: 'kernelpatch_agent_cves', help: 'CVEs of the selected KernelPatches by how this node stands towards them, as the lists of status.cves of its NodeKernel.', labelNames: ['state'], registers });
  return {
    registry,
    count: (step, result) => steps.inc({ step, result }),
    countWrite: (result) => writes.inc({ result }),
    countWatchRestart: () => restarts.inc(),
    observe(status) {
      for (const state of LIVE_PATCH_STATES) patches.set({ state }, status.livePatches.filter((patch) => patch.state === state).length);
      for (const state of CVE_STATES) cves.set({ state }, status.cves?.[state].length ?? 0);
    },
  };
}
