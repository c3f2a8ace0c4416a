import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readConfig } from '../../../daemonset/config.ts';

test('in a pod the name of the node is enough', () => {
  assert.deepEqual(readConfig({ NODE_NAME: 'node-1', KUBERNETES_SERVICE_HOST: '10.96.0.1' }), {
    nodeName: 'node-1',
    hostRoot: '/host',
    stagingDirectory: '/run/kernelpatch',
    bootFiles: '/app',
    logLevel: 'info',
    metricsPort: 9102,
    verification: { policy: 'Require', keys: '/etc/kernelpatch/keys' },
    registries: { oras: 'oras', credentialsFile: undefined, certificates: undefined, proxy: { https: undefined, except: undefined }, timeoutMilliseconds: 20_000, mirrors: [] },
    api: {
      baseURL: 'https://10.96.0.1:443',
      caFile: '/var/run/secrets/kubernetes.io/serviceaccount/ca.crt',
      tokenFile: '/var/run/secrets/kubernetes.io/serviceaccount/token',
    },
  });
});

test('mirrors are pairs of prefixes', () => {
  const config = readConfig({ NODE_NAME: 'node-1', KUBERNETES_SERVICE_HOST: '10.96.0.1', REGISTRY_MIRRORS: 'registry.example=mirror.lan:5000/all,other.example/a=mirror.lan/b' });
  assert.deepEqual('registries' in config ? config.registries.mirrors : config, [{ source: 'registry.example', mirror: 'mirror.lan:5000/all' }, { source: 'other.example/a', mirror: 'mirror.lan/b' }]);
});

test('an IPv6 address is put in brackets', () => {
  const config = readConfig({ NODE_NAME: 'node-1', KUBERNETES_SERVICE_HOST: 'fd00::1', KUBERNETES_SERVICE_PORT: '6443' });
  assert.ok('api' in config && config.api.baseURL === 'https://[fd00::1]:6443');
});

const WRONG: Readonly<Record<string, [Readonly<Record<string, string>>, RegExp]>> = {
  'no name of a node': [{ KUBERNETES_SERVICE_HOST: '10.96.0.1' }, /^NODE_NAME: /],
  'no API server': [{ NODE_NAME: 'node-1' }, /^KUBERNETES_SERVICE_HOST: missing/],
  'a relative root': [{ NODE_NAME: 'node-1', HOST_ROOT: 'host' }, /^HOST_ROOT: /],
  'a port that is none': [{ NODE_NAME: 'node-1', METRICS_PORT: '99999' }, /^METRICS_PORT: /],
  'a verification that is none': [{ NODE_NAME: 'node-1', VERIFICATION: 'off' }, /^VERIFICATION: /],
  'mirrors that are no pairs': [{ NODE_NAME: 'node-1', REGISTRY_MIRRORS: 'mirror.lan' }, /^REGISTRY_MIRRORS: /],
  'an unknown log level': [{ NODE_NAME: 'node-1', LOG_LEVEL: 'loud' }, /^LOG_LEVEL: /],
};

for (const [what, [environment, message]] of Object.entries(WRONG)) {
  test(`${what} is named`, () => {
    const problems = readConfig(environment);
    assert.ok(Array.isArray(problems));
    assert.match(problems.join('\n'), message);
  });
}
