/** Which entry of its menu GRUB starts when nobody is there, as grub-core/normal/menu.c chooses it. Pure. */
import { KernelPatchError } from '../errors.ts';
import { imageOf, openSubmenu, runScript, valueOf } from './menu.ts';
import type { MenuEntry, Run, Surroundings } from './menu.ts';
import { parseScript } from './script.ts';

export interface Choice {
  readonly title: string;
  /** The kernel's image as GRUB names it: its path begins at the disk that has it. */
  readonly image: string;
  /** Only the next boot, since grub-reboot asked for it: then the default is another one again. */
  readonly once: boolean;
}

/** Throws BootLoaderUnknown, with what stands in the way in the message, and nothing else, whatever the text is. */
export function chooseEntry(config: string, surroundings: Surroundings): Choice {
  const run = runScript(parseScript(config), surroundings);
  const timeout = valueOf(run, 'timeout');
  if (timeout === '' || timeout?.startsWith('-')) unknown('its menu waits for a person: set GRUB_TIMEOUT in /etc/default/grub to 0 or more seconds');
  const wanted = valueOf(run, 'default');
  if (wanted === undefined) unknown(`line ${run.doubts.get('default') ?? 0} sets the default entry on a condition that can not be told here`);
  return { ...start(run, wanted), once: isTaken(run, 'next_entry') };
}

/** Stands for any entry that grub-set-default may name. */
const ANY = 'kernelpatch-any-entry';

/** What grub-set-default names is the default. Throws BootLoaderUnknown. */
export function takesSavedEntry(config: string, surroundings: Surroundings): boolean {
  const environment = new Map([...surroundings.environment, ['next_entry', ''], ['saved_entry', ANY]]);
  const run = runScript(parseScript(config), { ...surroundings, files: new Set([...surroundings.files, 'grubenv']), environment });
  return valueOf(run, 'default') === ANY;
}

/**
 * How grub-set-default and grub-reboot name the entry that starts this kernel, also when others are installed later: by ids that have its release in them, or by titles where an entry has no id. undefined: there is none.
 * Throws BootLoaderUnknown.
 */
export function nameEntry(config: string, surroundings: Surroundings, release: string, isImage: (image: string) => boolean): string | undefined {
  return searchMenu(runScript(parseScript(config), surroundings), release, isImage);
}

/** The first one: those for recovery stand behind it. */
function searchMenu(run: Run, release: string, isImage: (image: string) => boolean): string | undefined {
  for (const { certain, id, title = '', starts } of run.menu) {
    if (!certain || id === undefined) continue;
    const name = id.replaceAll('>', '>>');
    const inner = typeof starts !== 'string' && starts.submenu ? searchMenu(openSubmenu(run, starts), release, isImage) : undefined;
    if (inner !== undefined) return `${name}>${inner}`;
    if (isNamedAfter(release, [id, title]) && startsImage(run, starts, isImage)) return name;
  }
  return undefined;
}

function isNamedAfter(release: string, names: readonly string[]): boolean {
  return names.some((name) => name.includes(release));
}

function startsImage(run: Run, starts: MenuEntry['starts'], isImage: (image: string) => boolean): boolean {
  if (typeof starts !== 'string' && starts.submenu) return false;
  const image = typeof starts === 'string' ? starts : imageOf(run, starts);
  return image !== undefined && isImage(image);
}

/** grubenv has the variable, and the script has emptied it. */
function isTaken(run: Run, name: string): boolean {
  return (run.surroundings.environment.get(name) ?? '') !== '' && valueOf(run, name) === '';
}

function unknown(why: string): never {
  throw new KernelPatchError('BootLoaderUnknown', why);
}

function start(run: Run, wanted: string): Pick<Choice, 'title' | 'image'> {
  const { head, rest } = splitDefault(wanted);
  const { title = '', starts } = pick(run.menu, head);
  if (typeof starts === 'string') return { title, image: starts };
  if (!starts.submenu) return { title, image: imageOf(run, starts) ?? unknown(`which kernel the entry "${title}" starts depends on what can not be told here`) };
  if (rest === undefined) unknown(`the default "${wanted}" is a submenu: name an entry in it too, as "${wanted}>ENTRY"`);
  return start(openSubmenu(run, starts), rest);
}

/** At the first > that stands alone; two of them stand for one in a name. */
function splitDefault(wanted: string): { readonly head: string; readonly rest: string | undefined } {
  const marked = wanted.replaceAll('>>', '\0');
  const at = marked.indexOf('>');
  if (at === -1) return { head: marked.replaceAll('\0', '>'), rest: undefined };
  return { head: marked.slice(0, at).replaceAll('\0', '>'), rest: marked.slice(at + 1).replaceAll('\0', '>>') };
}

/** By id or title, else by number. GRUB takes the first entry when it finds none. */
function pick(menu: readonly MenuEntry[], wanted: string): MenuEntry {
  const named = wanted === '' ? undefined : menu.find(({ id, title }) => [id, title].some((name) => name === undefined || name === wanted));
  if (named) return isSure(named) ? named : doubt(named);
  const index = numberOf(menu, wanted);
  const entry = menu[index] ?? menu[0] ?? unknown('its menu has no entries');
  const doubtful = menu.slice(0, menu.indexOf(entry) + 1).find((each) => !isSure(each));
  return doubtful ? doubt(doubtful) : entry;
}

function isSure({ certain, id, title }: MenuEntry): boolean {
  return certain && id !== undefined && title !== undefined;
}

function doubt({ line }: MenuEntry): never {
  return unknown(`whether line ${line} adds an entry, and under which name, can not be told here`);
}

/** GRUB reads a number that has something behind it up to there; the RHEL family's takes it for a name, as a machine id begins with a digit. */
function numberOf(menu: readonly MenuEntry[], wanted: string): number {
  if (/^\d{1,4}$/.test(wanted)) return Number(wanted);
  if (/^\s*\d/.test(wanted) && !menu.some(({ starts }) => typeof starts === 'string')) unknown(`the default "${wanted}" is neither an entry nor a number`);
  return 0;
}
