/**
 * The operator's process. It leads or stands by; a standby keeps no caches, so what a new leader sees is never older than its lease. The only
 * place that reads the clock and ends the process. Exit codes: 0 after SIGTERM or SIGINT, 1 when the lease was lost or something broke, 2 when
 * the configuration is wrong.
 */
import { KubeConfig } from '@kubernetes/client-node';
import { randomUUID } from 'node:crypto';
import { pino } from 'pino';
import type { Logger } from 'pino';
import { makeCluster } from './cluster.ts';
import type { Cluster } from './cluster.ts';
import { readConfig } from './config.ts';
import type { Config } from './config.ts';
import { KernelPatchError, kindOf } from './errors.ts';
import { serveHttp } from './http.ts';
import { makeClient } from './kube/client.ts';
import type { Client } from './kube/client.ts';
import { LEASE_TIMES, makeLease } from './kube/lease.ts';
import type { Lease } from './kube/lease.ts';
import { leasesIn } from './kube/resources.ts';
import { makeTransport } from './kube/transport.ts';
import { makeMetrics } from './metrics.ts';
import type { Metrics } from './metrics.ts';
import { ownedByDeployment, readDeployment } from './owner.ts';
import { makeReconciler } from './reconcile.ts';
import type { Reconciler } from './reconcile.ts';

/** 10 s: below the 30 s a pod is given to end, above the time of any one request that is under way. */
const SHUTDOWN_MS = 10_000;

interface Parts {
  readonly config: Config;
  readonly log: Logger;
  readonly metrics: Metrics;
  readonly client: Client;
  readonly lease: Lease;
}

function makeParts(config: Config, log: Logger): Parts {
  const metrics = makeMetrics();
  const kubeConfig = new KubeConfig();
  kubeConfig.loadFromDefault();
  const client = makeClient(makeTransport(kubeConfig), (kind, verb, outcome) => metrics.apiWrites.inc({ kind, verb, outcome }));
  const lease = makeLease({
    client,
    resource: leasesIn(config.namespace),
    name: config.leaseName,
    self: `${config.podName}_${randomUUID()}`,
    times: LEASE_TIMES,
    elapsed: () => performance.now(),
    now: () => Date.now(),
    onTrouble: (error) => log.warn({ code: kindOf(error), err: error }, 'lease could not be read or written'),
    owner: async () => {
      const { metadata } = await readDeployment(client, config.namespace, config.deploymentName);
      return ownedByDeployment(config.deploymentName, metadata.uid ?? '');
    },
  });
  return { config, log, metrics, client, lease };
}

async function main(): Promise<void> {
  const log = pino({ name: 'kernelpatch-operator', base: null });
  const stop = stopSignal(log);
  try {
    const config = readConfig();
    log.level = config.logLevel;
    await run(makeParts(config, log), stop);
    log.info('stopped');
    process.exitCode = 0;
  } catch (error) {
    log.fatal({ code: kindOf(error), err: error }, 'ended');
    process.exitCode = error instanceof KernelPatchError && error.code === 'ConfigInvalid' ? 2 : 1;
  }
  // A socket that is still open may not keep a process alive that has given up its lease.
  process.exit();
}

/** Resolves at SIGTERM or SIGINT. Then the process has SHUTDOWN_MS to end by itself; a second signal ends it at once. */
function stopSignal(log: Logger): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  let asked = false;
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => {
      if (asked) process.exit(1);
      asked = true;
      log.info({ signal }, 'stopping');
      setTimeout(() => process.exit(1), SHUTDOWN_MS).unref();
      resolve();
    });
  }
  return promise;
}

/** Stands by (and is ready then), leads, and gives the lease back. Returns after `stop`; throws LeaseLost when it led and was overtaken. */
async function run(parts: Parts, stop: Promise<void>): Promise<void> {
  const { config, log, metrics, lease } = parts;
  let cluster: Cluster | undefined;
  const http = await serveHttp({ port: config.metricsPort, registry: metrics.registry, notReady: () => cluster?.notSynced() ?? [] });
  log.info({ port: http.port }, 'standing by');
  try {
    const leading = await Promise.race([lease.acquire().then(() => true), stop.then(() => false)]);
    if (!leading) return;
    cluster = makeCluster({ ...parts, namespace: config.namespace, onChange: () => reconciler.wake(), onRestart: ({ kind, code }) => metrics.watchRestarts.inc({ kind, code }) });
    const reconciler = makeReconciler({ ...parts, cluster, now: () => Date.now() });
    await lead(parts, cluster, reconciler, stop);
  } finally {
    await lease.release().catch((error: unknown) => log.warn({ err: error }, 'lease was not released: a standby takes over when it has run out'));
    await http.close();
  }
}

/** Reconciles until `stop` resolves or the lease is lost. Nothing is being read or written afterwards. */
async function lead({ lease, log, metrics, config }: Parts, cluster: Cluster, reconciler: Reconciler, stop: Promise<void>): Promise<void> {
  log.info({ lease: config.leaseName }, 'leading');
  metrics.leader.set(1);
  cluster.start();
  try {
    await Promise.race([stop, lease.lost]);
  } finally {
    await Promise.all([reconciler.stop(), cluster.stop()]);
    metrics.leader.set(0);
  }
}

void main();
