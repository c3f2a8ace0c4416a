/** What it costs to fetch a live patch of 2 MB and to verify it, against curl that fetches the same bytes from the same registry. On this machine: no node is needed for it. */
import assert from 'node:assert/strict';
import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { makeLayout } from '../../cli/layout.ts';
import { fetchLivePatch } from '../../daemonset/registry/fetch.ts';
import { realRegistry } from '../../daemonset/registry/host.ts';
import { sha256Of } from '../../trust/verify.ts';
import { Authority } from '../cluster/certificates.ts';
import { freePorts } from '../cluster/control-plane.ts';
import { must } from '../process.ts';
import { PASSWORD, USER, buildOras, credentialsFor, startRegistry } from '../registry/registry.ts';
import { aModule } from '../simulated/module.ts';
import { PATCHED, aSigner, ringOf, signFile } from '../simulated/signed.ts';
import { percentile, round } from './figure.ts';
import type { Figure } from './figure.ts';

const ROUNDS = 15;
const BYTES = 2 * 1024 * 1024;
const FILE = 'fix.ko';

export async function fetchCost(): Promise<readonly Figure[]> {
  const dir = mkdtempSync(join(tmpdir(), 'fetch-'));
  chmodSync(dir, 0o755);
  const authority = await Authority.open(join(dir, 'authority'));
  const [port = 0] = await freePorts(1);
  const registry = await startRegistry({ dir: join(dir, 'registry'), port, authority, withPassword: true });
  try {
    const oras = join(dir, 'oras');
    copyFileSync(await buildOras(), oras);
    const credentialsFile = join(dir, 'config.json');
    writeFileSync(credentialsFile, credentialsFor(registry.address));
    const signer = aSigner();
    const module = Buffer.concat([aModule({ patches: [PATCHED] }), Buffer.alloc(BYTES)]).subarray(0, BYTES);
    const layout = makeLayout(FILE, module, signFile(signer, module));
    for (const [path, bytes] of layout.files) {
      mkdirSync(join(dir, 'layout', dirname(path)), { recursive: true });
      writeFileSync(join(dir, 'layout', path), bytes);
    }
    await must([oras, 'cp', '--no-tty', '--to-plain-http=false', '--to-registry-config', credentialsFile, '--from-oci-layout', `${join(dir, 'layout')}@sha256:${layout.sha256}`, `${registry.address}/fix`], { env: { SSL_CERT_FILE: authority.ca } });
    const settings = { oras, credentialsFile, findNodeCertificates: () => Promise.resolve(authority.ca), certificates: undefined, proxy: { https: undefined, except: undefined }, timeoutMilliseconds: 20_000 };
    const context = { registry: realRegistry(settings), mirrors: [], ring: ringOf(signer) };
    const order = { reference: { registry: registry.address, repository: 'fix', sha256: layout.sha256 }, path: FILE, sha256: sha256Of(module) };
    const curl = ['curl', '--silent', '--fail', '--cacert', authority.ca, '--user', `${USER}:${PASSWORD}`, '--output', join(dir, 'curled'), `https://${registry.address}/v2/fix/blobs/sha256:${order.sha256}`];
    const [ours, theirs]: [number[], number[]] = [[], []];
    for (let count = 0; count < ROUNDS; count += 1) {
      ours.push(await seconds(async () => assert.ok((await fetchLivePatch(context, order)).ok)));
      theirs.push(await seconds(() => must(curl)));
    }
    const [fetch, plain] = [percentile(ours, 0.5), percentile(theirs, 0.5)];
    return [
      {
        name: 'fetch-cost', value: round(fetch / plain), unit: 'of a plain curl of the module', goal: '<= 8', ok: fetch / plain <= 8,
        baseline: `p50 of ${ROUNDS}: manifest, bundle, signature and ${BYTES / 1024 / 1024} MiB ${round(fetch)} s, curl ${round(plain)} s; TLS and a password in both`,
      },
    ];
  } finally {
    await registry.stop();
    rmSync(dir, { recursive: true });
  }
}

async function seconds(act: () => Promise<unknown>): Promise<number> {
  const begun = performance.now();
  await act();
  return (performance.now() - begun) / 1000;
}
