/** The generated CustomResourceDefinitions and the samples, against a real API server. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { KINDS } from '../../crds/generate.ts';
import { CATEGORY, customResourceDefinition } from '../../crds/structural.ts';
import type { Schema } from '../../crds/structural.ts';
import { ROOT } from '../cache.ts';
import { startControlPlane } from '../cluster/control-plane.ts';
import type { ControlPlane } from '../cluster/control-plane.ts';
import { FAIL_SAMPLES, GOOD_SAMPLES } from '../unit/crds/samples.ts';
import { waitFor } from '../wait.ts';

const dir = mkdtempSync(join(tmpdir(), 'kernelpatch-crds-'));
let plane: ControlPlane;

before(async () => {
  plane = await startControlPlane({ dir, components: 'api' });
  await plane.mustKubectl(['apply', '--server-side', '-f', join(ROOT, 'crds/generated')]);
  await plane.mustKubectl(['wait', '--for=condition=Established', '--timeout=30s', 'crd', '--all']);
  await waitFor('the API server to serve the three kinds', { seconds: 30 }, async () => (await plane.kubectl(['get', 'kernelpatches,patchpolicies,nodekernels'])).code === 0 || undefined);
});

after(async () => {
  await plane.stop();
  rmSync(dir, { recursive: true });
});

test('the API server finds nothing wrong with the schemas', async () => {
  const list = JSON.parse(await plane.mustKubectl(['get', 'crd', '-o', 'json'])) as { items: { metadata: { name: string }; status: { conditions: { type: string; status: string }[] } }[] };
  assert.deepEqual(new Set(list.items.map((crd) => crd.metadata.name)), new Set(KINDS.map((kind) => `${kind.plural}.kernelpatch.dev`)));
  for (const crd of list.items) {
    assert.deepEqual(new Set(crd.status.conditions.map((condition) => `${condition.type}=${condition.status}`)), new Set(['Established=True', 'NamesAccepted=True']));
  }
});

for (const sample of GOOD_SAMPLES) {
  test(`${sample.file} is accepted`, async () => {
    await plane.mustKubectl(['apply', '-f', sample.path]);
  });
}

for (const sample of FAIL_SAMPLES) {
  test(`${sample.file} is refused: ${sample.expect}`, async () => {
    const { code, stdout, stderr } = await plane.kubectl(['apply', '--dry-run=server', '-f', sample.path]);
    assert.equal(code, 1, stdout);
    assert.ok(stderr.includes(sample.expect ?? ''), stderr);
  });
}

async function specOf(name: string): Promise<unknown> {
  return JSON.parse(await plane.mustKubectl(['get', name, '-o', 'jsonpath={.spec}']));
}

test('an empty PatchPolicy is completed with the defaults', async () => {
  await plane.mustKubectl(['apply', '-f', join(ROOT, 'crds/samples/patchpolicy-default.yaml')]);
  assert.deepEqual(await specOf('patchpolicy/default'), {
    mode: 'Apply',
    maxDisruption: 'LivePatch',
    nodeSelector: {},
    patchSelector: {},
    rollout: { maxInFlight: '25%', maxUnavailable: '1', failureBudget: 1 },
    livePatch: { transitionSeconds: 75, atBoot: true, taintUntilPatched: false },
    drain: { timeoutSeconds: 900, onTimeout: 'Park', deleteEmptyDirData: false, force: false, skipWaitForDeleteTimeoutSeconds: 0 },
    reboot: { timeoutSeconds: 600, onKexecFailure: 'Firmware', setDefault: false, install: 'None', installSeconds: 900 },
  });
});

test('a member of rollout that is left out has its default beside the one that is given', async () => {
  await plane.mustKubectl(['apply', '-f', '-'], JSON.stringify({ apiVersion: 'kernelpatch.dev/v1alpha1', kind: 'PatchPolicy', metadata: { name: 'partial' }, spec: { rollout: { failureBudget: 7 } } }));
  assert.partialDeepStrictEqual(await specOf('patchpolicy/partial'), { rollout: { maxInFlight: '25%', failureBudget: 7 } });
});

test('a KernelPatch is completed with: not withdrawn, cumulative, reversible', async () => {
  await plane.mustKubectl(['apply', '-f', join(ROOT, 'crds/samples/kernelpatch-live-patch.yaml')]);
  assert.partialDeepStrictEqual(await specOf('kernelpatch/livepatch-2026-11-3'), { withdrawn: false, kernels: [{ livePatch: { replace: true, reversible: true } }, {}] });
});

test('status is written through its own subresource and shown in the columns', async () => {
  await plane.mustKubectl(['apply', '-f', join(ROOT, 'crds/samples/kernelpatch-live-patch.yaml')]);
  const nodes = { selected: 10, closed: 3, open: 7, inProgress: 1, waiting: 2, blocked: 1, failed: 1, unknown: 2 };
  const ready = { type: 'Ready', status: 'False', reason: 'NodesOpen', message: '7 of 10 nodes are open', lastTransitionTime: '2026-11-24T10:00:00Z', observedGeneration: 1 };
  const patch = JSON.stringify({ spec: { withdrawn: true }, status: { observedGeneration: 1, closed: '3/10', nodes, conditions: [ready] } });
  await plane.mustKubectl(['patch', 'kernelpatch/livepatch-2026-11-3', '--subresource=status', '--type=merge', '-p', patch]);
  const printed = await plane.mustKubectl(['get', 'kp', 'livepatch-2026-11-3', '-o', 'wide']);
  const [header = '', row = ''] = printed.trim().split('\n').map((line) => line.replaceAll(/ {2,}/g, '  '));
  assert.match(header, /^NAME  CLOSED  BLOCKED  FAILED  UNKNOWN  READY  REASON  AGE  CVES  MESSAGE$/);
  assert.match(row, /^livepatch-2026-11-3  3\/10  1  1  2  False  NodesOpen  \d+s  CVE-2026-31431  7 of 10 nodes are open$/);
  assert.partialDeepStrictEqual(await specOf('kernelpatch/livepatch-2026-11-3'), { withdrawn: false });
});

for (const kind of KINDS) {
  test(`kubectl get ${kind.shortNames[0]} prints the columns of ${kind.kind}`, async () => {
    const header = (await plane.mustKubectl(['get', `${kind.shortNames[0]}`])).split('\n')[0] ?? '';
    const columns = kind.columns.filter((column) => !column.priority).map((column) => column.name.toUpperCase());
    assert.deepEqual(header.trim().split(/\s{2,}/), ['NAME', ...columns]);
  });

  test(`kubectl explain has text for every field of ${kind.kind}`, async () => {
    const root = customResourceDefinition(kind).spec.versions[0]?.schema.openAPIV3Schema;
    for (const [path, members] of objectsIn(root ?? {}, kind.plural)) {
      const printed = squeeze(await plane.mustKubectl(['explain', path]));
      for (const [name, member] of Object.entries(members)) {
        assert.ok(member.description && printed.includes(squeeze(member.description)), `${path}.${name}: ${printed}`);
      }
    }
  });
}

const squeeze = (text: string) => text.replaceAll(/\s+/g, ' ');

/** Every object below a schema, by the path that kubectl explain takes, with its members. */
function objectsIn(schema: Schema, path: string): (readonly [string, Readonly<Record<string, Schema>>])[] {
  const inner = (schema.items ?? schema) as Schema;
  const members = inner.properties as Readonly<Record<string, Schema>> | undefined;
  if (!members) return [];
  return [[path, members], ...Object.entries(members).flatMap(([name, member]) => objectsIn(member, `${path}.${name}`))];
}

test('kubectl get kernelpatching lists all three kinds, and no kind is shadowed by that word', async () => {
  await plane.mustKubectl(['apply', ...GOOD_SAMPLES.flatMap((sample) => ['-f', sample.path])]);
  const printed = await plane.mustKubectl(['get', CATEGORY, '-o', 'name']);
  assert.deepEqual(new Set(printed.trim().split('\n').map((name) => name.split('.')[0])), new Set(KINDS.map((kind) => kind.singular)));
  for (const { object } of GOOD_SAMPLES) await plane.mustKubectl(['get', object.kind.toLowerCase(), object.metadata.name]);
});
