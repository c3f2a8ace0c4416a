/** PatchPolicy: consent. Which nodes, which patches, how much disruption, how many at once. */
import * as z from 'zod/mini';
import { DISRUPTIONS, conditions, doc, labelSelector } from './common.ts';
import type { KindDefinition, ObjectMeta } from './common.ts';

/** A count of nodes, or a share of the selected nodes rounded up, so that a share is never nothing. */
const nodeCount = (name: string, description: string) =>
  z.string().check(
    z.maxLength(16),
    z.regex(/^([1-9][0-9]{0,3}|[1-9][0-9]?%|100%)$/),
    doc(description, { patternMessage: `${name} must be a number of nodes from "1" to "9999", or a share from "1%" to "100%"` }),
  );

/** What becomes of a node that can not kexec. */
export const ON_KEXEC_FAILURE = ['Firmware', 'Block'] as const;

export const MODES = ['Apply', 'Plan'] as const;
export type Mode = (typeof MODES)[number];

/** Who installs the fixed kernel. */
export const INSTALL = ['None', 'Package'] as const;

/** What becomes of a drain that has not ended in time. */
export const ON_DRAIN_TIMEOUT = ['Park', 'Wait', 'Delete'] as const;

const Drain = z
  .object({
    timeoutSeconds: z._default(z.int().check(z.minimum(30), z.maximum(86_400), doc('timeoutSeconds is how long a drain may last before onTimeout.')), 900),
    onTimeout: z
      ._default(z.enum(ON_DRAIN_TIMEOUT), 'Park')
      .check(doc('onTimeout is Park: uncordon the node, go on with others and come back; Wait: stay, for as long as it takes; or Delete: delete the pods that PodDisruptionBudgets and annotations hold. Delete never passes over force and deleteEmptyDirData.')),
    deleteEmptyDirData: z._default(z.boolean(), false).check(doc('deleteEmptyDirData: true lets pods with emptyDir volumes go, and what is in these is lost.')),
    force: z._default(z.boolean(), false).check(doc('force: true lets pods go that no controller makes again elsewhere.')),
    gracePeriodSeconds: z.optional(
      z.int().check(z.minimum(1), z.maximum(86_400), doc("gracePeriodSeconds is how long each pod has to end; without it the pod's own terminationGracePeriodSeconds. 0 is refused: the API server would forget pods that still run.")),
    ),
    podSelector: z.optional(labelSelector('podSelector selects the pods that are evicted, by their labels; others stay until the node goes down. Without it all are.')),
    skipWaitForDeleteTimeoutSeconds: z._default(
      z.int().check(z.minimum(0), z.maximum(86_400), doc('skipWaitForDeleteTimeoutSeconds: a pod that should have ended this long ago and has not is waited for no more; 0 waits.')),
      0,
    ),
  })
  .check(doc('drain says how the pods of a node are moved before it boots; names and defaults are those of kubectl drain. Pods of DaemonSets and of this operator and static pods always stay.'));
export type DrainOptions = z.infer<typeof Drain>;

const Reboot = z
  .object({
    timeoutSeconds: z._default(
      z.int().check(z.minimum(60), z.maximum(86_400), doc('timeoutSeconds is how long a node may take from going down until it is Ready again and has proven its kernel; then it counts as failed. 600: a server\'s firmware alone takes two to five minutes.')),
      600,
    ),
    onKexecFailure: z
      ._default(z.enum(ON_KEXEC_FAILURE), 'Firmware')
      .check(doc('onKexecFailure is what becomes of a node that can not kexec. Firmware: it boots through its firmware, where maxDisruption is Reboot and its boot loader starts the fixed kernel, or setDefault is true. Block: it is Blocked.')),
    setDefault: z._default(z.boolean(), false).check(
      doc("setDefault: true makes the fixed kernel the default of the node's GRUB once it has been proven there, never before. A boot by the firmware that needs it has GRUB start that kernel once first, so that one that panics comes back with the earlier default, by itself where GRUB's command line has panic=, or once it is reset. status.nextBoot of the NodeKernel says when it can not be set."),
    ),
    install: z
      ._default(z.enum(INSTALL), 'None')
      .check(doc('install is who installs the fixed kernel where it is missing. None: a person. Package: the node, by its own apt-get, dnf or yum and from its own repositories, before it is cordoned, where the KernelPatch names the package.')),
    installSeconds: z._default(
      z.int().check(z.minimum(60), z.maximum(86_400), doc('installSeconds is how long an installation may take; then the node is left as it is and asked again later. The package manager is never ended. 900: as long as Debian lets its own upgrades finish.')),
      900,
    ),
  })
  .check(doc('reboot says how nodes boot into a fixed kernel.'));

export const PatchPolicySpec = z
  .object({
    nodeSelector: z._default(labelSelector('nodeSelector selects nodes by their labels; {} is every node. A node that several policies select belongs to the oldest of them.'), {}),
    patchSelector: z._default(labelSelector('patchSelector selects KernelPatches by their labels; {} is every patch.'), {}),
    mode: z._default(z.enum(MODES), 'Apply').check(doc('mode is Apply, or Plan: decide and show, touch nothing on any node.')),
    maxDisruption: z
      ._default(z.enum(DISRUPTIONS), 'LivePatch')
      .check(doc('maxDisruption is the most disruptive action allowed: None, LivePatch, Kexec or Reboot. The least disruptive one that fixes the node is taken; Kexec and Reboot drain the node first.')),
    rollout: z._default(
      z
        .object({
          maxInFlight: z._default(nodeCount('maxInFlight', 'maxInFlight is how many nodes may change their live patches at once: a number as "3", or a share of the selected nodes as "25%", rounded up.'), '25%'),
          maxUnavailable: z._default(nodeCount('maxUnavailable', 'maxUnavailable is how many nodes may be drained and booting at once: a number as "3", or a share of the selected nodes as "25%", rounded up.'), '1'),
          failureBudget: z._default(
            z.int().check(z.minimum(1), z.maximum(1000), doc('failureBudget is how many failed nodes of one patch stop it from being started on further nodes. A refusal before the load, or before the node goes down, is no failure; a package that was not installed to its end is one.')),
            1,
          ),
        })
        .check(doc('rollout paces the changes.')),
      { maxInFlight: '25%', maxUnavailable: '1', failureBudget: 1 },
    ),
    livePatch: z._default(
      z
        .object({
          transitionSeconds: z._default(
            z.int().check(z.minimum(15), z.maximum(3600), doc('transitionSeconds is how long a transition may last before it is reversed, the tasks that hold it named; it is never forced. 75: the kernel signals after 15 s, and kpatch gives the tasks 60 s from then.')),
            75,
          ),
          atBoot: z._default(z.boolean(), true).check(
            doc('atBoot lets a node load its active live patches at its next boot by itself: before the network and without the cluster. The agent keeps copies of them and a systemd unit on the node for it. A node that can not have them says why in status.boot of its NodeKernel.'),
          ),
          taintUntilPatched: z._default(z.boolean(), false).check(
            doc('taintUntilPatched: true keeps new pods off a node that has booted (taint kernelpatch.dev/unpatched, NoSchedule) until the live patches it had are active again. Pods that are bound to the node already run.'),
          ),
        })
        .check(doc('livePatch says how live patches are loaded.')),
      { transitionSeconds: 75, atBoot: true, taintUntilPatched: false },
    ),
    drain: z._default(Drain, { timeoutSeconds: 900, onTimeout: 'Park', deleteEmptyDirData: false, force: false, skipWaitForDeleteTimeoutSeconds: 0 }),
    reboot: z._default(Reboot, { timeoutSeconds: 600, onKexecFailure: 'Firmware', setDefault: false, install: 'None', installSeconds: 900 }),
  })
  .check(doc('Consent for a set of nodes and patches.'));
export type PatchPolicySpec = z.infer<typeof PatchPolicySpec>;

export const PatchPolicyStatus = z
  .object({
    observedGeneration: z.optional(z.int().check(z.minimum(0), doc('observedGeneration is the metadata.generation this status was judged on.'))),
    nodes: z.optional(
      z
        .object({
          selected: z.int().check(z.minimum(0), doc('selected is how many nodes belong to this policy.')),
          closed: z.int().check(z.minimum(0), doc('closed is how many of them are open to no CVE of the selected patches.')),
          open: z.int().check(z.minimum(0), doc('open is selected less closed.')),
        })
        .check(doc('nodes counts the nodes of this policy.')),
    ),
    closed: z.optional(z.string().check(z.maxLength(32), doc('closed is nodes.closed/nodes.selected for the print column, as 3/10.'))),
    slots: z.optional(
      z
        .array(
          z
            .object({
              node: z.string().check(z.maxLength(253), doc('node holds the slot.')),
              since: z.string().check(z.maxLength(64), doc('since is when the slot was taken, RFC 3339.')),
              deadline: z.string().check(z.maxLength(64), doc('deadline is when the operator stops waiting for the node, RFC 3339.')),
            })
            .check(doc('A node that may change its live patches now.')),
        )
        .check(z.maxLength(5000), doc('slots are the nodes that may change their live patches now; taken by compare-and-swap before an intent is published.', { listMapKeys: ['node'] })),
    ),
    rebootSlots: z.optional(
      z
        .array(
          z
            .object({
              node: z.string().check(z.maxLength(253), doc('node holds the slot.')),
              order: z.string().check(z.maxLength(63), doc('order is the id of the order in its NodeKernel.')),
              since: z.string().check(z.maxLength(64), doc('since is when the slot was taken, RFC 3339.')),
            })
            .check(doc('A node that may be out of service now.')),
        )
        .check(z.maxLength(5000), doc('rebootSlots are the nodes that are being made ready for a reboot, drained or booting; taken by compare-and-swap before an order is published.', { listMapKeys: ['node'] })),
    ),
    rebootFailures: z.optional(
      z
        .array(
          z
            .object({
              node: z.string().check(z.maxLength(253), doc('node failed.')),
              uid: z.string().check(z.maxLength(64), doc('uid is that of the Node.')),
              order: z.string().check(z.maxLength(63), doc('order is the id of the order that failed.')),
              kernelPatch: z.string().check(z.maxLength(253), doc('kernelPatch asked for it.')),
              release: z.string().check(z.maxLength(64), doc('release is the kernel that it was to boot into.')),
              retry: z.optional(z.string().check(z.maxLength(64), doc("retry is the KernelPatch's spec.retryReboot under which it failed, if any."))),
            })
            .check(doc('A reboot that failed.')),
        )
        .check(z.maxLength(1000), doc('rebootFailures are the failed reboots that count for failureBudget. Those of Nodes that were deleted since stay until the KernelPatch is deleted or has another word as spec.retryReboot, so that replacing nodes that do not come back does not let the next ones go down.', { listMapKeys: ['order'] })),
    ),
    conditions: conditions(),
  })
  .check(doc('What the operator saw.'));
export type PatchPolicyStatus = z.infer<typeof PatchPolicyStatus>;

export interface PatchPolicy {
  readonly metadata: ObjectMeta;
  readonly spec: PatchPolicySpec;
  readonly status?: PatchPolicyStatus;
}

export const patchPolicyDefinition: KindDefinition = {
  kind: 'PatchPolicy',
  plural: 'patchpolicies',
  singular: 'patchpolicy',
  shortNames: ['pp'],
  description: 'PatchPolicy gives consent: which nodes may be patched, with which KernelPatches, how disruptively and how many at once.',
  spec: PatchPolicySpec,
  status: PatchPolicyStatus,
  specRequired: true,
  columns: [
    { name: 'Mode', type: 'string', jsonPath: '.spec.mode', description: 'Apply, or Plan: touch nothing' },
    { name: 'Max', type: 'string', jsonPath: '.spec.maxDisruption', description: 'the most disruptive action allowed' },
    { name: 'Closed', type: 'string', jsonPath: '.status.closed', description: 'nodes open to no selected CVE / nodes of this policy' },
    { name: 'Ready', type: 'string', jsonPath: '.status.conditions[?(@.type=="Ready")].status', description: 'True when no node of this policy is open' },
    { name: 'Reason', type: 'string', jsonPath: '.status.conditions[?(@.type=="Ready")].reason', description: 'why it is or is not Ready' },
    { name: 'Age', type: 'date', jsonPath: '.metadata.creationTimestamp', description: 'since when the object exists' },
    { name: 'Message', type: 'string', jsonPath: '.status.conditions[?(@.type=="Ready")].message', description: 'Ready in words', priority: 1 },
  ],
};
