/** KernelPatch: one deliverable. What it fixes, and what is true for each kernel. Facts only; consent is PatchPolicy's. */
import * as z from 'zod/mini';
import {
  ARTIFACT_FILE_PATTERN, BUILD_ID_PATTERN, HOST_PATH_PATTERN, IMAGE_PATTERN, INSTANT_PATTERN, KERNEL_RELEASE_GLOB_PATTERN, KERNEL_RELEASE_PATTERN, MODULE_NAME_PATTERN, SHA256_PATTERN, conditions, distributionPackage, doc,
} from './common.ts';
import type { KindDefinition, ObjectMeta } from './common.ts';

/** The words of OpenVEX for one kernel. A kernel that is not listed is Unknown, never fine. */
export const KERNEL_STATES = ['Affected', 'Fixed', 'NotAffected', 'UnderInvestigation'] as const;
export type KernelState = (typeof KERNEL_STATES)[number];

const Cve = z
  .object({
    id: z.string().check(
      z.maxLength(24),
      z.regex(/^CVE-[0-9]{4}-[0-9]{4,12}$/),
      doc('id is the CVE, as CVE-2026-31431.', { patternMessage: 'id must be a CVE: CVE, its year and its number, as CVE-2026-31431' }),
    ),
    severity: z.optional(z.enum(['Critical', 'High', 'Medium', 'Low', 'Unknown']).check(doc('severity is Critical, High, Medium, Low or Unknown.'))),
    disclosedAt: z.optional(
      z.string().check(
        z.maxLength(64),
        z.regex(INSTANT_PATTERN),
        doc('disclosedAt is when the CVE became public, RFC 3339 in UTC, as 2026-11-20T09:00:00Z.', {
          patternMessage: 'disclosedAt must be RFC 3339 in UTC: write it as 2026-11-20T09:00:00Z',
        }),
      ),
    ),
  })
  .check(doc('A CVE that this patch closes.'));

const Source = z
  .object({
    hostPath: z.optional(
      z
        .string()
        .check(
          z.maxLength(1024),
          z.regex(HOST_PATH_PATTERN),
          doc('hostPath is the module file on the node: absolute, uncompressed, ending in .ko, as /var/lib/livepatches/fix.ko. Its signature is beside it, as fix.ko.sigstore.json.', {
            patternMessage: 'hostPath must be an absolute path of an uncompressed module: letters, digits and ._+~@- between the slashes, ending in .ko, as /var/lib/livepatches/fix.ko',
            cel: [
              {
                rule: "!self.contains('/../') && !self.contains('/./') && !self.contains('//')",
                message: 'hostPath must be a clean absolute path: write it without .., . and empty segments, as /var/lib/livepatches/fix.ko',
              },
            ],
          }),
        ),
    ),
    image: z.optional(
      z.string().check(
        z.maxLength(512),
        z.regex(IMAGE_PATTERN),
        doc('image is the OCI artifact that has the module and its signature, by digest, as `kernelpatch bundle --push` prints it. The node fetches it.', {
          patternMessage: 'image must be an artifact by digest and without a tag, as registry.example/livepatches/fix@sha256:64 hex digits',
        }),
      ),
    ),
    path: z.optional(
      z.string().check(
        z.maxLength(255),
        z.regex(ARTIFACT_FILE_PATTERN),
        doc('path is the module in the artifact: the title of its layer, as 6.12.107.ko.', { patternMessage: 'path must be the name of an uncompressed module in the artifact, without slashes, ending in .ko' }),
      ),
    ),
  })
  .check(
    doc('Where the node finds the module file: on itself (hostPath), or in a registry (image and path).', {
      cel: [
        { rule: 'has(self.hostPath) != has(self.image)', message: 'set exactly one of hostPath (a file on the node) and image (an OCI artifact)' },
        { rule: 'has(self.image) == has(self.path)', message: 'image and path belong together: path is the module in the artifact' },
      ],
    }),
  );

const LivePatch = z
  .object({
    name: z
      .string()
      .check(
        z.minLength(1),
        z.maxLength(55),
        z.regex(MODULE_NAME_PATTERN),
        doc("name is the module's name as in /sys/kernel/livepatch: letters, digits and _ (the kernel turns - into _).", {
          patternMessage: 'name must be the module as /sys/kernel/livepatch shows it: letters, digits and _ only (write _ for -, without .ko)',
        }),
      ),
    source: Source,
    sha256: z.string().check(
      z.maxLength(128),
      z.regex(SHA256_PATTERN),
      doc('sha256 is the digest of the module file in lower-case hex, as sha256sum prints it. Another file is never loaded.', {
        patternMessage: 'sha256 must be the 64 lower-case hex digits that sha256sum prints for the module file, without a prefix',
      }),
    ),
    replace: z._default(z.boolean(), true).check(doc('replace says that the module is cumulative: the kernel takes over from all earlier live patches (atomic replace).')),
    reversible: z._default(z.boolean(), true).check(doc('reversible says that the module may be disabled again. false: a withdrawn patch stays until the next boot.')),
  })
  .check(doc('The live patch for exactly this kernel.'));
export type LivePatchSpec = z.infer<typeof LivePatch>;

const KernelEntry = z
  .object({
    release: z.optional(
      z.string().check(
        z.maxLength(64),
        z.regex(KERNEL_RELEASE_PATTERN),
        doc('release is the kernel as `uname -r` prints it on the node.', {
          patternMessage: 'release must be one kernel as `uname -r` prints it, as 6.12.107+deb13-cloud-amd64; for several write releasePattern, as 6.12.*',
        }),
      ),
    ),
    releasePattern: z.optional(
      z.string().check(
        z.maxLength(64),
        z.regex(KERNEL_RELEASE_GLOB_PATTERN),
        doc('releasePattern names many kernels: * stands for any characters. An exact release elsewhere in the list wins; then the first match.', {
          patternMessage: 'releasePattern must begin with a digit or * and hold letters, digits, ._+~- and * only, as 6.12.*-cloud-amd64',
        }),
      ),
    ),
    buildID: z.optional(
      z
        .string()
        .check(
          z.maxLength(64),
          z.regex(BUILD_ID_PATTERN),
          doc('buildID is the GNU build id of the running kernel (/sys/kernel/notes), lower-case hex. When given, a node with another one is Unknown, whatever its release.', {
            patternMessage: 'buildID must be a GNU build id in lower-case hex, 16 to 64 digits, as `readelf -n vmlinux` prints it',
          }),
        ),
    ),
    state: z.enum(KERNEL_STATES).check(doc('state is Affected, Fixed, NotAffected or UnderInvestigation (the words of OpenVEX).')),
    livePatch: z.optional(LivePatch),
    rebootInto: z.optional(
      z.string().check(
        z.maxLength(64),
        z.regex(KERNEL_RELEASE_PATTERN),
        doc('rebootInto is the fixed kernel a node of this release boots into when no live patch fits.', {
          patternMessage: 'rebootInto must be one kernel as `uname -r` prints it, as 6.12.117+deb13-cloud-amd64',
        }),
      ),
    ),
    package: z.optional(distributionPackage('package is the package that brings the kernel rebootInto. A node that does not have that kernel installs it, where a PatchPolicy has reboot.install: Package.')),
  })
  .check(
    doc('What is true for one kernel, or for a pattern of them.', {
      cel: [
        { rule: 'has(self.release) != has(self.releasePattern)', message: 'set exactly one of release (as `uname -r` prints it) and releasePattern (with *)' },
        { rule: "!has(self.releasePattern) || self.releasePattern.contains('*')", message: 'releasePattern without * names one kernel: write it as release', fieldPath: '.releasePattern' },
        { rule: "!has(self.livePatch) || self.state == 'Affected'", message: 'livePatch belongs to an Affected kernel only: set state: Affected or remove livePatch' },
        { rule: "!has(self.rebootInto) || self.state == 'Affected'", message: 'rebootInto belongs to an Affected kernel only: set state: Affected or remove rebootInto' },
        { rule: '!has(self.livePatch) || has(self.release)', message: 'a live patch is built for one kernel: give its exact release instead of releasePattern' },
        { rule: '!has(self.buildID) || has(self.release)', message: 'buildID names one kernel: give its exact release instead of releasePattern' },
        { rule: '!has(self.rebootInto) || !has(self.release) || self.rebootInto != self.release', message: 'rebootInto must be another kernel than release: name the fixed one', fieldPath: '.rebootInto' },
        { rule: '!has(self.package) || has(self.rebootInto)', message: 'package brings the kernel that rebootInto names: set rebootInto too', fieldPath: '.package' },
      ],
    }),
  );
export type KernelEntry = z.infer<typeof KernelEntry>;

export const KernelPatchSpec = z
  .object({
    cves: z
      .array(Cve)
      .check(z.minLength(1), z.maxLength(64), doc('cves are the vulnerabilities this patch closes; at least one.', { listMapKeys: ['id'] })),
    withdrawn: z._default(z.boolean(), false).check(
      doc('withdrawn: true stops loading it anywhere; nodes that have it disable and unload it where it is reversible.'),
    ),
    liftQuarantine: z.optional(
      z.string().check(
        z.minLength(1),
        z.maxLength(64),
        doc('liftQuarantine lets nodes that hold a live patch of this KernelPatch back after a crash try it once more: any word, as a ticket or a date. It counts once on each node; another word counts again.'),
      ),
    ),
    retryReboot: z.optional(
      z.string().check(
        z.minLength(1),
        z.maxLength(64),
        doc('retryReboot lets nodes that failed to boot into the fixed kernel try once more: any word, as a ticket or a date. It counts once on each node; another word counts again.'),
      ),
    ),
    kernels: z
      .array(KernelEntry)
      .check(
        z.minLength(1),
        z.maxLength(128),
        doc('kernels says what is true for each kernel. A kernel that is not listed is Unknown, never fine.', {
          listType: 'atomic',
          cel: [
            {
              rule: 'self.all(k, !has(k.release) || self.exists_one(o, has(o.release) && o.release == k.release && (has(o.buildID) ? o.buildID : "") == (has(k.buildID) ? k.buildID : "")))',
              message: 'each release may be listed once (once for each buildID): merge the entries of the same kernel',
            },
          ],
        }),
      ),
  })
  .check(doc('Facts about one kernel patch.'));
export type KernelPatchSpec = z.infer<typeof KernelPatchSpec>;

/** How one node stands towards one patch. Closed is Fixed, NotAffected or Active; all others are open. */
export const NODE_VERDICTS = ['Closed', 'InProgress', 'Waiting', 'Blocked', 'Failed', 'Unknown'] as const;
export type NodeVerdict = (typeof NODE_VERDICTS)[number];

const count = (description: string) => z.int().check(z.minimum(0), doc(description));

export const KernelPatchStatus = z
  .object({
    observedGeneration: z.optional(z.int().check(z.minimum(0), doc('observedGeneration is the metadata.generation this status was judged on.'))),
    nodes: z.optional(
      z
        .object({
          selected: count('selected is how many nodes a PatchPolicy selects for this patch.'),
          closed: count('closed is how many of them were seen to be without the vulnerability: kernel fixed or not affected, or live patch active.'),
          open: count('open is all the others: selected less closed.'),
          inProgress: count('inProgress is how many of the open ones have an action under way.'),
          waiting: count('waiting is how many of the open ones wait for a slot, a mode, or until they can be drained.'),
          blocked: count('blocked is how many of the open ones have no action that their policy allows.'),
          failed: count('failed is how many of the open ones tried and failed.'),
          unknown: count('unknown is how many of the open ones run a kernel that is not listed, or did not report.'),
        })
        .check(doc('nodes counts the selected nodes by how they stand towards this patch.')),
    ),
    closed: z.optional(z.string().check(z.maxLength(32), doc('closed is nodes.closed/nodes.selected for the print column, as 3/10.'))),
    attention: z.optional(
      z
        .array(
          z
            .object({
              node: z.string().check(z.maxLength(253), doc('node is the name of the node.')),
              verdict: z.enum(NODE_VERDICTS).check(doc('verdict is Blocked, Failed, Unknown, Waiting or InProgress.')),
              reason: z.string().check(z.maxLength(128), doc('reason is one CamelCase word for programs.')),
              message: z.string().check(z.maxLength(1024), doc('message says it to a person.')),
            })
            .check(doc('A node that is still open, and why.')),
        )
        .check(z.maxLength(20), doc('attention names nodes that are still open, worst first, 20 at most; nodes has the full counts.', { listType: 'atomic' })),
    ),
    conditions: conditions(),
  })
  .check(doc('What the operator saw.'));
export type KernelPatchStatus = z.infer<typeof KernelPatchStatus>;

export interface KernelPatch {
  readonly metadata: ObjectMeta;
  readonly spec: KernelPatchSpec;
  readonly status?: KernelPatchStatus;
}

export const kernelPatchDefinition: KindDefinition = {
  kind: 'KernelPatch',
  plural: 'kernelpatches',
  singular: 'kernelpatch',
  shortNames: ['kp'],
  description: 'KernelPatch states facts about one kernel patch: the CVEs it closes and, for each kernel, whether it is affected and what fixes it.',
  spec: KernelPatchSpec,
  status: KernelPatchStatus,
  specRequired: true,
  columns: [
    { name: 'Closed', type: 'string', jsonPath: '.status.closed', description: 'nodes seen without the vulnerability / nodes selected' },
    { name: 'Blocked', type: 'integer', jsonPath: '.status.nodes.blocked', description: 'nodes with no allowed action' },
    { name: 'Failed', type: 'integer', jsonPath: '.status.nodes.failed', description: 'nodes that tried and failed' },
    { name: 'Unknown', type: 'integer', jsonPath: '.status.nodes.unknown', description: 'nodes whose kernel is not listed, or that did not report' },
    { name: 'Ready', type: 'string', jsonPath: '.status.conditions[?(@.type=="Ready")].status', description: 'True when no selected node is open' },
    { name: 'Reason', type: 'string', jsonPath: '.status.conditions[?(@.type=="Ready")].reason', description: 'why it is or is not Ready' },
    { name: 'Age', type: 'date', jsonPath: '.metadata.creationTimestamp', description: 'since when the object exists' },
    { name: 'CVEs', type: 'string', jsonPath: '.spec.cves[*].id', description: 'what it closes', priority: 1 },
    { name: 'Message', type: 'string', jsonPath: '.status.conditions[?(@.type=="Ready")].message', description: 'Ready in words', priority: 1 },
  ],
};
