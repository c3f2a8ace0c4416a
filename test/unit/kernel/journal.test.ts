import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { SOAK_SECONDS, encodeRecord, findQuarantine, foldRecords, isNeeded, isReboot, isSoaking, parseJournal, recordsOf } from '../../../kernel/journal.ts';
import type { Attempt, JournalRecord } from '../../../kernel/journal.ts';

const SHA = 'a1'.repeat(32);
const attempt: Attempt = { name: 'livepatch_fix', sha256: SHA, buildID: '3b6f', bootID: 'boot-1', uptimeSeconds: 100, at: '2026-11-24T09:00:00Z', lift: '' };
const attempted: JournalRecord = { kind: 'Attempt', ...attempt };
const committed: JournalRecord = { kind: 'Committed', sha256: SHA };
const unloaded: JournalRecord = { kind: 'Unloaded', sha256: SHA };
const oops: JournalRecord = { kind: 'Oops', sha256: SHA, trace: 'BUG: unable to handle page fault' };
const goingDown: JournalRecord = { kind: 'GoingDown', id: 'order-1', method: 'Kexec', release: '6.12.117', bootID: 'boot-1', at: '2026-11-24T09:00:00Z' };
const lifted: JournalRecord = { ...attempted, bootID: 'boot-2', lift: 'ticket-7' };

const write = (records: readonly JournalRecord[]) => Buffer.from(records.map(encodeRecord).join(''));
const loadOf = (records: readonly JournalRecord[]) => foldRecords(records).get(SHA);

test('what was written is read', () => {
  assert.deepEqual(parseJournal(write([attempted, committed, oops])), { records: [attempted, committed, oops], damage: undefined });
  assert.deepEqual(parseJournal(Buffer.alloc(0)), { records: [], damage: undefined });
});

const TAILS: Readonly<Record<string, Buffer>> = {
  'half a record': write([committed]).subarray(0, 40),
  'a record without its newline': write([committed]).subarray(0, -1),
  'NUL bytes': Buffer.alloc(200),
  'an empty line': Buffer.from('\n'),
  'a changed record': Buffer.from(encodeRecord(committed).replace('Committed', 'Unloaded')),
  'JSON without a checksum': Buffer.from('{"kind":"Committed"}\n'),
  'a record of another kind': Buffer.from(encodeRecord({ kind: 'Other', sha256: SHA } as unknown as JournalRecord)),
  'a reboot without its fields': Buffer.from(encodeRecord({ kind: 'GoingDown', id: 'order-1' } as unknown as JournalRecord)),
  'a record without its fields': Buffer.from(encodeRecord({ kind: 'Attempt', sha256: SHA } as unknown as JournalRecord)),
};

for (const [what, tail] of Object.entries(TAILS)) {
  test(`reading stops at ${what}, says so, and trusts nothing behind it`, () => {
    const { records, damage } = parseJournal(Buffer.concat([write([attempted]), tail, write([committed])]));
    assert.deepEqual(records, [attempted]);
    assert.match(damage ?? '', /record 2, at byte \d+ of \d+/);
  });
}

const AFTER = { reason: 'QuarantinedAfterBoot' };
const OOPS = { reason: 'QuarantinedOops' };
const again: JournalRecord = { ...attempted, bootID: 'boot-2' };
const DECISIONS: readonly (readonly [what: string, records: readonly JournalRecord[], lift: string, bootID: string, reason: string | undefined])[] = [
  ['nothing was tried', [], '', 'boot-1', undefined],
  ['an open load of this boot: the agent was killed', [attempted], '', 'boot-1', undefined],
  ['an open load of another boot', [attempted], '', 'boot-2', AFTER.reason],
  ['an open load, and the boot is not known', [attempted], '', 'unknown', undefined],
  ['a committed load of another boot', [attempted, committed], '', 'boot-2', undefined],
  ['two in a row', [attempted, committed, again, committed], '', 'boot-3', 'QuarantinedCrashLoop'],
  ['two in a row, and this boot has loaded it too', [attempted, committed, again, committed, { ...again, bootID: 'boot-3' }], '', 'boot-3', 'QuarantinedCrashLoop'],
  ['two in a row, the first under another word', [attempted, committed, lifted, committed], '', 'boot-3', undefined],
  ['twice in one boot', [attempted, committed, attempted, committed], '', 'boot-2', undefined],
  ['an unloaded one of another boot', [attempted, unloaded], '', 'boot-2', undefined],
  ['tried twice, the second one open', [attempted, committed, attempted], '', 'boot-2', AFTER.reason],
  ['an oops in this boot', [attempted, committed, oops], '', 'boot-1', OOPS.reason],
  ['an oops in another boot', [attempted, committed, oops], '', 'boot-2', OOPS.reason],
  ['an oops, unloaded since', [attempted, committed, oops, unloaded], '', 'boot-1', OOPS.reason],
  ['lifted', [attempted], 'ticket-7', 'boot-2', undefined],
  ['lifted after an oops', [attempted, oops], 'ticket-7', 'boot-1', undefined],
  ['lifted, tried again and down again', [attempted, lifted], 'ticket-7', 'boot-3', AFTER.reason],
  ['lifted again by another word', [attempted, lifted], 'ticket-8', 'boot-3', undefined],
  ['the word that lifted it is taken away', [attempted, lifted], '', 'boot-3', AFTER.reason],
  ['an oops that nobody tried is about nothing', [oops, committed], '', 'boot-2', undefined],
];

for (const [what, records, lift, bootID, reason] of DECISIONS) {
  test(`${what}: ${reason ?? 'not quarantined'}`, () => {
    assert.equal(findQuarantine(loadOf(records), bootID, lift)?.reason, reason);
  });
}

test('a reboot stands beside the loads, and says nothing of them', () => {
  const records = [attempted, goingDown, committed];
  assert.deepEqual(parseJournal(write(records)), { records, damage: undefined });
  assert.deepEqual(foldRecords(records), foldRecords([attempted, committed]));
  assert.deepEqual(records.filter(isReboot), [goingDown]);
});

test('a quarantine names the live patch, when it was loaded, and the trace', () => {
  assert.match(findQuarantine(loadOf([attempted]), 'boot-2', '')?.message ?? '', /livepatch_fix at 2026-11-24T09:00:00Z/);
  assert.match(findQuarantine(loadOf([attempted, oops]), 'boot-1', '')?.message ?? '', /BUG: unable to handle/);
});

test('a load is watched for ten minutes of its own boot', () => {
  const [load] = foldRecords([attempted, committed]).values();
  assert.ok(load);
  assert.equal(isSoaking(load, { bootID: 'boot-1', uptimeSeconds: 100 + SOAK_SECONDS }), true);
  assert.equal(isSoaking(load, { bootID: 'boot-1', uptimeSeconds: 101 + SOAK_SECONDS }), false);
  assert.equal(isSoaking(load, { bootID: 'boot-2', uptimeSeconds: 5 }), false);
  assert.equal(isSoaking(load, { bootID: 'boot-1', uptimeSeconds: -1 }), false);
});

test('what is committed or unloaded is forgotten in the end, what is open or quarantined never', () => {
  const later = { bootID: 'boot-2', uptimeSeconds: 10_000 };
  const needed = (records: readonly JournalRecord[]) => [...foldRecords(records).values()].some((load) => isNeeded(load, later));
  assert.deepEqual([[attempted, committed], [attempted, unloaded], [attempted], [attempted, committed, oops]].map(needed), [false, false, true, true]);
});

const plain = { noNullPrototype: true } as const;
const anyRecord: fc.Arbitrary<JournalRecord> = fc.oneof(
  fc.record({ kind: fc.constant('Attempt' as const), name: fc.string(), sha256: fc.constantFrom(SHA, 'b2', ''), buildID: fc.string(), bootID: fc.string(), uptimeSeconds: fc.nat(), at: fc.string(), lift: fc.string() }, plain),
  fc.record({ kind: fc.constantFrom('Committed' as const, 'Unloaded' as const), sha256: fc.constantFrom(SHA, 'b2') }, plain),
  fc.record({ kind: fc.constantFrom('Installing' as const, 'Staging' as const, 'GoingDown' as const), id: fc.string(), method: fc.constantFrom('Kexec' as const, 'Firmware' as const), release: fc.string(), bootID: fc.string(), at: fc.string() }, plain),
  fc.record({ kind: fc.constant('Oops' as const), sha256: fc.constantFrom(SHA, 'b2'), trace: fc.string() }, plain),
);

test('a journal that is compacted tells the same', () => {
  fc.assert(
    fc.property(fc.array(anyRecord, { maxLength: 20 }), (records) => {
      const loads = foldRecords(records);
      assert.deepEqual(foldRecords(parseJournal(write(recordsOf(loads.values()))).records), loads);
    }),
    { numRuns: 2000 },
  );
});

test('cut anywhere, a journal is read to the last whole record', () => {
  fc.assert(
    fc.property(fc.array(anyRecord, { minLength: 1, maxLength: 6 }), fc.nat(), (records, at) => {
      const whole = write(records);
      const cut = whole.subarray(0, at % whole.length);
      const { records: found, damage } = parseJournal(cut);
      assert.deepEqual(found, records.slice(0, found.length));
      assert.equal(damage === undefined, write(found).length === cut.length);
    }),
    { numRuns: 5000 },
  );
});

test('whatever the bytes are, reading ends and never throws', () => {
  const lines = write([attempted, committed, oops]);
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), fc.nat(lines.length), fc.nat(lines.length), (bytes, from, to) => {
      const { records } = parseJournal(Buffer.concat([lines.subarray(0, from), bytes, lines.subarray(to)]));
      foldRecords(records);
      return records.length <= 6;
    }),
    { numRuns: 10_000 },
  );
});
