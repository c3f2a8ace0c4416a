/** From a kind's zod schemas to the CustomResourceDefinition that the API server takes. */
import * as z from 'zod/mini';
import { GROUP, PATTERN_MESSAGE, VERSION } from './common.ts';
import type { CelRule, KindDefinition } from './common.ts';

/** `kubectl get kernelpatching` lists all three kinds. kubectl puts a category before a kind of the same name, so it must not be one. */
export const CATEGORY = 'kernelpatching';

export type Schema = z.core.JSONSchema.BaseSchema;

/** zod bounds every integer by what a double holds exactly; the API server's integers are int64 and need no such bound. */
function dropSafeIntegerBounds(schema: Schema): void {
  if (schema.minimum === Number.MIN_SAFE_INTEGER) delete schema.minimum;
  if (schema.maximum === Number.MAX_SAFE_INTEGER) delete schema.maximum;
}

function rulesOf(schema: Schema): readonly CelRule[] {
  return (schema['x-kubernetes-validations'] as readonly CelRule[] | undefined) ?? [];
}

/** The API server answers a pattern with the pattern; as a CEL rule it answers with what to write. */
function patternToRule(schema: Schema): void {
  const message = schema[PATTERN_MESSAGE];
  if (typeof message !== 'string' || schema.pattern === undefined) return;
  schema['x-kubernetes-validations'] = [{ rule: `self.matches(r'${schema.pattern}')`, message }, ...rulesOf(schema)];
  delete schema[PATTERN_MESSAGE];
  delete schema.pattern;
}

/** The OpenAPI v3 schema of one part of a kind. Throws where zod or assertStructural finds what the API server would refuse. */
export function structuralSchema(type: z.ZodMiniType): Schema {
  return z.toJSONSchema(type, {
    target: 'openapi-3.0',
    io: 'input',
    reused: 'inline',
    cycles: 'throw',
    unrepresentable: 'throw',
    override: ({ jsonSchema }) => {
      dropSafeIntegerBounds(jsonSchema);
      patternToRule(jsonSchema);
    },
  });
}

/** Words of JSON schema that a structural schema may not use, or that make the API server drop or refuse what zod means. */
const REFUSED = ['$ref', '$defs', 'definitions', 'oneOf', 'anyOf', 'allOf', 'not', 'const', 'propertyNames'] as const;
/** In a pattern or a CEL rule: what JavaScript's regular expressions can and the API server's RE2 can not. */
const LOOKAROUND = /\(\?<?[=!]/;

function problemsAt(schema: Schema, path: string): string[] {
  const problems = REFUSED.filter((word) => word in schema).map((word) => `${word} is not structural: write optional members and a CEL rule`);
  if (schema.additionalProperties === false) problems.push('additionalProperties: false stands against pruning: use z.object, not z.strictObject');
  if ([schema.pattern ?? '', ...rulesOf(schema).map((rule) => rule.rule)].some((text) => LOOKAROUND.test(text))) problems.push('the pattern looks around, which RE2 can not: write a CEL rule');
  if (PATTERN_MESSAGE in schema) problems.push('has a patternMessage without a pattern: add z.regex');
  if (typeof schema.type !== 'string') problems.push('has no single type');
  return problems.map((problem) => `${path}: ${problem}`);
}

function problemsBelow(schema: Schema, path: string): string[] {
  const members = Object.entries(schema.properties ?? {}).map(([name, member]) => [`${path}.${name}`, member as Schema] as const);
  const undocumented = members.filter(([, member]) => !member.description).map(([where]) => `${where}: has no description for kubectl explain: add doc(...)`);
  const nested: (readonly [string, Schema])[] = [...members];
  if (isSchema(schema.items)) nested.push([`${path}[]`, schema.items]);
  if (isSchema(schema.additionalProperties)) nested.push([`${path}{}`, schema.additionalProperties]);
  return [...undocumented, ...nested.flatMap(([where, member]) => [...problemsAt(member, where), ...problemsBelow(member, where)])];
}

function isSchema(value: unknown): value is Schema {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Returns when the schema is one the API server takes as structural with text for every field; else throws, naming each field. */
export function assertStructural(schema: Schema, path: string): void {
  const problems = [...problemsAt(schema, path), ...problemsBelow(schema, path)];
  if (problems.length > 0) throw new Error(`the schema can not be given to the API server:\n  ${problems.join('\n  ')}`);
}

/** The CustomResourceDefinition of a kind. Throws when its schema is not structural. */
export function customResourceDefinition(kind: KindDefinition) {
  const schema: Schema = {
    description: kind.description,
    type: 'object',
    properties: { spec: structuralSchema(kind.spec), status: structuralSchema(kind.status) },
    ...(kind.specRequired && { required: ['spec'] }),
  };
  assertStructural(schema, kind.kind);
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: `${kind.plural}.${GROUP}` },
    spec: {
      group: GROUP,
      scope: 'Cluster',
      names: {
        kind: kind.kind,
        listKind: `${kind.kind}List`,
        plural: kind.plural,
        singular: kind.singular,
        shortNames: kind.shortNames,
        categories: [CATEGORY],
      },
      versions: [
        {
          name: VERSION,
          served: true,
          storage: true,
          subresources: { status: {} },
          additionalPrinterColumns: kind.columns,
          schema: { openAPIV3Schema: schema },
        },
      ],
    },
  };
}
