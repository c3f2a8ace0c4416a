/**
 * The write-ahead journal of loads and of the reboot that is being made: what was about to be given to the kernel, and how it ended. A boot that ends while a
 * load is open may have ended because of it. Pure; the file is kept by daemonset/journal.ts.
 */
import { createHash } from 'node:crypto';

/** A load that is about to be tried. */
export interface Attempt {
  readonly name: string;
  readonly sha256: string;
  /** Of the module, so that it is recognised in the kernel whatever became of the file. */
  readonly buildID: string;
  readonly bootID: string;
  /** Seconds since that boot, on the clock that the kernel log has. */
  readonly uptimeSeconds: number;
  /** For people, RFC 3339. */
  readonly at: string;
  /** The word by which an earlier quarantine of this digest was lifted; empty: none. */
  readonly lift: string;
  /** How many boots in a row had ended by then before the soak of their load of this digest; absent: what the records before it tell. */
  readonly crashes?: number;
}

/** A reboot order that is carried out. */
export interface Reboot {
  readonly id: string;
  readonly method: 'Kexec' | 'Firmware';
  /** The kernel that is to run afterwards. */
  readonly release: string;
  /** The boot that is to end. */
  readonly bootID: string;
  /** The boot loader is told to start the kernel once, which it would not by default. */
  readonly once?: true;
  /** For people, RFC 3339. */
  readonly at: string;
}

/** Installing: the node's package manager may have been asked for the kernel. Staging: the kernel may have its image. GoingDown: the node may have been told to go down. The last record of them counts; there is none once nothing depends on it. */
export type RebootRecord = { readonly kind: 'Installing' | 'Staging' | 'GoingDown' } & Reboot;

/** Committed: the transition ended and was verified. Unloaded: the kernel does not have it. Oops: the kernel log has a trace that names it. */
export type JournalRecord =
  | RebootRecord
  | ({ readonly kind: 'Attempt' } & Attempt)
  | { readonly kind: 'Committed' | 'Unloaded'; readonly sha256: string }
  | { readonly kind: 'Oops'; readonly sha256: string; readonly trace: string };

/** The last attempt of one digest, and what became of it. */
export interface Load extends Attempt {
  readonly crashes: number;
  readonly outcome: 'Open' | 'Committed' | 'Unloaded';
  /** The first line of a trace that names it. */
  readonly trace: string | undefined;
}

/** By digest. */
export type Loads = ReadonlyMap<string, Load>;

export interface Quarantine {
  readonly reason: 'QuarantinedAfterBoot' | 'QuarantinedOops' | 'QuarantinedCrashLoop';
  readonly message: string;
}

/** 10 min: a patched function that is wrong mostly shows it at its first calls. */
export const SOAK_SECONDS = 600;
/** One boot that ends soon after a load may be a power cut; the second in a row is held against the file. */
const MAX_CRASHES = 2;
/** Some 200 attempts; in use the journal has one or two lines. */
export const MAX_JOURNAL_BYTES = 64 * 1024;
const CHECKSUM_CHARACTERS = 16;
const MAX_TRACE_CHARACTERS = 200;

/** One line: the first 16 digits of the JSON's SHA-256 in hex, which a shell can make as well (daemonset/boot/load.sh), a space, the JSON. */
export function encodeRecord(record: JournalRecord): string {
  const json = JSON.stringify(record);
  return `${checksum(json)} ${json}\n`;
}

export interface ReadJournal {
  readonly records: readonly JournalRecord[];
  /** What is wrong behind the last good record; undefined: nothing. */
  readonly damage: string | undefined;
}

/**
 * The records up to the first bad one: what a power cut tore, or left as NUL bytes. A record is only acted upon once it is durable, so what
 * was torn had no consequence. Never throws.
 */
export function parseJournal(bytes: Buffer): ReadJournal {
  const records: JournalRecord[] = [];
  let at = 0;
  while (at < bytes.length) {
    const end = bytes.indexOf(0x0a, at);
    const record = end === -1 ? undefined : parseLine(bytes.toString('utf8', at, end));
    if (record === undefined) return { records, damage: `record ${records.length + 1}, at byte ${at} of ${bytes.length}, is torn or was never written` };
    records.push(record);
    at = end + 1;
  }
  return { records, damage: undefined };
}

export function foldRecords(records: readonly JournalRecord[]): Loads {
  return records.reduce(applyRecord, new Map<string, Load>());
}

/** A record about a digest without an attempt says nothing: the attempt was dropped since nothing depends on it. */
export function applyRecord(loads: Loads, record: JournalRecord): Loads {
  if (isReboot(record)) return loads;
  const load = loads.get(record.sha256);
  switch (record.kind) {
    case 'Attempt': {
      const { kind: _, ...attempt } = record;
      const crashes = attempt.crashes ?? (load?.lift === attempt.lift ? crashesOf(load, attempt.bootID) : 0);
      return new Map(loads).set(record.sha256, { ...attempt, crashes, outcome: 'Open', trace: undefined });
    }
    case 'Committed':
    case 'Unloaded':
      return load === undefined ? loads : new Map(loads).set(record.sha256, { ...load, outcome: record.kind });
    case 'Oops':
      return load === undefined ? loads : new Map(loads).set(record.sha256, { ...load, trace: record.trace.slice(0, MAX_TRACE_CHARACTERS) });
    default:
      return record satisfies never;
  }
}

export function isReboot(record: JournalRecord): record is RebootRecord {
  return record.kind === 'Installing' || record.kind === 'Staging' || record.kind === 'GoingDown';
}

/** A load is forgotten once its soak is over, or its agent told to end. One that is still known in another boot was followed by the end of its own. */
function crashesOf(load: Load, bootID: string): number {
  return load.crashes + (load.outcome === 'Committed' && load.bootID !== bootID ? 1 : 0);
}

/** The shortest records that tell the same of the loads. */
export function recordsOf(loads: Iterable<Load>): readonly JournalRecord[] {
  return [...loads].flatMap(({ outcome, trace, ...attempt }): JournalRecord[] => [
    { kind: 'Attempt', ...attempt },
    ...(outcome === 'Open' ? [] : [{ kind: outcome, sha256: attempt.sha256 }]),
    ...(trace === undefined ? [] : [{ kind: 'Oops' as const, sha256: attempt.sha256, trace }]),
  ]);
}

/** Where the machine is in time. A boot id of `unknown` is no boot. */
export interface Moment {
  readonly bootID: string;
  readonly uptimeSeconds: number;
}

/** True while something depends on it: it is under way, it may still fail in this boot, or it is held back. */
export function isNeeded(load: Load, now: Moment): boolean {
  return load.outcome === 'Open' || load.trace !== undefined || isSoaking(load, now) || isSuspect(load, now);
}

/** The boot before may have ended because of it: so it is known until it was tried again and this boot has lasted, and for good once it is held back. */
function isSuspect(load: Load, { bootID, uptimeSeconds }: Moment): boolean {
  if (load.outcome !== 'Committed' || load.bootID === bootID) return false;
  return crashesOf(load, bootID) >= MAX_CRASHES || uptimeSeconds <= SOAK_SECONDS;
}

/** True while a trace in the kernel log is held against it. */
export function isSoaking(load: Load, { bootID, uptimeSeconds }: Moment): boolean {
  return load.bootID === bootID && load.outcome !== 'Unloaded' && load.trace === undefined && uptimeSeconds >= 0 && uptimeSeconds <= load.uptimeSeconds + SOAK_SECONDS;
}

/**
 * Why this digest is not loaded on this node any more; undefined: nothing is held against it. A word to lift it counts once: the attempt it
 * leads to is recorded with it.
 */
export function findQuarantine(load: Load | undefined, bootID: string, lift: string): Quarantine | undefined {
  if (load === undefined || bootID === 'unknown' || (lift !== '' && lift !== load.lift)) return undefined;
  if (load.trace !== undefined) {
    return { reason: 'QuarantinedOops', message: `the kernel log named ${load.name} within ${SOAK_SECONDS / 60} min after its load at ${load.at}: ${load.trace}` };
  }
  if (crashesOf(load, bootID) >= MAX_CRASHES) {
    return { reason: 'QuarantinedCrashLoop', message: `${MAX_CRASHES} boots in a row were not seen to last ${SOAK_SECONDS / 60} min after they loaded ${load.name}, the last at ${load.at}` };
  }
  if (load.outcome !== 'Open' || load.bootID === bootID) return undefined;
  return { reason: 'QuarantinedAfterBoot', message: `the load of ${load.name} at ${load.at} had not ended when the node went down` };
}

function checksum(json: string): string {
  return createHash('sha256').update(json).digest('hex').slice(0, CHECKSUM_CHARACTERS);
}

function parseLine(line: string): JournalRecord | undefined {
  const json = line.slice(CHECKSUM_CHARACTERS + 1);
  if (line !== `${checksum(json)} ${json}`) return undefined;
  try {
    return checkRecord(JSON.parse(json));
  } catch {
    // A checksum that fits by chance.
    return undefined;
  }
}

function checkRecord(value: unknown): JournalRecord | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const fields = value as Readonly<Record<string, unknown>>;
  const texts = TEXTS[String(fields['kind'])];
  if (texts === undefined || texts.some((name) => typeof fields[name] !== 'string')) return undefined;
    if (fields['kind'] === 'Attempt' && (!Number.isFinite(fields['uptimeSeconds']) || !Number.isFinite(fields['crashes'] ?? 0))) return undefined;
  return fields as unknown as JournalRecord;
}

/** The fields of each kind that are text. */
const TEXTS: Readonly<Record<string, readonly string[]>> = {
  Attempt: ['name', 'sha256', 'buildID', 'bootID', 'at', 'lift'],
  Committed: ['sha256'],
  Unloaded: ['sha256'],
  Oops: ['sha256', 'trace'],
  Installing: ['id', 'method', 'release', 'bootID', 'at'],
  Staging: ['id', 'method', 'release', 'bootID', 'at'],
  GoingDown: ['id', 'method', 'release', 'bootID', 'at'],
};
