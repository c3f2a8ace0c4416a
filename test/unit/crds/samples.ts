/** The sample objects of crds/samples, as the tests of zod and of the API server read them. */
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import { KINDS } from '../../../crds/generate.ts';
import { ROOT } from '../../cache.ts';

export interface Sample {
  readonly file: string;
  readonly path: string;
  readonly object: { readonly kind: string; readonly metadata: { readonly name: string }; readonly spec?: unknown };
  /** Part of the API server's refusal; undefined for a sample that is accepted. */
  readonly expect: string | undefined;
}

const DIRECTORY = join(ROOT, 'crds/samples');

function readSample(file: string): Sample {
  const path = join(DIRECTORY, file);
  const text = readFileSync(path, 'utf8');
  const expect = /^# expect: (.+)\n/.exec(text)?.[1];
  if (file.endsWith('-FAIL.yaml') !== (expect !== undefined)) throw new Error(`${file}: -FAIL files, and only they, begin with "# expect: "`);
  return { file, path, object: parse(text) as Sample['object'], expect };
}

export const SAMPLES: readonly Sample[] = readdirSync(DIRECTORY).filter((file) => file.endsWith('.yaml')).map(readSample);
export const GOOD_SAMPLES = SAMPLES.filter((sample) => sample.expect === undefined);
export const FAIL_SAMPLES = SAMPLES.filter((sample) => sample.expect !== undefined);

/** The kind of a sample; throws for a kind that is not ours. */
export function definitionOf(sample: Sample) {
  const definition = KINDS.find((kind) => kind.kind === sample.object.kind);
  if (!definition) throw new Error(`${sample.file}: no such kind: ${sample.object.kind}`);
  return definition;
}
