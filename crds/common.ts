/** What the three kinds share: names, the words of their enums, conditions, label selectors. Imports nothing of ours. */
import * as z from 'zod/mini';

export const GROUP = 'kernelpatch.dev';
export const VERSION = 'v1alpha1';
export const API_VERSION = `${GROUP}/${VERSION}`;

/** A CEL rule of the API server (x-kubernetes-validations). The message says what to write instead. */
export interface CelRule {
  readonly rule: string;
  readonly message: string;
  /** Which field the API server names in the refusal, as `.name`; the object itself when absent. */
  readonly fieldPath?: string;
}

/** Where doc() keeps a pattern's message until structural.ts makes a CEL rule of both. */
export const PATTERN_MESSAGE = 'x-kernelpatch-pattern-message';

interface DocExtra {
  readonly cel?: readonly CelRule[];
  /** What the API server answers when the string does not match its z.regex. Without it the answer shows the pattern alone. */
  readonly patternMessage?: string;
  readonly listType?: 'atomic' | 'set';
  readonly listMapKeys?: readonly string[];
}

/** The text `kubectl explain` shows, and what only the API server checks. Every field of the three kinds carries one. */
export function doc(description: string, extra: DocExtra = {}) {
  return z.meta({
    description,
    ...(extra.cel && { 'x-kubernetes-validations': extra.cel }),
    ...(extra.patternMessage && { [PATTERN_MESSAGE]: extra.patternMessage }),
    ...(extra.listType && { 'x-kubernetes-list-type': extra.listType }),
    ...(extra.listMapKeys && { 'x-kubernetes-list-type': 'map', 'x-kubernetes-list-map-keys': extra.listMapKeys }),
  });
}

/** `uname -r`: at most 64 characters (the kernel's __NEW_UTS_LEN). */
export const KERNEL_RELEASE_PATTERN = /^[0-9]+\.[0-9]+[A-Za-z0-9.+~_-]*$/;
/** As KERNEL_RELEASE_PATTERN, `*` standing for any run of characters. */
export const KERNEL_RELEASE_GLOB_PATTERN = /^[0-9*][A-Za-z0-9.+~_*-]*$/;
/** A GNU build id as `readelf -n` prints it: 8 to 32 bytes in lower-case hex. */
export const BUILD_ID_PATTERN = /^([0-9a-f]{2}){8,32}$/;
export const SHA256_PATTERN = /^[0-9a-f]{64}$/;
/** The kernel's own name of a module: `-` becomes `_`; at most 55 characters (MODULE_NAME_LEN). */
export const MODULE_NAME_PATTERN = /^[A-Za-z0-9_]+$/;
/** A file on the node; `..`, `.` and empty segments are refused by a CEL rule, since RE2 has no lookahead. */
export const HOST_PATH_PATTERN = /^\/[A-Za-z0-9._+~@/-]+\.ko$/;
/**
 * REGISTRY/REPOSITORY@sha256:DIGEST. No tag, which may move, and the registry is always named: it has a dot, a port, or is localhost. Without lookahead, since RE2 has none.
 */
export const IMAGE_PATTERN = /^(localhost(:[0-9]{1,5})?|[a-z0-9][a-z0-9-]*(\.[a-z0-9-]+)+(:[0-9]{1,5})?|[a-z0-9][a-z0-9-]*:[0-9]{1,5})\/[a-z0-9]+((\.|_{1,2}|-+)[a-z0-9]+)*(\/[a-z0-9]+((\.|_{1,2}|-+)[a-z0-9]+)*)*@sha256:[0-9a-f]{64}$/;
/** A file in an artifact: a name, never a path. */
export const ARTIFACT_FILE_PATTERN = /^[A-Za-z0-9][A-Za-z0-9._+~@-]*\.ko$/;

/** What dpkg and rpm both take as a name. It ends in a letter or digit, since apt-get takes `name-` for a removal; nothing in it is a pattern, an option or a file. */
export const PACKAGE_NAME_PATTERN = /^[A-Za-z0-9]([A-Za-z0-9+._-]*[A-Za-z0-9])?$/;
/** A version of dpkg or rpm, with epoch and revision. */
export const PACKAGE_VERSION_PATTERN = /^[A-Za-z0-9][A-Za-z0-9.+~^_:-]*$/;

/** RFC 3339 in UTC to the second, which Date.parse takes. */
export const INSTANT_PATTERN = /^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]Z$/;

/** metav1.Condition, whose `status` is a string because Unknown is a value. */
export const Condition = z.object({
  type: z.string().check(z.maxLength(316), doc('type names the condition: Ready is the rollup, Progressing and Stalled stand beside it.')),
  status: z.enum(['True', 'False', 'Unknown']).check(doc('status is True, False or Unknown.')),
  observedGeneration: z.optional(z.int().check(z.minimum(0), doc('observedGeneration is the metadata.generation this condition was judged on.'))),
  lastTransitionTime: z.string().check(z.maxLength(64), doc('lastTransitionTime is when status last changed, RFC 3339.')),
  reason: z.string().check(z.minLength(1), z.maxLength(128), z.regex(/^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$/), doc('reason is one CamelCase word for programs.')),
  message: z.string().check(z.maxLength(4096), doc('message is the same for a person: what is wrong, where, and what to do.')),
});
export type Condition = z.infer<typeof Condition>;

export const conditions = () =>
  z.optional(z.array(Condition).check(z.maxLength(16), doc('conditions are metav1 conditions: Ready (the rollup), Progressing, Stalled.', { listMapKeys: ['type'] })));

const labelValue = () => z.string().check(z.maxLength(63));

/** metav1.LabelSelector, within bounds. Empty selects everything. */
export const labelSelector = (description: string) =>
  z.object({
    matchLabels: z.optional(z.record(z.string(), labelValue()).check(doc('matchLabels are pairs that must all be there.'))),
    matchExpressions: z.optional(
      z
        .array(
          z
            .object({
              key: z.string().check(z.minLength(1), z.maxLength(316), doc('key is the label the expression is about.')),
              operator: z.enum(['In', 'NotIn', 'Exists', 'DoesNotExist']).check(doc('operator is In, NotIn, Exists or DoesNotExist.')),
              values: z.optional(z.array(labelValue()).check(z.maxLength(64), doc('values are for In and NotIn only.', { listType: 'atomic' }))),
            })
            .check(
              doc('An expression over one label.', {
                cel: [
                  {
                    rule: "self.operator in ['In', 'NotIn'] ? has(self.values) && size(self.values) > 0 : !has(self.values) || size(self.values) == 0",
                    message: 'values: give at least one with operator In or NotIn, and none with Exists or DoesNotExist',
                  },
                ],
              }),
            ),
        )
        .check(z.maxLength(32), doc('matchExpressions must all hold.', { listType: 'atomic' })),
    ),
  }).check(doc(description));
export type LabelSelector = z.infer<ReturnType<typeof labelSelector>>;

/** A package of the node's distribution. */
export const distributionPackage = (description: string) =>
  z
    .object({
      name: z.string().check(
        z.minLength(1),
        z.maxLength(128),
        z.regex(PACKAGE_NAME_PATTERN),
        doc('name is the package as apt-get or dnf take it, as linux-image-6.12.118+deb13-cloud-amd64 or kernel-core.', {
          patternMessage: 'name must be one package: letters, digits and +._- only, as linux-image-6.12.118+deb13-cloud-amd64 or kernel-core; its version belongs to version',
        }),
      ),
      version: z.optional(
        z.string().check(
          z.minLength(1),
          z.maxLength(128),
          z.regex(PACKAGE_VERSION_PATTERN),
          doc('version is the version that is installed, as 6.12.118-1 or 5.14.0-570.12.1.el9_6; without it the newest that the repositories of the node have.', {
            patternMessage: 'version must be one version of the package: letters, digits and .+~^_:- only, as 6.12.118-1 or 5.14.0-570.12.1.el9_6',
          }),
        ),
      ),
    })
    .check(doc(description));
export type DistributionPackage = z.infer<ReturnType<typeof distributionPackage>>;

/** From least to most disruptive for the pods of a node. The planner takes the first that fixes the node. */
export const DISRUPTIONS = ['None', 'LivePatch', 'Kexec', 'Reboot'] as const;
export type Disruption = (typeof DISRUPTIONS)[number];

/** metadata as the API server serves it, as far as we read it. */
export interface ObjectMeta {
  readonly name: string;
  readonly uid?: string;
  readonly resourceVersion?: string;
  readonly generation?: number;
  readonly creationTimestamp?: string;
  readonly deletionTimestamp?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly ownerReferences?: readonly OwnerReference[];
}

/** metav1.OwnerReference: when all owners are gone the object is collected. */
export interface OwnerReference {
  readonly apiVersion: string;
  readonly kind: string;
  readonly name: string;
  readonly uid: string;
}

/** A print column of `kubectl get`. */
export interface PrintColumn {
  readonly name: string;
  readonly type: 'string' | 'integer' | 'date' | 'boolean';
  readonly jsonPath: string;
  readonly description: string;
  /** 1: shown with `-o wide` only. */
  readonly priority?: 0 | 1;
}

/** One kind as crds/generate.ts turns it into a CustomResourceDefinition. */
export interface KindDefinition {
  readonly kind: string;
  readonly plural: string;
  readonly singular: string;
  readonly shortNames: readonly string[];
  readonly description: string;
  readonly spec: z.ZodMiniType;
  readonly status: z.ZodMiniType;
  readonly specRequired: boolean;
  readonly columns: readonly PrintColumn[];
}
