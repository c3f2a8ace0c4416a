/**
 * Whether GRUB itself can write its grubenv, as it must to start an entry once only: it writes into the blocks that the file has, which it can not do on volumes that it puts together by itself or with checksums of their own. There the entry would be
 * started at every boot, also when its kernel panics.
 */
import type { Host } from '../host.ts';
import type { Obstacle } from './grub.ts';

/** Of the node's init. */
const MOUNTS = '/proc/1/mountinfo';
const FILE_SYSTEMS: ReadonlySet<string> = new Set(['ext2', 'ext3', 'ext4', 'xfs', 'vfat']);
/** Each container adds some, of a kilobyte and more. */
const MAX_MOUNTS_BYTES = 32 * 1024 * 1024;
/** LVM, encryption and software RAID, by the name that they were mounted by; /dev/root and /dev/GROUP/VOLUME are such names too, so sysfs is asked as well. */
const VOLUME = /^\/dev\/(mapper\/|dm-|md)/;
const IN_SYSFS: ReadonlySet<string> = new Set(['dm', 'md']);

interface Mount {
  /** As 254:1. */
  readonly device: string;
  readonly point: string;
  readonly fileSystem: string;
  readonly source: string;
}

/** Of the mounts that have the directory below them the one of the longest path has it, the last of those. */
export async function findGrubWriteObstacle(host: Host, directory: string): Promise<Obstacle | undefined> {
  const mounts: Mount[] = [];
  await host.scan(MOUNTS, MAX_MOUNTS_BYTES, (lines) => {
    mounts.push(...mountsOf(lines.toString('utf8'), directory));
    return true;
  });
  const mount = mounts.reduce<Mount | undefined>((best, each) => (best === undefined || each.point.length >= best.point.length ? each : best), undefined);
  if (mount !== undefined && FILE_SYSTEMS.has(mount.fileSystem) && !(await isVolume(host, mount))) return undefined;
  const where = mount === undefined ? `where ${directory} is mounted can not be read` : `${directory} is on ${mount.source} (${mount.fileSystem})`;
  return { reason: 'GrubenvNotWritable', message: `GRUB can not be told to start a kernel once: ${where}, and it writes on a plain partition with ${[...FILE_SYSTEMS].join(', ')} only. Make the fixed kernel its default by hand` };
}

async function isVolume(host: Host, { device, source }: Mount): Promise<boolean> {
  return VOLUME.test(source) || ((await host.list(`/sys/dev/block/${device}`)) ?? []).some(({ name }) => IN_SYSFS.has(name));
}

function mountsOf(mountinfo: string, directory: string): readonly Mount[] {
  return mountinfo.split('\n').flatMap(parseMount).filter(({ point }) => `${directory}/`.startsWith(point === '/' ? '/' : `${point}/`));
}

/** As in proc_pid_mountinfo(5); a directory with a space in its path is none of GRUB's. */
function parseMount(line: string): readonly Mount[] {
  const [, device, point, fileSystem, source] = /^(?:\S+ ){2}(\d+:\d+) \S+ (\S+) .*? - (\S+) (\S+)/.exec(line) ?? [];
  return device === undefined || point === undefined || fileSystem === undefined || source === undefined ? [] : [{ device, point, fileSystem, source }];
}
