import assert from 'node:assert/strict';
import { createPrivateKey, generateKeyPairSync } from 'node:crypto';
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { makeClaims } from '../../../cli/claims.ts';
import { signBundle } from '../../../cli/sign.ts';
import { bundleNameOf } from '../../../trust/verify.ts';
import { ROOT } from '../../cache.ts';
import { Authority } from '../../cluster/certificates.ts';
import { HOST_SEEN_BY_GUESTS, freePorts } from '../../cluster/control-plane.ts';
import { NAMESPACE, RELEASE } from '../../fleet/product.ts';
import { must } from '../../process.ts';
import { buildOras, credentialsFor, startRegistry } from '../../registry/registry.ts';
import type { SubjectName } from '../../subjects/subjects.ts';
import type { Scenario } from '../scenario.ts';
import { AGENT_START, MODULES, apply, assertHealthyKernel, effect, isCurrent, livePatch, patchOf, place, policy, runningRelease, untilNodes } from '../world.ts';
import type { World } from '../world.ts';

/** No node can reach it: only its mirror is there. */
const REGISTRY = 'registry.example';
const CVE = 'CVE-2026-31431';

export const signedBundle: Scenario = {
  name: 'signed-bundle',
  title: 'a live patch that was pushed to a registry is fetched from its mirror behind a private authority and a password, verified and Active; what no installed key has signed is refused with its reason and never loaded',
  async run(world) {
    const dir = join(world.fleet.dir, 'registry');
    mkdirSync(dir, { recursive: true });
    const pem = generateKeyPairSync('ec', { namedCurve: 'prime256v1', privateKeyEncoding: { type: 'pkcs8', format: 'pem' }, publicKeyEncoding: { type: 'spki', format: 'pem' } });
    writeFileSync(join(dir, 'release.pem'), pem.privateKey);
    writeFileSync(join(dir, 'release.pub'), pem.publicKey);
    const authority = await Authority.open(join(dir, 'authority'));
    const [port = 0] = await freePorts(1);
    const registry = await startRegistry({ dir, port, authority, withPassword: true });
    try {
      const image = await push(world, { dir, address: registry.address, authority: authority.ca });
      await requireSignatures(world, { dir, authority: authority.ca, mirror: `${HOST_SEEN_BY_GUESTS}:${port}` });
      const subject = world.subject('kp_first', runningRelease(world));
      const forged = await forge(world, pem.privateKey);
      await apply(world, livePatch(world, 'signed', { name: 'kp_first', source: { image, path: 'kp_first.ko' }, sha256: subject.sha256 }), ...forged.map(({ object }) => object), policy({ rollout: { maxInFlight: '100%', failureBudget: 10 } }));
      const done = await untilNodes(world, 'the signed one Active, all others refused', AGENT_START, (node) => isCurrent(node) && patchOf(node.status, 'kp_first')?.state === 'Active' && forged.every(({ name }) => patchOf(node.status, name)?.state === 'Refused'));
      for (const { status } of done) for (const { name, reason } of forged) assert.equal(patchOf(status, name)?.reason, reason);
    } finally {
      await registry.stop();
    }
    for (const node of world.fleet.nodes) {
      assert.match(await effect(node), /closed by/);
      assert.equal((await node.must("grep -o '^kp_[a-z]*' /proc/modules")).trim(), 'kp_first', 'nothing else was loaded');
      await assertHealthyKernel(node);
    }
  },
};

/** Pushed under its own name; by the name that its nodes know it is reached through the mirror only. */
async function push(world: World, { dir, address, authority }: { readonly dir: string; readonly address: string; readonly authority: string }): Promise<string> {
  copyFileSync(await buildOras(), join(dir, 'oras'));
  writeFileSync(join(dir, 'config.json'), credentialsFor(address, address.replace('127.0.0.1', HOST_SEEN_BY_GUESTS)));
  const { file } = world.subject('kp_first', runningRelease(world));
  const command = ['node', join(ROOT, 'cli/main.ts'), 'bundle', file, '--cve', CVE, '--key', join(dir, 'release.pem'), '--output', dir, '--push', `${address}/livepatches/first:1`, '--registry-config', join(dir, 'config.json')];
  const printed = await must(command, { env: { PATH: `${dir}:${process.env['PATH'] ?? ''}`, SSL_CERT_FILE: authority } });
  return (/image: '(.+)'/.exec(printed)?.[1] ?? '').replace(address, REGISTRY);
}

/** From now on nodes load only what release.pem has signed. */
async function requireSignatures(world: World, { dir, authority, mirror }: { readonly dir: string; readonly authority: string; readonly mirror: string }): Promise<void> {
  const { plane } = world.fleet;
  await plane.mustKubectl(['create', 'secret', 'generic', 'registry', '-n', NAMESPACE, '--type=kubernetes.io/dockerconfigjson', `--from-file=.dockerconfigjson=${join(dir, 'config.json')}`]);
  await plane.mustKubectl(['create', 'configmap', 'authority', '-n', NAMESPACE, `--from-file=ca.crt=${authority}`]);
  const values = ['verification.policy=Require', 'registry.pullSecret=registry', 'registry.caConfigMap=authority', `registry.mirrors[0].source=${REGISTRY}`, `registry.mirrors[0].mirror=${mirror}`];
  const set = [...values.flatMap((value) => ['--set', value]), '--set-file', `verification.keys.release\\.pub=${join(dir, 'release.pub')}`];
  const { code, stdout, stderr } = await plane.helm(['upgrade', RELEASE, join(ROOT, 'charts/kernelpatch'), '--namespace', NAMESPACE, '--reuse-values', '--wait', '--timeout', '5m', ...set]);
  assert.equal(code, 0, `${stderr}${stdout}`);
}

interface Forged {
  readonly name: string;
  readonly reason: string;
  readonly object: object;
}

/** Live patches on the nodes' own disks, each with something wrong about who vouches for it. */
async function forge(world: World, privateKey: string): Promise<readonly Forged[]> {
  const release = runningRelease(world);
  const stranger = generateKeyPairSync('ec', { namedCurve: 'prime256v1' }).privateKey;
  const bundleOf = (name: SubjectName, key: Parameters<typeof signBundle>[2]): Buffer => {
    const module = readFileSync(world.subject(name, release).file);
    return signBundle({ fileName: `${name}.ko`, module }, makeClaims(module, { cves: [CVE], irreversible: false }), key);
  };
  const rows: readonly (readonly [name: SubjectName, reason: string, bundle: Buffer | undefined])[] = [
    ['kp_second', 'SignatureMissing', undefined],
    ['kp_beside', 'SignatureUntrusted', bundleOf('kp_beside', stranger)],
    ['kp_over', 'ClaimsOfOtherFile', bundleOf('kp_second', createPrivateKey(privateKey))],
  ];
  const forged: Forged[] = [];
  for (const [name, reason, bundle] of rows) {
    const patch = await place(world, name);
    const file = join(world.fleet.dir, bundleNameOf(name));
    if (bundle !== undefined) writeFileSync(file, bundle);
    if (bundle !== undefined) await Promise.all(world.fleet.nodes.map((node) => node.copyIn(file, `${MODULES}/${bundleNameOf(`${name}.ko`)}`)));
    // replace: false, or the newest of them would be taken for the cumulative one that closes what the others close.
    forged.push({ name, reason, object: livePatch(world, name.replace('_', '-'), { ...patch, replace: false }) });
  }
  return forged;
}
