/** A real registry on this machine: TLS by a private authority, and a password where it is asked for. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { request } from 'node:https';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ROOT } from '../cache.ts';
import type { Authority } from '../cluster/certificates.ts';
import { HOST_SEEN_BY_GUESTS } from '../cluster/control-plane.ts';
import { startDaemon, stream, tailOf } from '../process.ts';
import type { Daemon } from '../process.ts';

export interface RealRegistry {
  /** HOST:PORT */
  readonly address: string;
  readonly stop: () => Promise<void>;
}

export interface RegistryOptions {
  readonly dir: string;
  readonly port: number;
  readonly authority: Authority;
  /** Only USER with PASSWORD may pull and push. */
  readonly withPassword?: boolean;
}

/** A name that no resolver knows: a proxy does. */
export const NAME = 'registry.test';
export const USER = 'node';
export const PASSWORD = 'for-tests-only';
/** bcrypt of PASSWORD with a salt that is no secret, as htpasswd -B makes it. */
const HTPASSWD = `${USER}:$2b$05$abcdefghijklmnopqrstuuZs.YZeLtYrzeLC44.kR5arqMlYS5RsS\n`;
const START_SECONDS = 20;

/** The program that the agent asks registries by, built when it is not there. */
export function buildOras(): Promise<string> {
  return stream([join(ROOT, 'daemonset/registry/oras/build.sh')]);
}

export async function startRegistry({ dir, port, authority, withPassword = false }: RegistryOptions): Promise<RealRegistry> {
  const program = await stream([join(ROOT, 'test/registry/get.sh')]);
  mkdirSync(dir, { recursive: true });
  const { cert, key } = await authority.issue({ name: 'registry', commonName: 'registry', altNames: ['IP:127.0.0.1', `IP:${HOST_SEEN_BY_GUESTS}`, `DNS:${NAME}`] });
  const address = `127.0.0.1:${port}`;
  const config = join(dir, 'config.json');
  writeFileSync(join(dir, 'htpasswd'), HTPASSWD);
  writeFileSync(
    config,
    JSON.stringify({
      version: 0.1,
      log: { level: 'warn', accesslog: { disabled: true } },
      storage: { filesystem: { rootdirectory: join(dir, 'data') } },
      http: { addr: address, tls: { certificate: cert, key } },
      ...(withPassword && { auth: { htpasswd: { realm: 'test', path: join(dir, 'htpasswd') } } }),
    }),
  );
  const daemon = startDaemon('docker-registry', [program, 'serve', config], { log: join(dir, 'log') });
  await answers(address, daemon);
  return { address, stop: () => daemon.stop() };
}

/** config.json with the password of these registries. */
export function credentialsFor(...addresses: readonly string[]): string {
  const auth = Buffer.from(`${USER}:${PASSWORD}`).toString('base64');
  return JSON.stringify({ auths: Object.fromEntries(addresses.map((address) => [address, { auth }])) });
}

async function answers(address: string, daemon: Daemon): Promise<void> {
  const deadline = Date.now() + START_SECONDS * 1000;
  while (Date.now() < deadline && daemon.running()) {
    if (await isThere(address)) return;
    await sleep(50);
  }
  throw new Error(`docker-registry does not answer on ${address}:\n${tailOf(daemon)}`);
}

/** It answers, be it with 401. */
function isThere(address: string): Promise<boolean> {
  return new Promise((resolve) => {
    const asking = request(`https://${address}/v2/`, { rejectUnauthorized: false, timeout: 1000 }, (response) => {
      response.resume();
      resolve(true);
    });
    asking.on('error', () => resolve(false));
    asking.end();
  });
}
