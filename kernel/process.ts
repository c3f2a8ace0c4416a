/** Who a process is: its name and, when it runs in a pod, the pod. */
import { SYSFS_BYTES, listOrUnknown, readText } from './facts.ts';
import type { Host } from './host.ts';

export interface PodOf {
  readonly uid: string;
  /** namespace/name; undefined when the kubelet keeps no logs of it. */
  readonly name: string | undefined;
}

/** Where the kubelet keeps the logs of pods: one directory each, NAMESPACE_NAME_UID. */
const POD_LOGS = '/var/log/pods';
/** As cgroupfs (pod<uid>) and systemd (pod<uid with _ for ->.slice) name a pod's group, in both versions of cgroups. */
const POD_GROUP = /pod([0-9a-f]{8}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{12})(?:\.slice)?(?:\/|$)/m;

/** The uid of the pod that a /proc/PID/cgroup is of; undefined: none. */
export function parsePodUID(cgroup: string): string | undefined {
  return POD_GROUP.exec(cgroup)?.[1]?.replaceAll('_', '-');
}

export async function readPod(host: Host, pid: number): Promise<PodOf | undefined> {
  const cgroup = await readText(host, `/proc/${pid}/cgroup`);
  const uid = cgroup === undefined ? undefined : parsePodUID(cgroup);
  if (uid === undefined) return undefined;
  const [namespace, name] = ((await listOrUnknown(host, POD_LOGS)) ?? []).find((entry) => entry.name.endsWith(`_${uid}`))?.name.split('_') ?? [];
  return { uid, name: namespace === undefined || name === undefined ? undefined : `${namespace}/${name}` };
}

/** As `cat (PID 812) in pod default/web`; undefined when there is no such process. */
export async function describeProcess(host: Host, pid: number): Promise<string | undefined> {
  const comm = await readText(host, `/proc/${pid}/comm`);
  if (comm === undefined) return undefined;
  return `${comm} (PID ${pid})${describePod(await readPod(host, pid))}`;
}

export function describePod(pod: PodOf | undefined): string {
  return pod === undefined ? '' : ` in pod ${pod.name ?? `with uid ${pod.uid}`}`;
}

/** A stack of a task as /proc/PID/stack has it, without offsets: the innermost functions first. */
export function parseStack(text: string, frames: number): readonly string[] {
  return text
    .slice(0, SYSFS_BYTES)
    .split('\n')
    .flatMap((line) => /^\[<[0-9a-fx]+>\] ([^\s+]+)/.exec(line)?.[1] ?? [])
    .slice(0, frames);
}
