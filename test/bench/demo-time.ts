/** How long a newcomer waits: `make demo` to the first node Active with everything built, and with COLD=1 from an empty cache too. */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ROOT } from '../cache.ts';
import type { Say } from '../fleet/fleet.ts';
import { round } from './figure.ts';
import type { Figure } from './figure.ts';

export async function demoTime(say: Say): Promise<readonly Figure[]> {
  const figures: Figure[] = [];
  if (process.env['COLD']) {
    const cache = mkdtempSync(join(tmpdir(), 'cold-cache-'));
    say('demo from an empty cache (15 minutes)');
    const cold = await firstActive({ KERNELPATCH_CACHE: cache });
    rmSync(cache, { recursive: true, force: true });
    figures.push({ name: 'demo-to-first-active-cold', value: cold, unit: 's', baseline: 'nothing is built; Debian packages, npm and Go modules are on the machine', goal: '<= 2100', ok: cold <= 2100 });
  }
  say('demo with everything built');
  const warm = await firstActive({});
  return [...figures, { name: 'demo-to-first-active-warm', value: warm, unit: 's', baseline: 'everything is built; image and chart are loaded and installed anew', goal: '<= 120', ok: warm <= 120 }];
}

/** Seconds until the demo printed a node as Active; it has ended afterwards. */
function firstActive(env: Readonly<Record<string, string>>): Promise<number> {
  const started = performance.now();
  return new Promise((resolve, reject) => {
    const child = spawn('make', ['--silent', 'demo', 'ONESHOT=1'], { cwd: ROOT, env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'ignore'] });
    let active: number | undefined;
    let printed = '';
    child.stdout.on('data', (chunk: Buffer) => {
      printed += chunk.toString();
      if (active === undefined && /node-\d .* Active +kp_first/.test(printed)) active = round((performance.now() - started) / 1000);
    });
    child.on('error', reject);
    child.on('close', (code) => (code === 0 && active !== undefined ? resolve(active) : reject(new Error(`make demo ONESHOT=1: exit ${code}\n${printed.slice(-2000)}`))));
  });
}
