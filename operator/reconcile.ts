/** Wakes on every change of the caches, decides and applies: the loop around decide.ts and apply.ts. */
import type { Logger } from 'pino';
import { DAEMON_SET_NAME } from './agents.ts';
import { applyAgents, applyDecisions } from './apply.ts';
import type { AgentEffects, Effects } from './apply.ts';
import type { Cluster } from './cluster.ts';
import type { Config } from './config.ts';
import { countCves } from './cves.ts';
import { decide } from './decide.ts';
import { kindOf } from './errors.ts';
import type { Client } from './kube/client.ts';
import type { Lease } from './kube/lease.ts';
import { makeQueue } from './kube/queue.ts';
import { makePreviews } from './kube/previews.ts';
import { makeWrites } from './kube/writes.ts';
import type { Metrics } from './metrics.ts';
import { observe } from './observe.ts';
import { makePace } from './pace.ts';
import { makeDrains } from './drains.ts';
import { areSame } from './preview.ts';
import type { DrainAsk } from './preview.ts';

/** 10 ms from the first change: enough for the events of one `kubectl apply`, too short to be felt. */
const WAKE_MS = 10;

/** 50 ms: a conflict is over as soon as the watch has delivered. 30 s: what a broken API server or a missing right costs in log lines. */
const BACKOFF = { firstMs: 50, capMs: 30_000 };

/** What is brought up to date on its own, so that trouble with one does not hold up the others. */
type Key = 'nodes' | 'agents' | 'previews' | DrainKey;
/** The drain of one node. */
type DrainKey = `drain/${string}`;
const DRAIN = 'drain/';

export interface ReconcilerOptions {
  readonly config: Config;
  readonly client: Client;
  readonly lease: Lease;
  readonly log: Logger;
  readonly metrics: Metrics;
  readonly cluster: Cluster;
  readonly now: () => number;
}

export interface Reconciler {
  /** Something has changed: everything is looked at again, in 10 ms. */
  wake(): void;
  /** Resolves when nothing is being written any more. */
  stop(): Promise<void>;
}

export function makeReconciler(options: ReconcilerOptions): Reconciler {
  const { config, client, lease, log, metrics, cluster, now } = options;
  const previews = makePreviews({ client, now, onChange: () => queue.addAfter('nodes', WAKE_MS) });
  const writes = makeWrites({ client, isLeader: () => lease.isHeld(), namespace: config.namespace, caches: cluster });
  const drains = makeDrains({ client, writes, now, nodeOf: (name) => cluster.nodes.get(name), onChange: () => queue.addAfter('nodes', WAKE_MS) });
  const caches = { ...cluster, previews, drains };
  /** Of the last decision. */
  let asks: readonly DrainAsk[] = [];
  const effects: Effects = { writes, pace: makePace(), log, instance: config.podName };
  const agentEffects: AgentEffects = {
    client,
    writes,
    settings: { namespace: config.namespace, image: config.agentImage, imagePullPolicy: config.agentImagePullPolicy, serviceAccount: config.agentServiceAccount, logLevel: config.logLevel, verification: config.agentVerification, registry: config.agentRegistry },
    deploymentName: config.deploymentName,
    log,
  };

  metrics.countCvesBy(() => countCves(caches));

  async function bringNodesUpToDate(): Promise<number | undefined> {
    const end = metrics.reconcileSeconds.startTimer();
    const at = now();
    const decisions = decide(observe(caches, at));
    askFor(decisions.previews);
    metrics.setVerdicts([...caches.kernelPatches.values()].map(({ metadata }) => metadata.name), decisions.verdicts);
    // Before anything is written, and whatever becomes of that: a drain whose order goes has ended before its node is uncordoned.
    for (const node of drains.assign(decisions.drains)) queue.add(`${DRAIN}${node}`);
    const heldBackMs = await applyDecisions(decisions, at, effects);
    end();
    return earliest(heldBackMs, decisions.nextDeadline === undefined ? undefined : Math.max(0, decisions.nextDeadline - at));
  }

  /** The same as before are looked at when their time has come. */
  function askFor(wanted: readonly DrainAsk[]): void {
    if (areSame(asks, wanted)) return;
    asks = wanted;
    queue.add('previews');
  }

  async function run(key: Key): Promise<number | undefined> {
    // The last kind to be listed wakes us again.
    if (cluster.notSynced().length > 0) return undefined;
    switch (key) {
      case 'nodes':
        return bringNodesUpToDate();
      case 'agents':
        await applyAgents(observe(caches, now()), cluster.daemonSets.get(DAEMON_SET_NAME), agentEffects);
        return undefined;
      case 'previews':
        return previews.refresh(asks);
      default:
        return drains.advance(key.slice(DRAIN.length));
    }
  }

  const queue = makeQueue<Key>({
    run,
    backoff: BACKOFF,
    random: Math.random,
    onError(key, error, retryInMs) {
      const code = kindOf(error);
      metrics.reconcileErrors.inc({ code });
      if (code !== 'Conflict') log.warn({ key, code, retryInMs, err: error }, 'not everything could be read and written; it is tried again');
    },
  });
  return {
    wake() {
      for (const key of ['nodes', 'agents'] as const) queue.addAfter(key, WAKE_MS);
    },
    stop: () => queue.stop(),
  };
}

function earliest(a: number | undefined, b: number | undefined): number | undefined {
  return a === undefined || b === undefined ? (a ?? b) : Math.min(a, b);
}
