/** What the kpatch utility keeps on a node (kpatch 0.9, /usr/sbin/kpatch and kpatch.service): modules that it loads at boot. */
import { listOrUnknown } from './facts.ts';
import type { Host } from './host.ts';

export interface KpatchUtility {
  /** Where it keeps modules for the running kernel. */
  readonly directory: string;
  /** Names of the modules there, sorted. */
  readonly modules: readonly string[];
  /** Its service is enabled, and loads them all at the next boot. */
  readonly atBoot: boolean;
}

const INSTALL_DIRECTORY = '/var/lib/kpatch';
/** WantedBy=multi-user.target */
const ENABLED_SERVICES = '/etc/systemd/system/multi-user.target.wants';
const SERVICE = 'kpatch.service';
const SUFFIX = '.ko';
/** More than anybody installs for one kernel, and as many as a report lists. */
const MAX_MODULES = 64;

/** What can not be read counts as not there: it is shown only. */
export async function readKpatchUtility(host: Host, release: string): Promise<KpatchUtility> {
  const directory = `${INSTALL_DIRECTORY}/${release}`;
  const files = ((await listOrUnknown(host, directory)) ?? []).map(({ name }) => name).filter((name) => name.endsWith(SUFFIX));
  const services = files.length === 0 ? [] : ((await listOrUnknown(host, ENABLED_SERVICES)) ?? []);
  return { directory, modules: files.map(moduleOf).sort().slice(0, MAX_MODULES), atBoot: services.some(({ name }) => name === SERVICE) };
}

/** The module of a file, as the utility itself derives it (mod_name). */
function moduleOf(fileName: string): string {
  return fileName.slice(0, -SUFFIX.length).replaceAll('-', '_');
}
