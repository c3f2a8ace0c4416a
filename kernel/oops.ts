/** Traces in the kernel log that name a module. Format of /dev/kmsg: Documentation/ABI/testing/dev-kmsg. */
import { codeOf } from './errors.ts';
import type { Host } from './host.ts';

/** How the kernel begins a trace (lib/bug.c, kernel/panic.c, arch/x86/kernel/dumpstack.c, arch/x86/mm/fault.c). */
const HEADS = /BUG:|kernel BUG at|Oops|WARNING:|general protection/;
/** A trace has 40 to 80 lines: registers, code, stack. */
const TRACE_LINES = 120;
/** priority,sequence,microseconds,flags;text. Facility 0 (a priority of 0 to 7) is the kernel itself; programs that write there get another. */
const RECORD = /^([0-7]),\d+,(\d+),[^;]*;(.*)$/;
/** The largest ring buffer of a distribution's default is 1 MiB. */
const MAX_LOG_BYTES = 16 * 1024 * 1024;

export interface TraceReader {
  /** One line of /dev/kmsg. */
  accept(line: string): void;
  /** For each module that was named, the first line of the first trace that does. */
  readonly traces: ReadonlyMap<string, string>;
}

/** Looks for traces that begin at `sinceSeconds` after the boot or later. A list of loaded modules names none; `[name]` behind a function does. */
export function traceReader(names: readonly string[], sinceSeconds: number): TraceReader {
  const traces = new Map<string, string>();
  let head = '';
  let linesLeft = 0;
  return {
    traces,
    accept(line) {
      const [, , microseconds, text = ''] = RECORD.exec(line) ?? [];
      if (microseconds === undefined || Number(microseconds) < sinceSeconds * 1e6) return;
      if (linesLeft === 0 && HEADS.test(text)) [head, linesLeft] = [text, TRACE_LINES];
      if (linesLeft === 0) return;
      linesLeft -= 1;
      for (const name of names) if (!traces.has(name) && text.includes(` [${name}]`)) traces.set(name, head);
    },
  };
}

/** A module, and the second after the boot from which on traces are held against it. */
export interface Suspect {
  readonly name: string;
  readonly uptimeSeconds: number;
}

/** What the kernel log, read once, holds against each of them; undefined when it can not be read. */
export async function findTraces<T extends Suspect>(host: Host, suspects: readonly T[]): Promise<ReadonlyMap<T, string> | undefined> {
  const readers = suspects.map((suspect) => ({ suspect, reader: traceReader([suspect.name], suspect.uptimeSeconds) }));
  try {
    const there = await host.scan('/dev/kmsg', MAX_LOG_BYTES, (lines) => {
      for (const line of lines.toString('latin1').split('\n')) for (const { reader } of readers) reader.accept(line);
      return false;
    });
    return there ? new Map(readers.flatMap(({ suspect, reader }) => [...reader.traces.values()].map((trace) => [suspect, trace] as const))) : undefined;
  } catch (error) {
    if (codeOf(error) === undefined) throw error;
    return undefined;
  }
}
