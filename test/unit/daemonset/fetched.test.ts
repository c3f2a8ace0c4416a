/** The real agent with live patches from a registry, on a simulated machine. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FETCHED_DIRECTORY, fetchedPath } from '../../../crds/nodekernel.ts';
import type { WantedLivePatch } from '../../../crds/nodekernel.ts';
import { JOURNAL_PATH } from '../../../daemonset/journal.ts';
import type { RegistryAnswer } from '../../../daemonset/registry/host.ts';
import { bundleNameOf } from '../../../trust/verify.ts';
import { WRITE_FATES } from '../../simulated/disk.ts';
import type { WriteFate } from '../../simulated/disk.ts';
import { aModule } from '../../simulated/module.ts';
import { HOST_PATH, aNode, aWanted, isSettled, sha256Of } from '../../simulated/node.ts';
import type { SimulatedNode } from '../../simulated/node.ts';
import { aLivePatchArtifact, simulatedRegistry } from '../../simulated/registry.ts';
import type { Artifact, SimulatedRegistry } from '../../simulated/registry.ts';
import { PATCHED, aSigner, signFile } from '../../simulated/signed.ts';

const SIGNER = aSigner();
const MODULE = aModule({ patches: [PATCHED] });
const SHA256 = sha256Of(MODULE);
const BUNDLE = signFile(SIGNER, MODULE);
const PATH = '6.12.107.ko';
const PLACE = 'registry.example/livepatches/fix';
const ARTIFACT = aLivePatchArtifact(PATH, MODULE, BUNDLE);
const KEPT = fetchedPath(SHA256);

const imageOf = ({ sha256 }: Artifact): string => `${PLACE}@sha256:${sha256}`;
const fromRegistry = (changes: Partial<WantedLivePatch> = {}): WantedLivePatch => aWanted({ sha256: SHA256, image: imageOf(ARTIFACT), path: PATH, hostPath: KEPT, cves: ['CVE-2026-31431'], ...changes });

interface Arranged {
  readonly node: SimulatedNode;
  readonly registry: SimulatedRegistry;
}

function arrange(wanted: WantedLivePatch = fromRegistry(), lies: Record<string, RegistryAnswer> = {}, diesAtEffect?: number): Arranged {
  const node = aNode();
  node.machine.set('/proc/kallsyms', 'ffffffff81234560 t version_proc_show');
  node.machine.set('/sys/kernel/tracing/available_filter_functions', 'version_proc_show');
  node.machine.set('/sys/kernel/tracing/enabled_functions', '');
  node.machine.files.delete(HOST_PATH);
  const registry = simulatedRegistry({ [PLACE]: ARTIFACT }, lies);
  node.registries = { registry, mirrors: [] };
  node.verification = { policy: 'Require', readKeyFiles: () => Promise.resolve([{ name: 'release.pub', text: SIGNER.publicPEM }]) };
  node.want([wanted]);
  node.start(diesAtEffect);
  return { node, registry };
}

const keptFiles = ({ machine }: SimulatedNode): readonly string[] => [...machine.files.keys()].filter((path) => path.startsWith(FETCHED_DIRECTORY));

test('a live patch is fetched once, verified, kept by its digest and loaded, also by the next boot', async () => {
  const { node, registry } = arrange();
  await using _ = node;
  const status = await node.settle();
  assert.equal(node.report()?.state, 'Active');
  assert.equal(status.boot?.state, 'Kept');
  assert.deepEqual(keptFiles(node).toSorted(), [KEPT, bundleNameOf(KEPT)]);
  assert.equal(registry.asked.length, 3);
});

test('what is withdrawn while it is fetched is not loaded', async () => {
  const { node, registry } = arrange();
  await using _ = node;
  await node.stop();
  node.registries = {
    registry: {
      fetch: async (request) => {
        node.deafen();
        node.want([fromRegistry({ desired: 'Absent' })]);
        return registry.fetch(request);
      },
    },
    mirrors: [],
  };
  node.start();
  await node.until('the withdrawal is reported', () => node.object.status?.observedGeneration === node.object.metadata.generation);
  assert.deepEqual(node.machine.asked, []);
});

test('a new agent asks no registry for what is loaded', async () => {
  const { node, registry } = arrange();
  await using _ = node;
  await node.settle();
  await node.stop();
  registry.asked.length = 0;
  node.start();
  await node.settle();
  assert.equal(node.report()?.state, 'Active');
  assert.deepEqual(registry.asked, []);
});

test('what a registry does not give is Refused with its reason, and loaded once it does', async () => {
  const lies: Record<string, RegistryAnswer> = { [PLACE]: { kind: 'Failed', stderr: 'Error: Get "https://registry.example/v2/": dial tcp: lookup registry.example: no such host\n' } };
  const { node } = arrange(fromRegistry(), lies);
  await using _ = node;
  await node.settle();
  assert.deepEqual([node.report()?.state, node.report()?.reason], ['Refused', 'RegistryUnreachable']);
  assert.deepEqual(keptFiles(node), []);
  delete lies[PLACE];
  await node.until('it is loaded', () => node.report()?.state === 'Active');
});

test('an artifact that no installed key has signed leaves nothing on the node', async () => {
  const artifact = aLivePatchArtifact(PATH, MODULE, signFile(aSigner(), MODULE));
  const { node } = arrange(fromRegistry({ image: imageOf(artifact) }));
  await using _ = node;
  node.registries = { registry: simulatedRegistry({ [PLACE]: artifact }), mirrors: [] };
  await node.stop();
  node.start();
  await node.settle();
  assert.equal(node.report()?.reason, 'SignatureUntrusted');
  assert.deepEqual([keptFiles(node), node.machine.asked], [[], []]);
});

test('where it is kept says the digest, whatever somebody has written into the intent', async () => {
  const { node } = arrange(fromRegistry({ hostPath: '/var/lib/misc/kernelpatch.journal.ko' }));
  await using _ = node;
  await node.settle();
  assert.equal(node.report()?.state, 'Active');
  assert.deepEqual(keptFiles(node).toSorted(), [KEPT, bundleNameOf(KEPT)]);
  assert.equal(node.machine.files.has('/var/lib/misc/kernelpatch.journal.ko'), false);
});

const NO_ARTIFACTS: Readonly<Record<string, Partial<WantedLivePatch>>> = { 'a tag': { image: `${PLACE}:1` }, 'options for a program': { image: `--config=/host/etc/x@sha256:${SHA256}` }, 'no path': { path: undefined } };

for (const [what, changes] of Object.entries(NO_ARTIFACTS)) {
  test(`an intent with ${what} asks no registry`, async () => {
    const { node, registry } = arrange(fromRegistry(changes));
    await using _ = node;
    await node.settle();
    assert.equal(node.report()?.reason, 'ArtifactMalformed');
    assert.deepEqual(registry.asked, []);
  });
}

test('a kept file that was damaged is fetched again, and what is not ours is removed', async () => {
  const { node } = arrange(fromRegistry(), { [PLACE]: { kind: 'TimedOut' } });
  await using _ = node;
  await node.settle();
  await node.stop();
  node.machine.files.set(KEPT, MODULE.subarray(0, 100));
  node.machine.files.set(bundleNameOf(KEPT), Buffer.alloc(0));
  node.machine.files.set(`${FETCHED_DIRECTORY}/strange`, Buffer.from('x'));
  node.registries = { registry: simulatedRegistry({ [PLACE]: ARTIFACT }), mirrors: [] };
  node.start();
  await node.until('it is loaded', () => node.report()?.state === 'Active');
  assert.deepEqual(keptFiles(node).toSorted(), [KEPT, bundleNameOf(KEPT)]);
});

test('a module that is signed anew comes with its new signature, from the new artifact', async () => {
  const next = aSigner();
  const artifact = aLivePatchArtifact(PATH, MODULE, signFile(next, MODULE));
  const { node } = arrange();
  await using _ = node;
  await node.settle();
  await node.stop();
  node.cutPower();
  node.registries = { registry: simulatedRegistry({ [PLACE]: artifact }), mirrors: [] };
  node.verification = { policy: 'Require', readKeyFiles: () => Promise.resolve([{ name: 'next.pub', text: next.publicPEM }]) };
  node.want([fromRegistry({ image: imageOf(artifact) })]);
  node.start();
  await node.settle();
  assert.equal(node.report()?.state, 'Active');
});

test('what was fetched goes with the live patch, and with the product', async () => {
  const { node } = arrange();
  await using _ = node;
  await node.settle();
  node.want([fromRegistry({ desired: 'Absent' })]);
  await node.settle();
  assert.equal(node.machine.asked.at(-1), 'rmmod livepatch_fix');
  assert.deepEqual(keptFiles(node), []);
  node.want([fromRegistry()]);
  await node.until('it is back', () => node.report()?.state === 'Active');
  node.unwant();
  await node.until('all is gone', () => keptFiles(node).length === 0);
});

for (const fate of WRITE_FATES) {
  test(`the power fails at each effect until it is given to the kernel, a write under way is ${fate}: the next boot's agent fetches what is missing, and nothing else is left`, async () => {
    let effect = 1;
    while (await survives(effect, fate)) effect += 1;
    assert.ok(effect > 3, 'there were effects to fail at: the bundle, the module and the stage');
  });
}

/** Returns whether the power failed before the kernel was asked. */
async function survives(effect: number, fate: WriteFate): Promise<boolean> {
  const { node } = arrange(fromRegistry(), {}, effect);
  await using _ = node;
  await node.until('the agent is dead or done', () => node.life.over || isSettled(node.object));
  if (!node.life.over || node.machine.asked.length > 0 || node.machine.files.has(JOURNAL_PATH)) return false;
  node.cutPower(fate);
  node.start();
  await node.until('it is loaded', () => node.report()?.state === 'Active');
  assert.deepEqual(keptFiles(node).toSorted(), [KEPT, bundleNameOf(KEPT)]);
  return true;
}
