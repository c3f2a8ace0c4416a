/** What the agents have of the node is what docs/security.md says. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { daemonSet } from '../../../operator/agents.ts';
import type { AgentSettings } from '../../../operator/agents.ts';
import { tableOf } from '../../docs.ts';

interface PodSpec {
  readonly hostPID?: boolean;
  readonly hostNetwork?: boolean;
  readonly hostIPC?: boolean;
  readonly initContainers?: unknown;
  readonly volumes: readonly { readonly name: string; readonly hostPath?: { readonly path: string }; readonly configMap?: { readonly name: string }; readonly secret?: { readonly secretName: string }; readonly emptyDir?: { readonly medium?: string; readonly sizeLimit: string } }[];
  readonly containers: readonly { readonly securityContext: object; readonly volumeMounts: readonly { readonly name: string; readonly mountPath: string; readonly readOnly?: boolean }[] }[];
}

const settings: AgentSettings = { namespace: 'kernelpatch', image: 'registry/kernelpatch', imagePullPolicy: 'Always', serviceAccount: 'kernelpatch-agent', logLevel: 'info', verification: 'Require', registry: { pullSecret: 'registry.pullSecret', caConfigMap: 'registry.caConfigMap', mirrors: [], proxy: { https: '', noProxy: '' } }, owner: { name: 'kernelpatch-operator', uid: 'uid-1' } };
const { spec } = (daemonSet([{}], settings) as unknown as { readonly spec: { readonly template: { readonly spec: PodSpec } } }).spec.template;

/** As the documentation writes them, those with a name. */
function mountsOf(nameOf: (volume: PodSpec['volumes'][number]) => string | undefined): readonly string[] {
  const names = new Map(spec.volumes.map((volume) => [volume.name, nameOf(volume)]));
  return spec.containers
    .flatMap(({ volumeMounts }) => volumeMounts)
    .flatMap(({ name, mountPath, readOnly }) => (names.get(name) === undefined ? [] : [`${names.get(name)} at \`${mountPath}\` ${readOnly ? 'read-only' : 'writable'}`]));
}

test('each mount of the node and each of its namespaces has its line, with what it is for', () => {
  const mounts = mountsOf(({ hostPath }) => hostPath && `\`${hostPath.path}\``);
  const namespaces = (['hostPID', 'hostNetwork', 'hostIPC'] as const).filter((name) => spec[name]);
  const said = tableOf('docs/security.md', 'of the node', 'how', 'what it is for');
  assert.deepEqual(said.map(([what, how]) => (how === 'hostPID' ? how : `${what} ${how}`)), [...mounts, ...namespaces]);
  for (const [what, , why = ''] of said) assert.ok(why.length > 20, `${what} has no reason`);
});

test('each other mount has its line, too', () => {
  const mounts = mountsOf(({ configMap, secret, emptyDir }) => (configMap ? `ConfigMap \`${configMap.name}\`` : secret ? `Secret \`${secret.secretName}\`` : emptyDir && `memory, ${emptyDir.sizeLimit},`));
  const said = tableOf('docs/security.md', 'from the cluster', 'how', 'what it is for');
  assert.deepEqual(said.map(([what, how]) => `${what} ${how}`), mounts);
  for (const [what, , why = ''] of said) assert.ok(why.length > 20, `${what} has no reason`);
});

test('it is one container, privileged, that can not change its own files', () => {
  assert.equal(spec.containers.length, 1);
  assert.equal(spec.initContainers, undefined);
  assert.partialDeepStrictEqual(spec.containers[0]?.securityContext, { privileged: true, readOnlyRootFilesystem: true });
});
