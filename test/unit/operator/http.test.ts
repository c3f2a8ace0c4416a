import assert from 'node:assert/strict';
import { test } from 'node:test';
import { serveHttp } from '../../../operator/http.ts';
import { makeMetrics } from '../../../operator/metrics.ts';

test('readiness says what is missing, health and metrics are there all the while', async () => {
  const metrics = makeMetrics();
  let missing: readonly string[] = ['Node', 'NodeKernel'];
  const server = await serveHttp({ port: 0, registry: metrics.registry, notReady: () => missing });
  const get = async (path: string) => {
    const response = await fetch(`http://127.0.0.1:${server.port}${path}`);
    return `${response.status} ${(await response.text()).split('\n')[0]}`;
  };
  try {
    assert.equal(await get('/readyz'), '503 waiting for Node, NodeKernel');
    assert.equal(await get('/healthz'), '200 ok');
    missing = [];
    assert.equal(await get('/readyz'), '200 ok');
    assert.match(await get('/metrics'), /^200 # HELP kernelpatch_/);
    assert.match(await get('/else'), /^404 /);
  } finally {
    await server.close();
  }
});

test('every verdict of a KernelPatch is counted, those of a deleted one are gone', async () => {
  const metrics = makeMetrics();
  const verdict = { kernelPatch: 'fix-a', reason: 'x', message: 'x', moves: false } as const;
  metrics.setVerdicts(['fix-a'], [{ ...verdict, node: 'n1', verdict: 'Closed' }, { ...verdict, node: 'n2', verdict: 'Closed' }, { ...verdict, node: 'n3', verdict: 'Blocked' }]);
  const shown = await metrics.registry.metrics();
  assert.match(shown, /kernelpatch_nodes\{kernelpatch="fix-a",verdict="Closed"\} 2/);
  assert.match(shown, /kernelpatch_nodes\{kernelpatch="fix-a",verdict="Failed"\} 0/);
  metrics.setVerdicts([], []);
  assert.doesNotMatch(await metrics.registry.metrics(), /fix-a/);
});
