/** NodeKernel: the contract with one node. The operator writes spec, the agent on that node writes status, nobody else writes. */
import * as z from 'zod/mini';
import { ARTIFACT_FILE_PATTERN, BUILD_ID_PATTERN, HOST_PATH_PATTERN, IMAGE_PATTERN, INSTANT_PATTERN, KERNEL_RELEASE_PATTERN, MODULE_NAME_PATTERN, SHA256_PATTERN, conditions, distributionPackage, doc } from './common.ts';
import type { KindDefinition, ObjectMeta } from './common.ts';

/**
 * The way a node is fixed. It stays what it is once carried out (a node closed by a live patch keeps LivePatch); status.state says
 * how far it is. Unknown: a fact is missing. Blocked: nothing that would fix the node is allowed or possible.
 */
export const ACTIONS = ['Unknown', 'None', 'LivePatch', 'Kexec', 'Reboot', 'Blocked'] as const;
export type Action = (typeof ACTIONS)[number];

const reason = () => z.string().check(z.minLength(1), z.maxLength(128), doc('reason is one CamelCase word for programs.'));
const message = () => z.string().check(z.maxLength(1024), doc('message says the same to a person.'));
const releaseOf = (description: string) => z.string().check(z.maxLength(64), z.regex(KERNEL_RELEASE_PATTERN), doc(description));

/** The reason of action None where the running kernel has the fix; with any other reason it never had the vulnerability. */
export const KERNEL_FIXED = 'KernelFixed';

/** The reason of a live patch that is Refused since the node can not tell whether it is still meant: the operator decides anew. */
export const STALE_INTENT = 'StaleIntent';

const cveId = () => z.string().check(z.maxLength(24));

const liftQuarantine = () => z.string().check(z.minLength(1), z.maxLength(64), doc("liftQuarantine is the KernelPatch's word by which quarantines of this file are lifted, if any."));

const DrainPreview = z
  .object({
    evict: z.int().check(z.minimum(0), doc('evict is how many pods would go: evicted, or being deleted already.')),
    leave: z.int().check(z.minimum(0), doc('leave is how many running pods would stay until the node goes down: those of DaemonSets and of this operator, static pods, and those that drain.podSelector of the policy does not select.')),
    blockedPods: z.int().check(z.minimum(0), doc('blockedPods is how many pods would not go as things are; blocked says why.')),
    blocked: z
      .array(
        z
          .object({
            pod: z.string().check(z.maxLength(512), doc('pod is namespace/name.')),
            reason: reason(),
            pdb: z.optional(z.string().check(z.maxLength(1024), doc('pdb is namespace/name of the PodDisruptionBudget that holds it; of all of them, with commas, when there are several.'))),
            message: message(),
          })
          .check(doc('Why one pod would not go.')),
      )
      .check(z.maxLength(10), doc('blocked are the first ten reasons why pods would not go.', { listType: 'atomic' })),
  })
  .check(doc('drain is what a drain of the node would do, where action is Kexec or Reboot; looked at every 5 minutes.'));
export type DrainPreview = z.infer<typeof DrainPreview>;

const Plan = z
  .object({
    policy: z.string().check(z.maxLength(253), doc('policy is the PatchPolicy the node belongs to.')),
    mode: z.enum(['Apply', 'Plan']).check(doc("mode is the policy's: with Plan nothing is touched.")),
    bootID: z.optional(z.string().check(z.maxLength(64), doc('bootID is the boot of the node that the decisions are about, or unknown; on another one they say nothing.'))),
    action: z.enum(ACTIONS).check(doc('action is what fixes this node with the least disruption: Unknown, None, LivePatch, Kexec, Reboot or Blocked.')),
    reason: reason(),
    message: message(),
    drain: z.optional(DrainPreview),
    patches: z
      .array(
        z
          .object({
            kernelPatch: z.string().check(z.maxLength(253), doc('kernelPatch is the name of the KernelPatch.')),
            action: z.enum(ACTIONS).check(doc('action is what this patch asks of this node.')),
            livePatch: z.optional(z.string().check(z.maxLength(55), z.regex(MODULE_NAME_PATTERN), doc('livePatch is the module that closes this patch here, its own or that of a newer one, when action is LivePatch.'))),
            reason: reason(),
            message: message(),
            cves: z.optional(z.array(cveId()).check(z.maxLength(64), doc('cves are those that the KernelPatch says it closes.', { listType: 'set' }))),
            fixedIn: z.optional(releaseOf('fixedIn is the kernel that has the fix, as the KernelPatch says for the running one (rebootInto).')),
            needs: z.optional(z.enum(['LivePatch', 'Kexec', 'Reboot']).check(doc('needs is the action that would fix it, when it is Blocked because the policy does not allow that.'))),
            holdsTaint: z.optional(z.boolean().check(doc('holdsTaint: true means that the node was patched for it before it booted and is not yet again, so that it is tainted with kernelpatch.dev/unpatched.'))),
          })
          .check(doc('The decision for one patch.')),
      )
      .check(z.maxLength(64), doc('patches are the decisions one by one, most pressing first.', { listMapKeys: ['kernelPatch'] })),
  })
  .check(doc('What was decided for this node, and why.'));
export type Plan = z.infer<typeof Plan>;

/** Where the agent keeps a fetched module, whatever hostPath says. Part of every node (FHS 5.8.5), as is what else the agent keeps. */
export const FETCHED_DIRECTORY = '/var/lib/misc/kernelpatch.fetched';
export function fetchedPath(sha256: string): string {
  return `${FETCHED_DIRECTORY}/${sha256}.ko`;
}

const WantedLivePatch = z
  .object({
    name: z.string().check(z.maxLength(55), z.regex(MODULE_NAME_PATTERN), doc("name is the module's name as in /sys/kernel/livepatch.")),
    kernelPatch: z.string().check(z.maxLength(253), doc('kernelPatch is the KernelPatch that asks for it.')),
    desired: z.enum(['Loaded', 'Absent']).check(doc('desired is Loaded or Absent. A live patch that is not listed is neither loaded nor unloaded.')),
    release: releaseOf('release is the kernel the module was built for; on another one nothing is done.'),
    buildID: z.optional(z.string().check(z.maxLength(64), z.regex(BUILD_ID_PATTERN), doc('buildID is the build id the running kernel must have, when the KernelPatch gives one.'))),
    hostPath: z.string().check(z.maxLength(1024), z.regex(HOST_PATH_PATTERN), doc('hostPath is the module file on this node; with image, where the agent keeps what it has fetched.')),
    image: z.optional(z.string().check(z.maxLength(512), z.regex(IMAGE_PATTERN), doc('image is the OCI artifact that the module is fetched from, by digest.'))),
    path: z.optional(z.string().check(z.maxLength(255), z.regex(ARTIFACT_FILE_PATTERN), doc('path is the module in the artifact.'))),
    sha256: z.string().check(z.maxLength(64), z.regex(SHA256_PATTERN), doc('sha256 is the digest the file must have.')),
    replace: z.boolean().check(doc('replace says that loading it replaces all earlier live patches.')),
    reversible: z.boolean().check(doc('reversible: false means that it can not be disabled until the next boot.')),
    transitionSeconds: z.optional(z.int().check(z.minimum(15), z.maximum(3600), doc("transitionSeconds is the policy's deadline of a transition, after which it is reversed; 75 when absent."))),
    cves: z.optional(z.array(cveId()).check(z.maxLength(64), doc('cves are those that the KernelPatch says it closes: a cumulative live patch that leaves one open again is refused.', { listType: 'set' }))),
    liftQuarantine: z.optional(liftQuarantine()),
  })
  .check(doc('A live patch this node is to have, or not to have.'));
export type WantedLivePatch = z.infer<typeof WantedLivePatch>;

/** Kexec: the running kernel starts the target, without the firmware. Firmware: the boot loader starts what it starts by default. */
export const REBOOT_METHODS = ['Kexec', 'Firmware'] as const;
export type RebootMethod = (typeof REBOOT_METHODS)[number];

/**
 * Staging: the node gets ready, and nobody is disturbed yet. Draining: its pods are moved. Rebooting: it goes down, and is waited for until it is in service again. Parked: it can not be
 * drained now, and is put off. Refused: it can not do it, or not now. In both the node is as before. Failed: it was given up, and counts for the failureBudget.
 */
export const REBOOT_PHASES = ['Staging', 'Draining', 'Rebooting', 'Parked', 'Refused', 'Failed'] as const;
export type RebootPhase = (typeof REBOOT_PHASES)[number];

/** It is a word of a kernel command line, so it has nothing that would have to be quoted there. */
const REBOOT_ID_PATTERN = /^[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?$/;
const rebootID = (description: string) =>
  z.string().check(z.minLength(1), z.maxLength(63), z.regex(REBOOT_ID_PATTERN), doc(description, { patternMessage: 'id must consist of letters, digits and dashes: it is written on a kernel command line' }));
const instant = (name: string, description: string) =>
  z.string().check(z.maxLength(32), z.regex(INSTANT_PATTERN), doc(description, { patternMessage: `${name} must be RFC 3339 in UTC: write it as 2026-11-20T09:00:00Z` }));

const RebootOrder = z
  .object({
    id: rebootID('id is the name of this order and of no other; a kernel that is started by kexec for it has kernelpatch.reboot=<id> on its command line.'),
    kernelPatch: z.string().check(z.maxLength(253), doc('kernelPatch is the KernelPatch that asks for it.')),
    method: z.enum(REBOOT_METHODS).check(doc('method is Kexec, or Firmware: by the boot loader and what it starts by default.')),
    release: releaseOf('release is the kernel that is to run afterwards.'),
    buildID: z.optional(z.string().check(z.maxLength(64), z.regex(BUILD_ID_PATTERN), doc('buildID is the build id that this kernel must have, when the KernelPatch gives one.'))),
    bootID: z.string().check(z.maxLength(64), doc('bootID is the boot of the node that this was decided on; in another one the order is not carried out any more, only judged.')),
    notAfter: instant('notAfter', 'notAfter is when the order expires, RFC 3339: a node that has not gone down by then does not.'),
    phase: z.enum(REBOOT_PHASES).check(doc('phase is Staging, Draining, Rebooting, Parked, Refused or Failed. The image is in the kernel in the first two; the node goes down in the third only, which lasts until it is in service again; in the last three the image is taken out again.')),
    since: instant('since', 'since is when this phase began, RFC 3339.'),
    deadline: z.optional(instant('deadline', 'deadline is when this phase is given up, by the clock of the operator, RFC 3339; of Parked and Refused: from when it is tried again.')),
    retry: z.optional(z.string().check(z.maxLength(64), doc("retry is the KernelPatch's retryReboot when the order began, if any."))),
    setDefault: z.optional(z.boolean().check(doc("setDefault is the policy's reboot.setDefault: the kernel becomes the default of the boot loader once it is proven, and is started once by it before, where a boot by the firmware needs that. Absent is false."))),
    install: z.optional(distributionPackage('install is the package that brings the kernel, which the node installs first where it does not have it; absent: it has it, or the policy does not want it.')),
    kexecRefused: z.optional(z.string().check(z.maxLength(128), doc('kexecRefused is why the kexec was refused in whose place the node boots by its firmware.'))),
    reason: reason(),
    message: message(),
  })
  .check(doc('reboot is the one reboot that this node is to make; absent: none. What was staged for an order that is gone is taken back.'));
export type RebootOrder = z.infer<typeof RebootOrder>;

const UNDER_WAY: ReadonlySet<RebootPhase> = new Set(['Staging', 'Draining', 'Rebooting']);
/** The node may be out of service, or is about to be. */
export const isActive = (order: RebootOrder | undefined): order is RebootOrder => order !== undefined && UNDER_WAY.has(order.phase);

const Start = z
  .object({
    bootID: z.string().check(z.maxLength(64), doc('bootID is the boot of the node that this was decided on, or unknown. In a later one only what the node had before is loaded.')),
    notAfter: instant('notAfter', 'notAfter is when a load that was not begun in this boot is not begun any more, RFC 3339.'),
  })
  .check(doc('start is until when the loads of livePatches may be begun: as long as the node holds the slot under which they were published.'));

export const NodeKernelSpec = z
  .object({
    plan: z.optional(Plan),
    loadAtBoot: z.optional(z.boolean().check(doc("loadAtBoot is the policy's livePatch.atBoot: the node loads its active live patches at its next boot by itself. Absent is false."))),
    livePatches: z.optional(z.array(WantedLivePatch).check(z.maxLength(64), doc('livePatches are to be loaded or absent, in this order: none is begun before those in front of it have come to an end. In mode Plan there is none.', { listMapKeys: ['name'] }))),
    start: z.optional(Start),
    reboot: z.optional(RebootOrder),
  })
  .check(doc("The operator's intent for this node."));
export type NodeKernelSpec = z.infer<typeof NodeKernelSpec>;

/**
 * Refused: a check before the load failed; the kernel was not touched. Loading: insmod is running. Transitioning: the kernel is moving
 * tasks over. Active: the transition has ended and every object of the patch is patched. Unloading: being disabled and removed.
 * Failed: the kernel was asked and did not do it; it is as before. Quarantined: the node went down or oopsed with it, and it is not loaded
 * there again. Unknown: it is there, and its sysfs files can not be read. Installed: it is not in the kernel; somebody else's file on the node, to be
 * loaded by them.
 */
export const LIVE_PATCH_STATES = ['Refused', 'Loading', 'Transitioning', 'Active', 'Unloading', 'Failed', 'Quarantined', 'Unknown', 'Installed'] as const;
export type LivePatchState = (typeof LIVE_PATCH_STATES)[number];

const StalledTask = z
  .object({
    pid: z.int().check(z.minimum(0), doc('pid is the id of the task on the node, as /proc shows it.')),
    process: z.optional(z.int().check(z.minimum(0), doc('process is the process it is a thread of, when it is not the main thread.'))),
    comm: z.string().check(z.maxLength(64), doc('comm is its name.')),
    pod: z.optional(z.string().check(z.maxLength(512), doc('pod is namespace/name of the pod it runs in, or the uid when the node has no logs of it; absent for a process of the node.'))),
    stack: z.optional(z.array(z.string().check(z.maxLength(512))).check(z.maxLength(16), doc('stack is what it sleeps in, innermost function first.', { listType: 'atomic' }))),
  })
  .check(doc('A task that holds a transition.'));

const LivePatchReport = z
  .object({
    name: z.string().check(z.maxLength(64), doc("name is the module's name as in /sys/kernel/livepatch.")),
    origin: z.enum(['KernelPatch', 'Foreign']).check(doc('origin is KernelPatch, or Foreign: loaded by somebody else, shown and never touched.')),
    kernelPatch: z.optional(z.string().check(z.maxLength(253), doc('kernelPatch is the KernelPatch that asks for it, or did.'))),
    sha256: z.optional(z.string().check(z.maxLength(64), doc('sha256 is the digest of the file that was asked for.'))),
    buildID: z.optional(z.string().check(z.maxLength(64), z.regex(BUILD_ID_PATTERN), doc('buildID is the build id of the module in the kernel; with origin KernelPatch it is given once it is known to be that of the file.'))),
    state: z.enum(LIVE_PATCH_STATES).check(doc('state is Refused, Loading, Transitioning, Active, Unloading, Failed, Quarantined, Unknown, or Installed: a file that somebody else is to load.')),
    reason: reason(),
    message: message(),
    liftQuarantine: z.optional(liftQuarantine()),
    attempts: z.optional(z.int().check(z.minimum(0), doc('attempts is how often the kernel was asked since the intent last changed.'))),
    functions: z.optional(
      z.array(z.string().check(z.maxLength(512))).check(z.maxLength(256), doc('functions are those the kernel shows as patched, as vmlinux:version_proc_show.', { listType: 'atomic' })),
    ),
    stalledTasks: z.optional(z.array(StalledTask).check(z.maxLength(10), doc('stalledTasks hold the transition, once it has lasted 15 s: the first ten found.', { listMapKeys: ['pid'] }))),
    since: z.string().check(z.maxLength(64), doc('since is when this state began, RFC 3339.')),
  })
  .check(doc('A live patch as seen on the node.'));
export type LivePatchReport = z.infer<typeof LivePatchReport>;

/**
 * Kept: the next boot of the running kernel loads the active live patches before the network. Off: the policy does not want it. Unavailable: it can not be kept on this node;
 * after a boot the agent loads them.
 */
const BootReport = z
  .object({
    state: z.enum(['Kept', 'Off', 'Unavailable']).check(doc('state is Kept, Off or Unavailable.')),
    reason: reason(),
    message: message(),
  })
  .check(doc('boot is what the next boot of the running kernel loads before the network; absent while no live patch is active.'));
export type BootReport = z.infer<typeof BootReport>;

/**
 * Installing: the package manager of the node installs the kernel. Staging: on the way there. Staged: all is ready to go down. Refused: it can not be done, or not now; the node is up and as it was. GoingDown: the node was told to. Unstaged: the order does not want
 * it any more, and nothing of it is left. Expired: notAfter has passed, and nothing of it is left. In a later boot: SettingDefault: as Proven, and the boot loader's default is being set. Proven: this boot was made by the
 * order, and the kernel is the wanted one. CameBackByFirmware: the kexec did not come to a kernel that runs. WrongKernel: this boot was made by the order, and another kernel runs. OtherBoot: this boot was not made by the order.
 */
export const REBOOT_STATES = ['Installing', 'Staging', 'Staged', 'Refused', 'GoingDown', 'Unstaged', 'Expired', 'SettingDefault', 'Proven', 'CameBackByFirmware', 'WrongKernel', 'OtherBoot'] as const;
export type RebootState = (typeof REBOOT_STATES)[number];

const RebootReport = z
  .object({
    id: rebootID('id is that of the order in spec.reboot, or of an earlier one that could not be taken back.'),
    state: z.enum(REBOOT_STATES).check(doc('state is Installing, Staging, Staged, Refused, GoingDown, Unstaged or Expired in the boot that the order is for, and SettingDefault, Proven, CameBackByFirmware, WrongKernel or OtherBoot in a later one.')),
    reason: reason(),
    message: message(),
    since: z.string().check(z.maxLength(64), doc('since is when this state began, RFC 3339.')),
  })
  .check(doc('reboot is how far the order in spec.reboot is; absent while there is none.'));
export type RebootReport = z.infer<typeof RebootReport>;

const KexecFailure = z
  .object({
    id: rebootID('id is that of the order.'),
    release: z.string().check(z.maxLength(64), doc('release is the kernel that was to run.')),
    at: z.string().check(z.maxLength(64), doc('at is when the node was seen to be back, RFC 3339.')),
    message: message(),
  })
  .check(doc('kexecFailure is the last kexec of this node that came back by the firmware. It goes when one has worked, and when the machine or its firmware is another one.'));
export type KexecFailure = z.infer<typeof KexecFailure>;

const Hardware = z
  .object({
    vendor: z.string().check(z.maxLength(128), doc('vendor is who made the machine (/sys/class/dmi/id/sys_vendor), or unknown.')),
    product: z.string().check(z.maxLength(128), doc('product is its model (product_name), or unknown.')),
    firmware: z.string().check(z.maxLength(128), doc('firmware is the version of its firmware (bios_version), or unknown.')),
    kexecFailure: z.optional(KexecFailure),
  })
  .check(doc('hardware is the class of the machine: what a kexec did on one of a class it may do on all.'));
export type Hardware = z.infer<typeof Hardware>;

const Kernel = z
  .object({
    release: z.string().check(z.maxLength(64), doc('release is what `uname -r` prints.')),
    buildID: z.string().check(z.maxLength(64), doc('buildID is the GNU build id of the running kernel from /sys/kernel/notes, or unknown.')),
    taint: z.int().check(z.minimum(-1), doc('taint is /proc/sys/kernel/tainted; -1 is unknown.')),
    taintFlags: z.string().check(z.maxLength(64), doc('taintFlags are the letters of taint, as OEK for an unsigned out-of-tree live patch; empty when not tainted.')),
    lockdown: z.enum(['none', 'integrity', 'confidentiality', 'unknown']).check(doc('lockdown is the mode of /sys/kernel/security/lockdown, or unknown.')),
    livePatching: z.enum(['Available', 'Unavailable', 'Unknown']).check(doc('livePatching is whether this kernel can load live patches: /sys/kernel/livepatch exists.')),
    kexec: z.enum(['Available', 'Unavailable', 'Unknown']).check(doc('kexec is whether a kernel may be loaded for kexec here: kexec_load_disabled is 0 and lockdown is none.')),
    rebootID: z.optional(rebootID('rebootID is the id of the order by which this kernel was started by kexec, from its command line; absent when it was not.')),
  })
  .check(doc('The running kernel.'));
export type Kernel = z.infer<typeof Kernel>;

const NextBoot = z
  .object({
    release: z.string().check(z.maxLength(64), doc('release is the kernel that the boot loader starts, or unknown.')),
    source: z.optional(z.string().check(z.maxLength(1024), doc('source is the configuration that says so, as /boot/grub/grub.cfg.'))),
    message: message(),
    unsettable: z.optional(
      z
        .object({ reason: reason(), message: message() })
        .check(doc('unsettable is why no other kernel can be made the default there, by reboot.setDefault of the policy or by hand with grub-set-default; absent where it can, and where release is unknown.')),
    ),
  })
  .check(doc("nextBoot is what the firmware's next boot of the node starts, as the boot loader's files say; a kexec starts what was loaded for it."));

const UnbootableKernel = z
  .object({
    release: z.string().check(z.maxLength(64), doc('release is one of installedKernels.')),
    reason: reason(),
    message: message(),
  })
  .check(doc('A kernel that is installed and would not boot.'));

/** Idle: nothing is wanted. Pending: wanted and not begun. The others are those of the live patch that is furthest from Active. */
export const NODE_STATES = ['Idle', 'Pending', 'Loading', 'Transitioning', 'Active', 'Unloading', 'Refused', 'Failed', 'Quarantined', 'Unknown'] as const;
export type NodeState = (typeof NODE_STATES)[number];

/** fixedLive, fixedByKernel and notAffected are closed; all others are open to attack, or may be. */
export const CVE_STATES = ['fixedLive', 'fixedByKernel', 'notAffected', 'open', 'withheld', 'unknown'] as const;
export type CveState = (typeof CVE_STATES)[number];

/** What a plan can name at most: 64 patches with 64 CVEs each. */
const MAX_CVES = 64 * 64;
const cveList = (description: string) => z.array(cveId()).check(z.maxLength(MAX_CVES), doc(description, { listType: 'atomic' }));

const Cves = z
  .object({
    closed: z.string().check(z.maxLength(32), doc('closed is how many of the CVEs are closed of how many there are, for the print column, as 3/5.')),
    fixedLive: cveList('fixedLive are closed by a live patch that is active.'),
    fixedByKernel: cveList('fixedByKernel are closed since the running kernel has the fix.'),
    notAffected: cveList('notAffected do not concern the running kernel.'),
    open: cveList('open are not closed, and the policy withholds nothing that would close them: the fix is not carried out yet, failed, or is missing.'),
    withheld: cveList('withheld are not closed because the policy does not allow what would: it is in mode Plan, or allows less disruption.'),
    unknown: cveList('unknown are those of which a fact is missing: it is not known whether the running kernel is open to them.'),
  })
  .check(doc('The CVEs of the plan, each in exactly one list, sorted.'));
export type Cves = z.infer<typeof Cves>;

export const NodeKernelStatus = z
  .object({
    observedGeneration: z.optional(z.int().check(z.minimum(0), doc('observedGeneration is the metadata.generation this report is about. It is behind while the operator carries a reboot from phase to phase and that changes nothing in the report.'))),
    agentVersion: z.string().check(z.maxLength(64), doc('agentVersion is the version of the agent that reports.')),
    bootID: z.string().check(z.maxLength(64), doc('bootID is /proc/sys/kernel/random/boot_id: another one is another boot.')),
    kernel: Kernel,
    installedKernels: z
      .array(z.string().check(z.maxLength(64)))
      .check(z.maxLength(64), doc('installedKernels are the releases with a kernel image in /boot and modules in /lib/modules.', { listType: 'atomic' })),
    unbootableKernels: z.optional(z.array(UnbootableKernel).check(z.maxLength(64), doc('unbootableKernels are those of installedKernels whose image is cut short or that have no initrd; absent when there is none.', { listMapKeys: ['release'] }))),
    nextBoot: z.optional(NextBoot),
    state: z.enum(NODE_STATES).check(doc('state sums up the wanted live patches: Idle, Pending, Loading, Transitioning, Active, Unloading, Refused, Failed, Quarantined or Unknown.')),
    cves: z.optional(Cves),
    effectiveRelease: z.optional(z.string().check(z.maxLength(64), doc('effectiveRelease is the newest kernel whose known fixes this node has, live or by its kernel; at least the running one.'))),
    active: z.string().check(z.maxLength(512), doc('active are the names of the active live patches, whoever loaded them, for the print column.')),
    livePatches: z.array(LivePatchReport).check(z.maxLength(64), doc('livePatches are the wanted ones, those of earlier KernelPatches that are still there, and those of others.', { listMapKeys: ['name'] })),
    boot: z.optional(BootReport),
    reboot: z.optional(RebootReport),
    hardware: z.optional(Hardware),
    conditions: conditions(),
  })
  .check(doc("The agent's report."));
export type NodeKernelStatus = z.infer<typeof NodeKernelStatus>;

export interface NodeKernel {
  readonly metadata: ObjectMeta;
  readonly spec: NodeKernelSpec;
  /** The stored spec where it is of another version: `spec` is empty then. */
  readonly unread?: Readonly<Record<string, unknown>>;
  readonly status?: NodeKernelStatus;
}

export const nodeKernelDefinition: KindDefinition = {
  kind: 'NodeKernel',
  plural: 'nodekernels',
  singular: 'nodekernel',
  shortNames: ['nk'],
  description: 'NodeKernel is the contract with one node and has its name: spec is what the operator wants there, status what the agent on that node saw. Not for people to write.',
  spec: NodeKernelSpec,
  status: NodeKernelStatus,
  specRequired: true,
  columns: [
    { name: 'Kernel', type: 'string', jsonPath: '.status.kernel.release', description: 'the running kernel' },
    { name: 'Action', type: 'string', jsonPath: '.spec.plan.action', description: 'what fixes this node with the least disruption' },
    { name: 'State', type: 'string', jsonPath: '.status.state', description: 'how far it is' },
    { name: 'Reboot', type: 'string', jsonPath: '.spec.reboot.phase', description: 'how far the reboot is that it is to make' },
    { name: 'Active', type: 'string', jsonPath: '.status.active', description: 'active live patches' },
    { name: 'CVEs', type: 'string', jsonPath: '.status.cves.closed', description: 'CVEs closed on this node / CVEs of the selected KernelPatches' },
    { name: 'Ready', type: 'string', jsonPath: '.status.conditions[?(@.type=="Ready")].status', description: 'True when the node is open to no selected CVE' },
    { name: 'Reason', type: 'string', jsonPath: '.status.conditions[?(@.type=="Ready")].reason', description: 'why it is or is not Ready' },
    { name: 'Age', type: 'date', jsonPath: '.metadata.creationTimestamp', description: 'since when the object exists' },
    { name: 'Effective', type: 'string', jsonPath: '.status.effectiveRelease', description: 'the newest kernel whose known fixes the node has', priority: 1 },
    { name: 'Next', type: 'string', jsonPath: '.status.nextBoot.release', description: 'the kernel that the boot loader starts at the next boot by firmware', priority: 1 },
    { name: 'Message', type: 'string', jsonPath: '.status.conditions[?(@.type=="Ready")].message', description: 'Ready in words', priority: 1 },
    { name: 'Policy', type: 'string', jsonPath: '.spec.plan.policy', description: 'the PatchPolicy the node belongs to', priority: 1 },
  ],
};
