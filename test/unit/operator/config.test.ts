import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readConfig } from '../../../operator/config.ts';
import { KernelPatchError } from '../../../operator/errors.ts';

const COMPLETE = {
  POD_NAME: 'operator-1', POD_NAMESPACE: 'kernelpatch', DEPLOYMENT_NAME: 'kernelpatch-operator', AGENT_IMAGE: 'registry/kernelpatch@sha256:1', AGENT_SERVICE_ACCOUNT: 'kernelpatch-agent',
};

test('what has a default may be left out', () => {
  const config = readConfig(COMPLETE);
  assert.deepEqual([config.logLevel, config.metricsPort, config.leaseName, config.agentImagePullPolicy], ['info', 9101, 'kernelpatch-operator', 'IfNotPresent']);
  assert.equal(config.namespace, 'kernelpatch');
  assert.equal(config.agentVerification, 'Require');
  assert.deepEqual(config.agentRegistry, { pullSecret: '', caConfigMap: '', mirrors: [], proxy: { https: '', noProxy: '' } });
});

for (const [sentence, changed, message] of [
  ['a missing variable is named with what to write', { AGENT_IMAGE: undefined }, /AGENT_IMAGE is not set: write the image of the agents/],
  ['an empty one too', { POD_NAME: '' }, /POD_NAME is empty: write the name of this pod/],
  ['a port is a number', { METRICS_PORT: 'http' }, /METRICS_PORT write a port from 1 to 65535/],
  ['a port is not too large', { METRICS_PORT: '70000' }, /METRICS_PORT write a port from 1 to 65535/],
  ['a log level is one of those there are', { LOG_LEVEL: 'verbose' }, /LOG_LEVEL write one of fatal, error, warn/],
  ['a pull policy is one of those there are', { AGENT_IMAGE_PULL_POLICY: 'Sometimes' }, /AGENT_IMAGE_PULL_POLICY write Always, IfNotPresent or Never/],
  ['live patches must be signed or need not be', { AGENT_VERIFICATION: 'Warn' }, /AGENT_VERIFICATION write Require or Off/],
  ['registries are as the chart writes them', { AGENT_REGISTRY: '{"mirrors":"all"}' }, /AGENT_REGISTRY.* is not as the chart writes it/],
  ['and in JSON', { AGENT_REGISTRY: 'registry.example' }, /AGENT_REGISTRY is not as the chart writes it/],
  ['all that is wrong is said at once', { POD_NAME: undefined, LOG_LEVEL: 'x' }, /POD_NAME.*; LOG_LEVEL/],
] as const) {
  test(sentence, () => {
    assert.throws(() => readConfig({ ...COMPLETE, ...changed }), (error) => error instanceof KernelPatchError && error.code === 'ConfigInvalid' && message.test(error.message));
  });
}
