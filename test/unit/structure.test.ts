import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { test } from 'node:test';
import { HOST_PATH_PATTERN, IMAGE_PATTERN, KERNEL_RELEASE_PATTERN, MODULE_NAME_PATTERN } from '../../crds/common.ts';
import { ROOT } from '../cache.ts';

const PARTS = ['crds', 'kernel', 'trust', 'daemonset', 'operator', 'cli'] as const;
type Part = (typeof PARTS)[number];

/** What each part may import of ours besides itself (docs: the design's section 4). */
const MAY_IMPORT: Readonly<Record<Part, readonly string[]>> = { crds: [], kernel: [], trust: ['crds', 'kernel'], cli: ['kernel', 'trust'], daemonset: ['crds', 'kernel', 'trust', 'package.json'], operator: ['crds', 'package.json'] };
const MAY_USE: Readonly<Record<Part, readonly string[]>> = {
  crds: ['zod/mini', 'yaml'],
  kernel: [],
  trust: ['zod/mini'],
  cli: [],
  daemonset: ['zod/mini', 'pino', 'prom-client'],
  operator: ['@kubernetes/client-node', 'zod/mini', 'pino', 'prom-client'],
};

interface Source {
  readonly file: string;
  readonly part: Part;
  readonly text: string;
  readonly imports: readonly string[];
}

const sources: readonly Source[] = PARTS.flatMap((part) =>
  readdirSync(join(ROOT, part), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => {
      const file = join(part, name);
      const text = readFileSync(join(ROOT, file), 'utf8');
      return { file, part, text, imports: [...text.matchAll(/^(?:import|export) .*?from '([^']+)'|^import '([^']+)'/gm)].map((match) => match[1] ?? match[2] ?? '') };
    }),
);

test('crds imports nothing of ours, kernel nothing of Kubernetes, operator and daemonset share crds only', () => {
  for (const { file, part, imports } of sources) {
    for (const name of imports.filter((each) => each.startsWith('.'))) {
      const target = normalize(join(dirname(file), name)).split('/')[0] ?? '';
      assert.ok(target === part || MAY_IMPORT[part].includes(target), `${file} imports ${name}`);
    }
  }
});

test('each part uses only the packages it is meant to weigh', () => {
  for (const { file, part, imports } of sources) {
    for (const name of imports.filter((each) => !each.startsWith('.') && !each.startsWith('node:'))) assert.ok(MAY_USE[part].includes(name), `${file} imports ${name}`);
  }
});

test('only main.ts reads the clock and ends the process, only config.ts reads the environment; kube/ paces its I/O by the monotonic clock', () => {
  for (const { file, text } of sources) {
    const code = text.replaceAll(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, '');
    if (!/(^|\/)main\.ts$/.test(file)) assert.doesNotMatch(code, /Date\.now\(|new Date\(\)|process\.exit\(/, `${file} reads the clock or exits`);
    if (!/(^|\/)main\.ts$|^operator\/kube\//.test(file)) assert.doesNotMatch(code, /performance\.now\(/, `${file} reads the clock`);
    if (!/(^|\/)(config|main)\.ts$/.test(file)) assert.doesNotMatch(code, /process\.env/, `${file} reads the environment`);
  }
});

test('files that decide do no I/O', () => {
  const effects = /(^|\/)(main|config|generate|apply|api|host|server|http)\.ts$|^operator\/kube\//;
  for (const { file, imports } of sources) {
    if (effects.test(file)) continue;
    for (const name of imports) assert.doesNotMatch(name, /^node:(fs|http|https|net|tls|child_process|worker_threads)/, `${file} imports ${name}`);
  }
});

test('only host.ts starts programs, by lists of arguments: nowhere is there a shell, nor a string that one would read', () => {
  for (const { file, text, imports } of sources) {
    if (imports.includes('node:child_process')) {
      assert.match(file, /(^|\/)host\.ts$/, `${file} starts programs`);
      assert.match([...text.matchAll(/^import (.*) from 'node:child_process';$/gm)].map((match) => match[1]).join(), /^\{ spawn(Sync)? \}$/, `${file} has more than spawn`);
    }
    const code = text.replaceAll(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, '');
    assert.doesNotMatch(code, /\bshell\s*:|\b(?:exec|execFile|fork)(?:Sync)?\(\s*['"`]|['"`](?:\/bin\/|\/usr\/bin\/)?(?:sh|bash|dash|eval)['"`]|\bnew Function\b|\beval\(/, `${file} has a shell, or code in a string`);
  }
});

test('no value of a NodeKernel that becomes an argument can be taken for an option', () => {
  const release = '6.12.107+deb13-cloud-amd64';
  const image = `registry.example/livepatches/fix@sha256:${'a1'.repeat(32)}`;
  for (const [what, pattern, good] of [['name', MODULE_NAME_PATTERN, 'livepatch_a'], ['hostPath', HOST_PATH_PATTERN, '/var/lib/a.ko'], ['release', KERNEL_RELEASE_PATTERN, release], ['image', IMAGE_PATTERN, image]] as const) {
    assert.match(good, pattern);
    for (const bad of [`-${good}`, `--${good}`, ` ${good}`, `${good};id`, `${good} id`, `$(id)${good}`, `${good}\nid`, '']) assert.doesNotMatch(bad, pattern, `${what} may be ${JSON.stringify(bad)}`);
  }
});
