/**
 * The agent of one node. Exit codes: 0 after SIGTERM or SIGINT; 78 (EX_CONFIG) when a setting is wrong; 70 (EX_SOFTWARE) after an error that
 * nothing expects, so that the kubelet starts it again.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { pino } from 'pino';
import packageJson from '../package.json' with { type: 'json' };
import type { Clock } from '../kernel/clock.ts';
import { realHost } from '../kernel/host.ts';
import { createAgent } from './agent.ts';
import { createApi } from './api.ts';
import type { Config } from './config.ts';
import { readEnvironment } from './config.ts';
import { follow } from './follow.ts';
import { createMetrics } from './metrics.ts';
import { findNodeCertificates } from './registry/certificates.ts';
import { realRegistry } from './registry/host.ts';
import { isRemoved } from './removal.ts';
import { serve } from './server.ts';
import { readKeyFiles } from './trust/host.ts';

/** Longer than the longest turn: insmod's timeout (60 s), rmmod's retries and a write to the API server. */
const ILL_AFTER_MILLISECONDS = 300_000;

const clock: Clock = {
  now: () => new Date(),
  monotonic: () => performance.now(),
  async sleep(milliseconds, signal) {
    try {
      await wait(milliseconds, undefined, signal && { signal });
    } catch {
      // Aborted: the pause is over.
    }
  },
};

async function main(config: Config): Promise<void> {
  const log = pino({ level: config.logLevel, base: { node: config.nodeName } });
  const metrics = createMetrics();
  const api = createApi({ ...config.api, nodeName: config.nodeName });
  const host = realHost({ root: config.hostRoot, stagingDirectory: config.stagingDirectory });
  const bootFile = (name: string): string => readFileSync(join(config.bootFiles, name), 'utf8');
  const agent = createAgent({
    machine: {
      host,
      clock,
      verification: { policy: config.verification.policy, readKeyFiles: () => readKeyFiles(config.verification.keys) },
      registries: { registry: realRegistry({ ...config.registries, findNodeCertificates: () => findNodeCertificates(host) }), mirrors: config.registries.mirrors },
    },
    writeStatus: (status) => api.patchStatus(status),
    readIntent: async () => (await api.list()).object,
    isRemoved: () => isRemoved(api, clock, log),
    bootFiles: { loader: bootFile('load.sh'), unit: bootFile('kernelpatch-boot.service') },
    agentVersion: packageJson.version,
    log,
    metrics,
  });
  const stop = new AbortController();
  const stopFor = (signal: string): void => {
    log.info({ signal }, 'stopping');
    stop.abort();
  };
  process.once('SIGTERM', stopFor).once('SIGINT', stopFor);
  const findIllness = () => (clock.monotonic() - agent.lastTurnAt > ILL_AFTER_MILLISECONDS ? 'the loop has not turned for 5 minutes' : undefined);
  try {
    await serve({ port: config.metricsPort, registry: metrics.registry, findIllness });
    log.info({ version: packageJson.version }, 'started');
    await Promise.all([agent.run(stop.signal), follow({ api, clock, random: Math.random, log, metrics }, (object) => agent.accept(object), stop.signal)]);
    process.exit(0);
  } catch (error) {
    log.fatal({ err: error }, 'stopped by an error');
    process.exit(70);
  }
}

const config = readEnvironment();
if ('nodeName' in config) {
  void main(config);
} else {
  process.stderr.write(`The agent can not start:\n${config.map((problem) => `  ${problem}\n`).join('')}`);
  process.exit(78);
}
