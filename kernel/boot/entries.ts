/**
 * Entries of the Boot Loader Specification in /boot/loader/entries as the GRUB of the RHEL family and Fedora reads them (its blscfg command): a file
 * for each kernel, the newest name first in the menu.
 */

export interface EntryFile {
  /** As MACHINE-ID-5.14.0-362.el9.x86_64.conf */
  readonly name: string;
  readonly text: string;
}

export interface BootEntry {
  /** The name without .conf. */
  readonly id: string;
  readonly title: string;
  readonly image: string;
}

const SUFFIX = '.conf';

export function isEntryName(name: string): boolean {
  return name.endsWith(SUFFIX) && name.length > SUFFIX.length && !name.startsWith('.');
}

/** The entries that name a kernel, in the order of the menu. */
export function parseEntries(files: readonly EntryFile[]): readonly BootEntry[] {
  const entries = files.filter(({ name }) => isEntryName(name)).map(({ name, text }) => ({ id: name.slice(0, -SUFFIX.length), keys: parseKeys(text) }));
  const sorted = [...entries].sort((a, b) => compareIds(b.id, a.id));
  return sorted.flatMap(({ id, keys }) => {
    const image = keys.get('linux');
    return image === undefined ? [] : [{ id, title: keys.get('title') ?? image, image }];
  });
}

/** Of a key that is there twice the first counts. A line without a value ends the file. */
function parseKeys(text: string): ReadonlyMap<string, string> {
  const keys = new Map<string, string>();
  for (const line of text.split('\n')) {
    const trimmed = line.replace(/^[ \t]+/, '');
    if (trimmed.startsWith('#')) continue;
    const [, key, value] = /^([^ \t]+)[ \t]+([^ \t].*)$/.exec(trimmed) ?? [];
    if (key === undefined || value === undefined) return keys;
    if (!keys.has(key)) keys.set(key, value.trimEnd());
  }
  return keys;
}

/** By name, version and release, as packages are compared: of MACHINE-ID-5.14.0-362.el9 what stands before the last two dashes, between them and behind. */
function compareIds(a: string, b: string): number {
  const [x, y] = [splitId(a), splitId(b)];
  return compareVersions(x.name, y.name) || compareVersions(x.version, y.version) || compareVersions(x.release, y.release);
}

function splitId(id: string): { readonly name: string; readonly version: string; readonly release: string } {
  const [first = '', ...parts] = id.split('-');
  if (parts.length <= 1) return { name: first, version: parts[0] ?? '', release: '' };
  return { name: [first, ...parts.slice(0, -2)].join('-'), version: parts.at(-2) ?? '', release: parts.at(-1) ?? '' };
}

/** As rpm does: part by part, numbers by value and newer than words; a ~ is older than anything, a + newer than the end and older than what else follows. */
function compareVersions(a: string, b: string): number {
  const [partsA, partsB] = [partsOf(a), partsOf(b)];
  for (let index = 0; index < Math.max(partsA.length, partsB.length); index += 1) {
    const order = compareParts(partsA[index] ?? '', partsB[index] ?? '');
    if (order !== 0) return order;
  }
  return 0;
}

function partsOf(version: string): readonly string[] {
  return version.match(/[~+]|[0-9]+|[A-Za-z]+/g) ?? [];
}

/** Where a part comes, before any value is looked at; an empty one is behind the end. */
const KINDS = ['~', '', '+', 'word', 'number'] as const;

function compareParts(a: string, b: string): number {
  const [kindA, kindB] = [kindOf(a), kindOf(b)];
  if (kindA !== kindB) return KINDS.indexOf(kindA) - KINDS.indexOf(kindB);
  const [x, y] = kindA === 'number' ? [BigInt(a), BigInt(b)] : [a, b];
  return x === y ? 0 : x < y ? -1 : 1;
}

function kindOf(part: string): (typeof KINDS)[number] {
  if (part === '~' || part === '' || part === '+') return part;
  return /^[0-9]/.test(part) ? 'number' : 'word';
}
