/**
 * Runs a GRUB script as far as its menu: which entries there are, and what its variables hold. What depends on the machine's firmware or disks is not
 * known, and neither is what is only done on such a condition; a command that could do anything ends the reading. The work is bounded by MAX_STEPS.
 */
import { KernelPatchError } from '../errors.ts';
import { test } from './condition.ts';
import type { Truth, Value } from './condition.ts';
import type { BootEntry } from './entries.ts';
import { notUnderstood } from './script.ts';
import type { Command, Menu, Statement, Word } from './script.ts';

/** What GRUB finds beside its script. */
export interface Surroundings {
  /** Of the script, where GRUB's own $prefix and $config_directory are too. */
  readonly directory: string;
  /** The names in it. */
  readonly files: ReadonlySet<string>;
  /** The variables of its grubenv. */
  readonly environment: ReadonlyMap<string, string>;
  /** Those of the Boot Loader Specification, in the order of the menu. */
  readonly entries: readonly BootEntry[];
}

export interface MenuEntry {
  readonly line: number;
  readonly title: Value;
  readonly id: Value;
  /** Whether it is in the menu. */
  readonly certain: boolean;
  /** What it starts: the kernel's image, or statements that are still to be run. */
  readonly starts: string | Menu;
}

export interface Run {
  readonly surroundings: Surroundings;
  readonly variables: Map<string, Value>;
  /** The lines that left a variable unknown. */
  readonly doubts: Map<string, number>;
  readonly functions: Map<string, readonly Statement[]>;
  readonly menu: MenuEntry[];
  /** Inside of an entry: the images its linux commands name. In the menu: undefined. */
  readonly images: Value[] | undefined;
  readonly steps: { left: number };
}

/** Words and variables that are looked at: a configuration with 64 kernels takes 3,000, since only the entry that is started is run. */
const MAX_STEPS = 200_000;
/** More than a command line of the kernel. */
const MAX_CHARACTERS = 16 * 1024;
const MAX_CALLS = 16;
const ASSIGNMENT = /^([A-Za-z_][A-Za-z0-9_]*)=([\s\S]*)$/;
/** Commands that change neither the menu nor a variable that this reads; some are asked as a condition. */
const HARMLESS: ReadonlySet<string> = new Set([
  'background_color', 'background_image', 'badram', 'clear', 'cmostest', 'cryptomount', 'cutmem', 'echo', 'export', 'false', 'fwsetup', 'hwmatch', 'insmod', 'keymap', 'keystatus', 'loadfont', 'password',
  'password_pbkdf2', 'play', 'rmmod', 'save_env', 'search', 'serial', 'sleep', 'terminal', 'terminal_input', 'terminal_output', 'terminfo', 'true',
]);
/** Set by GRUB itself: from the firmware, the disks, the arguments of a function. */
const OF_GRUB = /^([0-9?#@*]|root|cmdpath|grub_cpu|grub_platform|chosen|lang|locale_dir|secondary_locale_dir|config_file|match|shim_lock|(net|pxe)_\w+|gfx\w+)$/;
const LINUX: ReadonlySet<string> = new Set(['linux', 'linux16', 'linuxefi']);

/** The script's menu and variables. Throws BootLoaderUnknown. */
export function runScript(statements: readonly Statement[], surroundings: Surroundings): Run {
  const { directory } = surroundings;
  const variables = new Map<string, Value>([['prefix', directory], ['config_directory', directory]]);
  const run: Run = { surroundings, variables, doubts: new Map(), functions: new Map(), menu: [], images: undefined, steps: { left: MAX_STEPS } };
  runAll(run, statements, { certain: true, calls: 0 });
  return run;
}

/** The menu that a submenu opens. Throws BootLoaderUnknown. */
export function openSubmenu(run: Run, { body }: Menu): Run {
  const inner: Run = { ...run, menu: [] };
  runAll(inner, body, { certain: true, calls: 0 });
  return inner;
}

/** The image that an entry starts; undefined: it depends on what is not known. Throws BootLoaderUnknown, also when it starts none. */
export function imageOf(run: Run, { line, body }: Menu): Value {
  const images: Value[] = [];
  runAll({ ...run, images }, body, { certain: true, calls: 0 });
  if (images.length === 0) notUnderstood(line, 'has an entry that starts no kernel by a linux command');
  return images.at(-1);
}

export function valueOf({ variables }: Run, name: string): Value {
  if (variables.has(name)) return variables.get(name);
  if (name.startsWith('feature_')) return 'y';
  return OF_GRUB.test(name) ? undefined : '';
}

interface Manner {
  /** It is known that this is run. */
  readonly certain: boolean;
  /** How many functions it is inside of. */
  readonly calls: number;
}

function runAll(run: Run, statements: readonly Statement[], manner: Manner): void {
  for (const statement of statements) runStatement(run, statement, manner);
}

function spend({ steps }: Run, count: number): void {
  steps.left -= count;
  if (steps.left < 0) throw new KernelPatchError('BootLoaderUnknown', `its script takes more than ${MAX_STEPS} steps`);
}

function runStatement(run: Run, statement: Statement, manner: Manner): void {
  spend(run, 1);
  switch (statement.kind) {
    case 'Command':
      return runCommand(run, statement, manner);
    case 'If':
      return runIf(run, statement, manner);
    case 'Menu':
      run.menu.push(entryOf(run, statement, manner.certain));
      return;
    case 'Function':
      run.functions.set(statement.name, statement.body);
      return;
    default:
      return statement satisfies never;
  }
}

/** From the first condition on that is not known, each body may be run or not. */
function runIf(run: Run, { branches, otherwise }: Statement & { kind: 'If' }, manner: Manner): void {
  let { certain } = manner;
  for (const { condition, body } of branches) {
    const truth = judge(run, condition);
    if (truth === undefined) certain = false;
    if (truth !== false) runAll(run, body, { ...manner, certain });
    if (truth === true) return;
  }
  runAll(run, otherwise, { ...manner, certain });
}

function judge(run: Run, condition: readonly Statement[]): Truth {
  const [command, ...more] = condition;
  if (command?.kind !== 'Command' || more.length > 0) return notUnderstood(command?.line ?? 0, 'has a condition that is not read');
  const [name, ...words] = expand(run, command.words);
  if (name !== '[') return name !== undefined && HARMLESS.has(name) ? undefined : notUnderstood(command.line, `has the condition "${name ?? ''}", which is not read`);
  return words.at(-1) === ']' ? test(words.slice(0, -1), (path) => find(run, path)) : undefined;
}

/** What lies elsewhere is not known, since GRUB's paths begin at a disk. */
function find({ surroundings: { directory, files } }: Run, path: string): Truth {
  const name = path.slice(directory.length + 1);
  return path === `${directory}/${name}` && !name.includes('/') ? files.has(name) : undefined;
}

/** A word without quotes that turns out empty is none, and one that turns out as several is not read. */
function expand(run: Run, words: readonly Word[]): readonly Value[] {
  return words.flatMap(({ parts, quoted }) => {
    spend(run, parts.length);
    const values = parts.map((part) => ('text' in part ? part.text : valueOf(run, part.variable)));
    if (values.includes(undefined) || values.reduce((sum, value = '') => sum + value.length, 0) > MAX_CHARACTERS) return [undefined];
    const text = values.join('');
    if (quoted) return [text];
    if (text === '') return [];
    return /\s/.test(text) ? [undefined] : [text];
  });
}

type Handler = (run: Run, words: readonly Value[], line: number, manner: Manner) => void;

/** What changes the menu or a variable, beside assignments. */
const COMMANDS: ReadonlyMap<string, Handler> = new Map<string, Handler>([
  ['load_env', loadEnvironment],
  ['blscfg', addEntries],
  ['source', readAnother],
  ['increment', forget],
  ['decrement', forget],
]);

function runCommand(run: Run, command: Command, manner: Manner): void {
  const { line, words } = command;
  if (assign(run, words[0], line, manner)) return;
  const [name, ...values] = expand(run, words);
  if (name === undefined) return notUnderstood(line, 'has a command whose name is not known');
  if (name === 'set' || name === 'unset') return change(run, name, command, manner);
  const body = run.functions.get(name);
  if (body !== undefined) return call(run, body, line, manner);
  if (run.images !== undefined) return startLinux(run.images, name, values, manner);
  const handle = COMMANDS.get(name);
  if (handle !== undefined) return handle(run, values, line, manner);
  if (!HARMLESS.has(name)) notUnderstood(line, `has the command "${name}", which is not read`);
}

/** In an entry all other commands prepare the start. */
function startLinux(images: Value[], name: string, [image]: readonly Value[], { certain }: Manner): void {
  if (!LINUX.has(name)) return;
  images.push(certain || images.at(-1) === image ? image : undefined);
}

/** What a function is given, and what it asks of that, is not followed: each of its statements may be run or not. */
function call(run: Run, body: readonly Statement[], line: number, { calls }: Manner): void {
  if (calls >= MAX_CALLS) notUnderstood(line, `calls more than ${MAX_CALLS} functions in one another`);
  runAll(run, body, { certain: false, calls: calls + 1 });
}

function change(run: Run, verb: 'set' | 'unset', { line, words }: Command, manner: Manner): void {
  const target = words[1];
  if (verb === 'set' && assign(run, target, line, manner)) return;
  const [name] = target === undefined ? [''] : expand(run, [target]);
  if (verb === 'set' || name === undefined) notUnderstood(line, `has a "${verb}" that is not read`);
  put(run, name, '', { line, certain: manner.certain });
}

/** True when the word is NAME=VALUE, which is done then. */
function assign(run: Run, word: Word | undefined, line: number, { certain }: Manner): boolean {
  const [first, ...parts] = word?.parts ?? [];
  const match = first !== undefined && 'text' in first ? ASSIGNMENT.exec(first.text) : null;
  if (match === null) return false;
  const [, name = '', start = ''] = match;
  const [value] = expand(run, [{ parts: [{ text: start }, ...parts], quoted: true }]);
  put(run, name, value, { line, certain });
  return true;
}

function put(run: Run, name: string, value: Value, { line, certain }: { readonly line: number; readonly certain: boolean }): void {
  const known = certain || valueOf(run, name) === value ? value : undefined;
  run.variables.set(name, known);
  if (known === undefined) run.doubts.set(name, line);
}

function loadEnvironment(run: Run, words: readonly Value[], line: number, { certain }: Manner): void {
  const { directory, environment } = run.surroundings;
  const [option, path] = words;
  const own = words.length === 0 || ((option === '-f' || option === '--file') && words.length === 2 && path === `${directory}/grubenv`);
  if (!own) notUnderstood(line, 'reads variables from another place than grubenv');
  spend(run, environment.size);
  for (const [name, value] of environment) put(run, name, value, { line, certain });
}

/** As blscfg without arguments does it: all of them, from where they are on all nodes but those that set blsdir. */
function addEntries(run: Run, words: readonly Value[], line: number, { certain }: Manner): void {
  const elsewhere = !['', '/loader/entries', '/boot/loader/entries'].includes(valueOf(run, 'blsdir') ?? 'unknown');
  if (words.length > 0 || elsewhere) notUnderstood(line, 'takes entries from another place than /boot/loader/entries');
  spend(run, run.surroundings.entries.length);
  run.menu.push(...run.surroundings.entries.map(({ id, title, image }) => ({ line, id, title, certain, starts: image })));
}

/** grub2-setpassword's user.cfg holds GRUB2_PASSWORD alone; any other file may hold anything. */
function readAnother({ surroundings: { directory } }: Run, [path]: readonly Value[], line: number): void {
  if (path !== `${directory}/user.cfg`) notUnderstood(line, `reads another file (${path ?? 'a path that is not known'}), which may change the menu`);
}

/** increment, decrement */
function forget(run: Run, [name]: readonly Value[], line: number, { certain }: Manner): void {
  put(run, name ?? '', undefined, { line, certain });
}

/** Its first word is the title; the id stands behind --id. */
function entryOf(run: Run, menu: Menu, certain: boolean): MenuEntry {
  const words = expand(run, menu.words);
  const option = words.indexOf('--id');
  const inOne = words.find((word) => word?.startsWith('--id='))?.slice('--id='.length);
  const named = option === -1 ? inOne : words[option + 1];
  const id = words.includes(undefined) ? undefined : (named ?? words[0]);
  return { line: menu.line, title: words[0], id, certain, starts: menu };
}
