import assert from 'node:assert/strict';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { createMetrics } from '../../../daemonset/metrics.ts';
import { serve } from '../../../daemonset/server.ts';

test('health, metrics, and nothing else are served', async () => {
  const metrics = createMetrics();
  metrics.count('Load', 'ok');
  metrics.countWatchRestart();
  let illness: string | undefined;
  const server = await serve({ port: 0, registry: metrics.registry, findIllness: () => illness });
  const get = (path: string) => fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}${path}`);
  try {
    assert.equal((await get('/healthz')).status, 200);
    const text = await (await get('/metrics')).text();
    assert.match(text, /kernelpatch_agent_steps_total\{step="Load",result="ok"\} 1/);
    assert.match(text, /kernelpatch_agent_watch_restarts_total 1/);
    assert.equal((await get('/')).status, 404);
    illness = 'the loop stands still';
    const ill = await get('/healthz');
    assert.deepEqual([ill.status, await ill.text()], [503, 'the loop stands still\n']);
  } finally {
    server.closeAllConnections();
    server.close();
  }
});

test('a port that is taken is an error', async () => {
  const { registry } = createMetrics();
  const first = await serve({ port: 0, registry, findIllness: () => undefined });
  try {
    await assert.rejects(serve({ port: (first.address() as AddressInfo).port, registry, findIllness: () => undefined }));
  } finally {
    first.close();
  }
});
