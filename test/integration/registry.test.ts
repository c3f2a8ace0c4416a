/** Live patches in real registries: pushed by the command, fetched as the agent does it, by the program that the image has. */
import assert from 'node:assert/strict';
import { chmodSync, copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { connect } from 'node:net';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { after, before, test } from 'node:test';
import { fetchLivePatch } from '../../daemonset/registry/fetch.ts';
import { realRegistry } from '../../daemonset/registry/host.ts';
import type { RegistrySettings } from '../../daemonset/registry/host.ts';
import { parseReference } from '../../trust/artifact.ts';
import type { Mirror } from '../../trust/artifact.ts';
import { readKeys } from '../../trust/keys.ts';
import { sha256Of } from '../../trust/verify.ts';
import { ROOT } from '../cache.ts';
import { Authority } from '../cluster/certificates.ts';
import { freePorts } from '../cluster/control-plane.ts';
import { must, stopAllDaemons } from '../process.ts';
import { startHostileRegistry } from '../registry/hostile.ts';
import type { HostileRegistry } from '../registry/hostile.ts';
import { NAME, buildOras, credentialsFor, startRegistry } from '../registry/registry.ts';
import type { RealRegistry } from '../registry/registry.ts';
import { aModule } from '../simulated/module.ts';
import { PATCHED } from '../simulated/signed.ts';

const MODULE = aModule({ patches: [PATCHED] });
const FILE = '6.12.107.ko';

/** Readable by nobody, as whom oras runs. */
const dir = mkdtempSync(join(tmpdir(), 'registry-'));
let settings: RegistrySettings;
let registry: RealRegistry;
let mirror: RealRegistry;
let hostile: HostileRegistry;
/** By digest, as the command printed it. */
let image: string;

before(async () => {
  chmodSync(dir, 0o755);
  const oras = join(dir, 'oras');
  copyFileSync(await buildOras(), oras);
  const authority = await Authority.open(join(dir, 'authority'));
  const [port = 0, mirrorPort = 0] = await freePorts(2);
  hostile = await startHostileRegistry(authority);
  registry = await startRegistry({ dir: join(dir, 'registry'), port, authority, withPassword: true });
  mirror = await startRegistry({ dir: join(dir, 'mirror'), port: mirrorPort, authority });
  const credentialsFile = join(dir, 'config.json');
  writeFileSync(credentialsFile, credentialsFor(registry.address, `${NAME}:${port}`));
  settings = { oras, credentialsFile, findNodeCertificates: () => Promise.resolve(authority.ca), certificates: undefined, proxy: { https: undefined, except: undefined }, timeoutMilliseconds: 20_000 };
  image = await push();
});

after(async () => {
  await stopAllDaemons();
  await hostile.stop();
  rmSync(dir, { recursive: true });
});

async function push(): Promise<string> {
  writeFileSync(join(dir, FILE), MODULE);
  await must(['openssl', 'ecparam', '-name', 'prime256v1', '-genkey', '-noout', '-out', join(dir, 'key.pem')]);
  await must(['openssl', 'ec', '-in', join(dir, 'key.pem'), '-pubout', '-out', join(dir, 'key.pub')]);
  const command = ['node', join(ROOT, 'cli/main.ts'), 'bundle', join(dir, FILE), '--cve', 'CVE-2026-31431', '--key', join(dir, 'key.pem'), '--output', dir];
  const printed = await must([...command, '--push', `${registry.address}/livepatches/fix:1`, '--registry-config', settings.credentialsFile ?? ''], {
    env: { PATH: `${dir}:${process.env['PATH'] ?? ''}`, SSL_CERT_FILE: await settings.findNodeCertificates() ?? '' },
  });
  return /image: '(.+)'/.exec(printed)?.[1] ?? '';
}

interface Given {
  readonly settings?: Partial<RegistrySettings>;
  readonly image?: string;
  readonly mirrors?: readonly Mirror[];
}

async function fetched(given: Given = {}) {
  const reference = parseReference(given.image ?? image);
  assert.ok(reference, `${given.image ?? image} is a reference`);
  const key = join(dir, 'key.pub');
  const context = { registry: realRegistry({ ...settings, ...given.settings }), mirrors: given.mirrors ?? [], ring: readKeys([{ name: basename(key), text: readFileSync(key, 'utf8') }]) };
  return fetchLivePatch(context, { reference, path: FILE, sha256: sha256Of(MODULE) });
}

const refusalOf = async (given: Given) => {
  const result = await fetched(given);
  return result.ok ? undefined : result.refusal;
};

test('what the command pushed is fetched to the byte, with a password and by a certificate of a private authority', async () => {
  const result = await fetched();
  assert.ok(result.ok, JSON.stringify(result));
  assert.ok(result.module.equals(MODULE));
  assert.ok(result.bundle.equals(readFileSync(join(dir, `${FILE}.sigstore.json`))));
});

test('the authority may be one that the chart gives, beside those of the node', async () => {
  const result = await fetched({ settings: { findNodeCertificates: () => Promise.resolve('/dev/null'), certificates: join(dir, 'authority') } });
  assert.ok(result.ok, JSON.stringify(result));
});

test('without the password, the authority, the program, the artifact or the registry the reason is another one each', async () => {
  const missing = image.replace(/[0-9a-f]{64}$/, 'a1'.repeat(32));
  const reasons = await Promise.all(
    [
      { settings: { credentialsFile: undefined } },
      { settings: { findNodeCertificates: () => Promise.resolve('/dev/null') } },
      { settings: { oras: join(dir, 'nothing') } },
      { image: missing },
      { image: image.replace(registry.address, '127.0.0.1:1') },
      { image: image.replace(registry.address, 'registry.invalid') },
    ].map(async (given) => (await refusalOf(given))?.reason),
  );
  assert.deepEqual(reasons, ['RegistryDenied', 'RegistryUntrusted', 'RegistryToolMissing', 'ArtifactMissing', 'RegistryUnreachable', 'RegistryUnreachable']);
});

test('where only a mirror can be reached, it has the same artifact, and its signature with it', async () => {
  const env = { SSL_CERT_FILE: await settings.findNodeCertificates() ?? '' };
  await must([settings.oras, 'cp', '--no-tty', '--to-plain-http=false', '--from-oci-layout', `${join(dir, `${FILE}.oci`)}@${image.split('@')[1]}`, `${mirror.address}/copies/livepatches/fix`], { env });
  const result = await fetched({ image: image.replace(registry.address, 'registry.invalid'), mirrors: [{ source: 'registry.invalid', mirror: `${mirror.address}/copies` }] });
  assert.ok(result.ok, JSON.stringify(result));
});

test('a proxy is gone through', async () => {
  const asked: string[] = [];
  const proxy = createServer();
  proxy.on('connect', ({ url = '' }, client) => {
    asked.push(url);
    const server = connect(Number(url.split(':')[1]), '127.0.0.1', () => {
      client.write('HTTP/1.1 200 Connection Established\r\n\r\n');
      server.pipe(client).pipe(server);
    });
    server.on('error', () => client.destroy());
    client.on('error', () => server.destroy());
  });
  await new Promise<void>((resolve) => {
    proxy.listen(0, '127.0.0.1', resolve);
  });
  const named = registry.address.replace('127.0.0.1', NAME);
  const result = await fetched({ image: image.replace(registry.address, named), settings: { proxy: { https: `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`, except: undefined } } });
  proxy.close();
  assert.ok(result.ok, JSON.stringify(result));
  assert.deepEqual([...new Set(asked)], [named]);
});

const HOSTILE: Readonly<Record<string, { readonly reason: string; readonly timeoutMilliseconds?: number }>> = {
  wrong: { reason: 'ArtifactDigestMismatch' },
  endless: { reason: 'ArtifactTooLarge' },
  circle: { reason: 'RegistryFailed' },
  elsewhere: { reason: 'RegistryUnreachable' },
  silent: { reason: 'RegistryUnreachable', timeoutMilliseconds: 1000 },
  denied: { reason: 'RegistryDenied' },
};

for (const [behaviour, { reason, timeoutMilliseconds = 20_000 }] of Object.entries(HOSTILE)) {
  test(`a registry whose answer is ${behaviour} is refused as ${reason}`, async () => {
    const refusal = await refusalOf({ image: `${hostile.address}/${behaviour}/fix@sha256:${'a1'.repeat(32)}`, settings: { timeoutMilliseconds } });
    assert.equal(refusal?.reason, reason, refusal?.message);
    assert.doesNotMatch(refusal?.message ?? '', /[^\u0020-\u007E]/);
  });
}

test('a body without an end is read to its bound, and not kept', async () => {
  const asking = realRegistry(settings).fetch({ place: `${hostile.address}/endless/fix`, kind: 'blob', sha256: 'a1'.repeat(32), limitBytes: 100_000 });
  assert.deepEqual(await asking, { kind: 'TooLarge' });
});
