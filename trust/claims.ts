/**
 * What the signer of a live patch says about it: an in-toto statement whose subject is the module file and whose predicate are the claims. Nothing
 * is canonicalised: what is signed are the bytes of the statement as they are (DSSE).
 */
import * as z from 'zod/mini';
import { BUILD_ID_PATTERN, KERNEL_RELEASE_PATTERN, MODULE_NAME_PATTERN, SHA256_PATTERN } from '../crds/common.ts';
import { distrusted, trusted } from './refusal.ts';
import type { Judged } from './refusal.ts';

/** The predicate's type. Another one of these means other rules: it is not read by the rules of this one. */
export const CLAIMS_TYPE = 'https://kernelpatch.dev/claims/v1';
/** in-toto's own, and the one that cosign 3 still writes, with the same fields. */
const STATEMENT_TYPES = ['https://in-toto.io/Statement/v1', 'https://in-toto.io/Statement/v0.1'] as const;

/** A cumulative live patch has some hundred functions of 40 bytes. */
export const MAX_STATEMENT_BYTES = 256 * 1024;
const MAX_FUNCTIONS = 1024;
const MAX_CVES = 64;
const MAX_FILE_NAME = 255;

/** OBJECT:FUNCTION, and behind it ,POSITION where it is not the first of its name: as /sys/kernel/livepatch has it, but for ,1. */
const FUNCTION_PATTERN = /^[A-Za-z0-9_]+:[A-Za-z_][A-Za-z0-9_.$]*(,([2-9]|[1-9][0-9]+))?$/;
const CVE_PATTERN = /^CVE-[0-9]{4}-[0-9]{4,12}$/;

const once = (list: readonly string[]): boolean => new Set(list).size === list.length;

/**
 * What is said of one module. A field that is not listed here refuses the whole: it may say what the file must not be used for. The schemas of trust/ are
 * made when something is read: the agent does so a few times a month, and would hold them in its memory for good.
 */
const claimsSchema = () => z.strictObject({
  /** The module's name, as in /sys/kernel/livepatch. */
  name: z.string().check(z.maxLength(55), z.regex(MODULE_NAME_PATTERN)),
  /** The kernel it is built for. Without its build id: any build of that release. */
  kernel: z.strictObject({
    release: z.string().check(z.maxLength(64), z.regex(KERNEL_RELEASE_PATTERN)),
    buildID: z.optional(z.string().check(z.maxLength(64), z.regex(BUILD_ID_PATTERN))),
  }),
  /** The module's own build id. */
  buildID: z.string().check(z.maxLength(64), z.regex(BUILD_ID_PATTERN)),
  functions: z.array(z.string().check(z.maxLength(600), z.regex(FUNCTION_PATTERN))).check(z.minLength(1), z.maxLength(MAX_FUNCTIONS), z.refine(once, 'one is there twice')),
  cves: z.array(z.string().check(z.maxLength(24), z.regex(CVE_PATTERN))).check(z.minLength(1), z.maxLength(MAX_CVES), z.refine(once, 'one is there twice')),
  /** It is cumulative. */
  replace: z.boolean(),
  /** It may be disabled again. */
  reversible: z.boolean(),
});
export type Claims = z.infer<ReturnType<typeof claimsSchema>>;

/** cosign gives the file's name beside the digest; nothing is opened by it. */
const statementSchema = () => z.strictObject({
  _type: z.enum(STATEMENT_TYPES),
  subject: z
    .array(z.strictObject({ name: z.optional(z.string().check(z.maxLength(MAX_FILE_NAME))), digest: z.strictObject({ sha256: z.string().check(z.maxLength(64), z.regex(SHA256_PATTERN)) }) }))
    .check(z.minLength(1), z.maxLength(1)),
  predicateType: z.literal(CLAIMS_TYPE),
  predicate: claimsSchema(),
});

export interface ClaimedFile {
  /** Of the module file. */
  readonly sha256: string;
  readonly claims: Claims;
}

/** As cosign attest-blob makes it of the same claims, but for its type. */
export function writeStatement({ sha256, claims }: ClaimedFile, fileName: string): Buffer {
  const statement: z.infer<ReturnType<typeof statementSchema>> = {
    _type: STATEMENT_TYPES[0],
    subject: [{ name: fileName, digest: { sha256 } }],
    predicateType: CLAIMS_TYPE,
    predicate: claims,
  };
  return Buffer.from(JSON.stringify(statement));
}

/** Only of a statement whose signature was verified. */
export function readStatement(payload: Buffer): Judged<ClaimedFile> {
  if (payload.length > MAX_STATEMENT_BYTES) return distrusted('ClaimsMalformed', `the signed claims have ${payload.length} bytes, more than ${MAX_STATEMENT_BYTES}`);
  const json = parseJSON(payload);
  if (json === undefined) return distrusted('ClaimsMalformed', 'what was signed is no JSON: sign an in-toto statement, as `kernelpatch bundle` and `cosign attest-blob` do');
  const type = typeOf(json);
  if (type !== CLAIMS_TYPE) {
    return distrusted('ClaimsUnknown', `what was signed is ${type === undefined ? 'no in-toto statement' : `a statement of type ${type}`}, not claims about a live patch: sign one of type ${CLAIMS_TYPE}`);
  }
  const parsed = z.safeParse(statementSchema(), json);
  if (!parsed.success) return distrusted('ClaimsMalformed', `the signed claims are not as they must be: ${describeIssues(parsed.error.issues)}`);
  const [subject] = parsed.data.subject;
  return trusted({ sha256: subject?.digest.sha256 ?? '', claims: parsed.data.predicate });
}

/** undefined: it is none, or not in UTF-8. */
export function parseJSON(bytes: Buffer): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes));
  } catch {
    return undefined;
  }
}

function typeOf(json: unknown): string | undefined {
  const type = typeof json === 'object' && json !== null && 'predicateType' in json ? json.predicateType : undefined;
  return typeof type === 'string' ? JSON.stringify(type.slice(0, 200)).slice(1, -1) : undefined;
}

const MAX_ISSUES = 3;

/** The claims, or why they are none. */
export function readClaims(json: unknown): Claims | string {
  const parsed = z.safeParse(claimsSchema(), json);
  return parsed.success ? parsed.data : describeIssues(parsed.error.issues);
}

/** The first few, each with its place. What stands there is not repeated: it may be anything. */
export function describeIssues(issues: readonly z.core.$ZodIssue[]): string {
  const described = issues.slice(0, MAX_ISSUES).map(({ path, code, message }) => `${path.map(String).join('.') || 'all of it'}: ${code === 'unrecognized_keys' ? 'it has a field that is not known' : message}`);
  return described.join('; ').slice(0, 500);
}
