/** What the kernel says about functions that a live patch is to change: whether they are there, can be hooked, and who has hooked them. */
import { codeOf } from './errors.ts';
import { listOrUnknown } from './facts.ts';
import type { PatchedFunction } from './functions.ts';
import type { Host } from './host.ts';
import { describeProcess } from './process.ts';
import { symbolCounter } from './symbols.ts';
import type { SymbolCounter } from './symbols.ts';

export interface FunctionFacts {
  readonly function: PatchedFunction;
  /** How many functions of this name the object has. */
  readonly symbols: number | 'unknown';
  readonly traceable: boolean | 'unknown';
  /** Who else replaces what it does (IPMODIFY), so that no live patch can; undefined: nobody. */
  readonly user: string | undefined;
}

/** What was looked at, and what could not be. */
export interface FunctionFindings {
  readonly functions: readonly FunctionFacts[];
  /** In words for people; empty: everything was looked at. */
  readonly unchecked: readonly string[];
}

const KALLSYMS = '/proc/kallsyms';
/** Where tracefs is mounted, newest first (Documentation/trace/ftrace.rst). */
const TRACEFS = ['/sys/kernel/tracing', '/sys/kernel/debug/tracing'] as const;
const KPROBE_LIST = '/sys/kernel/debug/kprobes/list';
/** What kallsyms has behind the first symbol of a module, and only there: the kernel's own symbols come first (kernel/kallsyms.c, update_iter_mod). */
const OF_MODULE = '\t[';
/** Debian's kernel has 10 MiB with its modules. */
const MAX_LIST_BYTES = 128 * 1024 * 1024;
/** The form of enabled_functions (kernel/trace/ftrace.c, t_show): name, [module], (hooks), flags in columns, a tab, who. */
const ENABLED = /^(\S+)(?: \[(\w+)\])? \(\d+\)([^\t]*)/;

/** `livePatched` are functions that some live patch has, as vmlinux:version_proc_show: a second one is put in front of it by the kernel. */
export async function readFunctions(host: Host, functions: readonly PatchedFunction[], livePatched: ReadonlySet<string>): Promise<FunctionFindings> {
  const symbols = symbolCounter(functions, 2);
  const traceable = symbolCounter(functions, 0);
  const ofModules = functions.some(({ object }) => object !== 'vmlinux');
  const tracefs = await findTracefs(host);
  const seen = {
    symbols: await count(host, KALLSYMS, symbols, (lines) => !ofModules && lines.includes(OF_MODULE)),
    traceable: tracefs !== undefined && (await count(host, `${tracefs}/available_filter_functions`, traceable, () => traceable.all)),
    users: tracefs === undefined ? undefined : await readUsers(host, tracefs, functions),
  };
  return {
    functions: functions.map((each) => ({
      function: each,
      symbols: seen.symbols ? symbols.count(each) : 'unknown',
      traceable: seen.traceable ? traceable.count(each) > 0 : 'unknown',
      user: livePatched.has(labelOf(each)) ? undefined : seen.users?.get(labelOf(each)),
    })),
    unchecked: [
      ...(seen.symbols ? [] : [`whether its functions are in the kernel (${KALLSYMS} can not be read)`]),
      ...(tracefs === undefined ? ['whether its functions can be hooked, and who has hooked them (tracefs is not mounted on the node)'] : []),
      ...(tracefs !== undefined && !seen.traceable ? ['whether its functions can be hooked (available_filter_functions can not be read)'] : []),
      ...(tracefs !== undefined && seen.users === undefined ? ['who has hooked its functions (enabled_functions can not be read)'] : []),
    ],
  };
}

export const labelOf = ({ object, name }: Pick<PatchedFunction, 'object' | 'name'>): string => `${object}:${name}`;

async function findTracefs(host: Host): Promise<string | undefined> {
  for (const directory of TRACEFS) if ((await listOrUnknown(host, directory))?.some(({ name }) => name === 'available_filter_functions')) return directory;
  return undefined;
}

/** The kernel takes as long for a list as for all other checks together, so none is read further than `isEnough` says. False: it is not there, is empty or can not be read. */
async function count(host: Host, path: string, counter: SymbolCounter, isEnough: (lines: Buffer) => boolean): Promise<boolean> {
  const there = await look(host, path, (lines) => {
    counter.accept(lines);
    return isEnough(lines);
  });
  return there && counter.any;
}

/** False: it is not there or can not be read. */
async function look(host: Host, path: string, visit: (lines: Buffer) => boolean): Promise<boolean> {
  try {
    return await host.scan(path, MAX_LIST_BYTES, visit);
  } catch (error) {
    if (codeOf(error) === undefined) throw error;
    return false;
  }
}

/** Of each function that somebody holds with IPMODIFY, who; undefined: not known. */
async function readUsers(host: Host, tracefs: string, functions: readonly PatchedFunction[]): Promise<ReadonlyMap<string, string> | undefined> {
  const held = new Set<string>();
  const there = await look(host, `${tracefs}/enabled_functions`, (lines) => {
    for (const line of lines.toString('latin1').split('\n')) {
      const [, name = '', object = 'vmlinux', flags = ''] = ENABLED.exec(line) ?? [];
      if (/(^| )I( |$)/.test(flags)) held.add(labelOf({ object, name }));
    }
    return false;
  });
  if (!there) return undefined;
  const users = new Map<string, string>();
  for (const each of functions.filter((one) => held.has(labelOf(one)))) users.set(labelOf(each), await describeUser(host, tracefs, each.name));
  return users;
}

/** The kernel does not say whose hook it is; probes name themselves. */
async function describeUser(host: Host, tracefs: string, name: string): Promise<string> {
  const events = await matchingLines(host, `${tracefs}/kprobe_events`, new RegExp(`^[pr]\\S*:(\\S+) (?:\\w+:)?${RegExp.escape(name)}(?:\\+0(?:x0)?)?(?: |$)`));
  if (events.length > 0) return (await Promise.all(events.map((event) => describeEvent(host, event)))).join(', ');
  // Where the hook is: behind the function's begin by the length of endbr64, where the kernel is built with IBT.
  const probes = await matchingLines(host, KPROBE_LIST, new RegExp(`^\\S+ +([kr]) +${RegExp.escape(name)}\\+0x[0-9a-f]+ .*\\[FTRACE\\]`));
  return probes.length > 0 ? 'a kprobe of a kernel module or of perf' : 'another tracer of the kernel';
}

/** bcc and its kin end the name of an event with the PID that made it. */
async function describeEvent(host: Host, event: string): Promise<string> {
  const pid = /_(\d{1,10})$/.exec(event)?.[1];
  const owner = pid === undefined ? undefined : await describeProcess(host, Number(pid));
  return `kprobe ${event}${owner === undefined ? '' : ` of ${owner}`}`;
}

/** What the first group of the pattern matches, line by line. */
async function matchingLines(host: Host, path: string, pattern: RegExp): Promise<readonly string[]> {
  const found: string[] = [];
  await look(host, path, (lines) => {
    for (const line of lines.toString('latin1').split('\n')) {
      const match = pattern.exec(line)?.[1];
      if (match !== undefined && found.length < MAX_USERS) found.push(match);
    }
    return found.length === MAX_USERS;
  });
  return found;
}

/** Named in a message; more would not fit. */
const MAX_USERS = 5;
