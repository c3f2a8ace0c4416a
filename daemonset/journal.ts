/** Keeps the write-ahead journal (kernel/journal.ts) in one small file of the node, and no file while nothing depends on it. */
import type { Logger } from 'pino';
import { KernelPatchError, codeOf } from '../kernel/errors.ts';
import type { Host } from '../kernel/host.ts';
import { MAX_JOURNAL_BYTES, applyRecord, encodeRecord, foldRecords, isReboot, parseJournal, recordsOf } from '../kernel/journal.ts';
import type { JournalRecord, Load, Loads, RebootRecord } from '../kernel/journal.ts';
import type { JournalErrorCode } from './errors.ts';

/** FHS 5.8.5: for state that needs no directory of its own. The directory is there on every node, so removing the file leaves nothing. */
export const JOURNAL_PATH = '/var/lib/misc/kernelpatch.journal';
/** A larger file is not ours. */
const MAX_FILE_BYTES = 16 * MAX_JOURNAL_BYTES;

export interface Journal {
  readonly loads: Loads;
  /** The reboot that is being made, or was made last and not told yet; undefined: none. */
  readonly reboot: RebootRecord | undefined;
  /** Why nothing may be loaded: what is quarantined here can not be known. undefined: it was read. */
  readonly unreadable: string | undefined;
  /** Why the last record could not be written; undefined: it was. */
  readonly unwritable: string | undefined;
  /** The file has been read, or `unreadable` says why not. Cheap to repeat. */
  open(): Promise<void>;
  /** The record is durable. Throws JournalUnwritable: then it does not count. */
  record(record: JournalRecord): Promise<void>;
  /** What `keeps` does not hold is forgotten, and the file is whole and within its bound; gone when nothing is left. A failure is logged and tried again with the next call. */
  tidy(keeps: (load: Load) => boolean): Promise<void>;
  /** There is no reboot any more. Throws JournalUnwritable. */
  forgetReboot(): Promise<void>;
}

/** What the file tells. */
interface Content {
  readonly loads: Loads;
  readonly reboot: RebootRecord | undefined;
}

export function makeJournal(host: Host, log: Logger): Journal {
  let content: Content = { loads: new Map(), reboot: undefined };
  let read = false;
  let unreadable: string | undefined = 'the journal has not been read yet';
  let unwritable: string | undefined;
  /** Of the file; undefined: there is none. */
  let bytes: number | undefined;
  /** The file ends with something that is no record, so nothing behind it would be read. */
  let torn = false;

  async function write(next: Content, record: JournalRecord | undefined): Promise<void> {
    const whole = torn || record === undefined || (bytes ?? 0) > MAX_JOURNAL_BYTES;
    const text = (whole ? allOf(next) : [record]).map(encodeRecord).join('');
    torn = true;
    if (whole) await host.replace(JOURNAL_PATH, text);
    else await host.append(JOURNAL_PATH, text);
    torn = false;
    bytes = Buffer.byteLength(text) + (whole ? 0 : (bytes ?? 0));
    content = next;
    unwritable = undefined;
  }

  async function shrink(kept: Content): Promise<void> {
    const { loads, reboot } = kept;
    if (loads.size === 0 && reboot === undefined && (bytes !== undefined || torn)) {
      await host.remove(JOURNAL_PATH);
      bytes = undefined;
      torn = false;
    } else if (torn || (bytes ?? 0) > MAX_JOURNAL_BYTES || loads.size < content.loads.size || reboot !== content.reboot) await write(kept, undefined);
    content = kept;
  }

  async function orUnwritable(act: () => Promise<void>): Promise<void> {
    try {
      await act();
    } catch (error) {
      if (!(error instanceof KernelPatchError)) throw error;
      unwritable = error.message;
      throw new KernelPatchError<JournalErrorCode>('JournalUnwritable', error.message, error);
    }
  }

  return {
    get loads() {
      return content.loads;
    },
    get reboot() {
      return content.reboot;
    },
    get unreadable() {
      return unreadable;
    },
    get unwritable() {
      return unwritable;
    },
    async open() {
      if (read) return;
      try {
        const file = await host.read(JOURNAL_PATH, MAX_FILE_BYTES);
        const { records, damage } = parseJournal(file ?? Buffer.alloc(0));
        content = { loads: foldRecords(records), reboot: records.findLast(isReboot) };
        bytes = file?.length;
        torn = damage !== undefined;
        read = true;
        unreadable = undefined;
        if (damage !== undefined) log.warn({ path: JOURNAL_PATH, damage, records: records.length }, 'journal ends with a bad record; what is before it counts');
      } catch (error) {
        if (!(error instanceof KernelPatchError)) throw error;
        unreadable = error.message;
      }
    },
    async record(record) {
      const { loads, reboot } = content;
      await orUnwritable(() => write({ loads: applyRecord(loads, record), reboot: isReboot(record) ? record : reboot }, record));
    },
    async tidy(keeps) {
      if (!read) return;
      const kept: Loads = new Map([...content.loads].filter(([, load]) => keeps(load)));
      try {
        await shrink({ ...content, loads: kept });
      } catch (error) {
        if (codeOf(error) === undefined) throw error;
        log.warn({ err: error }, 'journal could not be tidied');
      }
    },
    async forgetReboot() {
      await orUnwritable(() => shrink({ ...content, reboot: undefined }));
    },
  };
}

function allOf({ loads, reboot }: Content): readonly JournalRecord[] {
  return [...recordsOf(loads.values()), ...(reboot === undefined ? [] : [reboot])];
}
