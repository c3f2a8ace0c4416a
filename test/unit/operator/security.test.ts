/** What the agents have of the node is what docs/security.md says. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { daemonSet } from '../../../operator/agents.ts';
import { tableOf } from '../../docs.ts';

interface PodSpec {
  readonly hostPID?: boolean;
  readonly hostNetwork?: boolean;
  readonly hostIPC?: boolean;
  readonly initContainers?: unknown;
  readonly volumes: readonly { readonly name: string; readonly hostPath?: { readonly path: string } }[];
  readonly containers: readonly { readonly securityContext: object; readonly volumeMounts: readonly { readonly name: string; readonly mountPath: string; readonly readOnly?: boolean }[] }[];
}

const settings = { namespace: 'kernelpatch', image: 'registry/kernelpatch', imagePullPolicy: 'Always', serviceAccount: 'kernelpatch-agent', logLevel: 'info', owner: { name: 'kernelpatch-operator', uid: 'uid-1' } };
const { spec } = (daemonSet([{}], settings) as unknown as { readonly spec: { readonly template: { readonly spec: PodSpec } } }).spec.template;

test('each mount of the node and each of its namespaces has its line, with what it is for', () => {
  const pathOf = new Map(spec.volumes.flatMap(({ name, hostPath }) => (hostPath ? [[name, hostPath.path] as const] : [])));
  const mounts = spec.containers.flatMap(({ volumeMounts }) => volumeMounts).flatMap(({ name, mountPath, readOnly }) => {
    const path = pathOf.get(name);
    return path === undefined ? [] : [`\`${path}\` at \`${mountPath}\` ${readOnly ? 'read-only' : 'writable'}`];
  });
  const namespaces = (['hostPID', 'hostNetwork', 'hostIPC'] as const).filter((name) => spec[name]);
  const said = tableOf('docs/security.md', 'of the node', 'how', 'what it is for');
  assert.deepEqual(said.map(([what, how]) => (how === 'hostPID' ? how : `${what} ${how}`)), [...mounts, ...namespaces]);
  for (const [what, , why = ''] of said) assert.ok(why.length > 20, `${what} has no reason`);
});

test('it is one container, privileged, that can not change its own files', () => {
  assert.equal(spec.containers.length, 1);
  assert.equal(spec.initContainers, undefined);
  assert.partialDeepStrictEqual(spec.containers[0]?.securityContext, { privileged: true, readOnlyRootFilesystem: true });
});
