/** The power fails at each of the agent's effects in turn, and of a write under way each thing is left that can be left. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { JOURNAL_PATH } from '../../../daemonset/journal.ts';
import { foldRecords, parseJournal } from '../../../kernel/journal.ts';
import { WRITE_FATES } from '../../simulated/disk.ts';
import type { WriteFate } from '../../simulated/disk.ts';
import type { Behaviour } from '../../simulated/host.ts';
import { aModule } from '../../simulated/module.ts';
import { aNode, aWanted, isSettled } from '../../simulated/node.ts';

const FOREIGN = aModule({ name: 'vendor_fix', buildID: 'ff'.repeat(20) });
/** The shortest deadline that a policy can set: fewer looks, the same steps. */
const WANTED = aWanted({ replace: false, transitionSeconds: 15 });

interface Scenario {
  readonly behaviour: Behaviour;
  /** How it ends when nothing is held against the file. */
  readonly end: string;
}

const SCENARIOS: Readonly<Record<string, Scenario>> = {
  'a load': { behaviour: {}, end: 'Active' },
  'a load that the kernel refuses': { behaviour: { refuses: ['EINVAL', 'EINVAL'] }, end: 'Failed' },
  'a load that stalls and is undone': { behaviour: { stalls: true }, end: 'Failed' },
  'a load without effect': { behaviour: { unpatched: true }, end: 'Failed' },
};

for (const [what, scenario] of Object.entries(SCENARIOS)) {
  for (const fate of WRITE_FATES) {
    test(`the power fails at each effect of ${what}, a write under way is ${fate}: quarantined is what was in the kernel and not committed`, async () => {
      let effect = 1;
      while (await endsWell(scenario, fate, effect)) effect += 1;
      assert.ok(effect > 6, 'there were effects to fail at');
    });
  }
}

/** Returns whether the power failed: false when the agent has fewer effects. */
async function endsWell({ behaviour, end }: Scenario, fate: WriteFate, effect: number): Promise<boolean> {
  await using node = aNode();
  node.machine.loadByHand(FOREIGN);
  node.machine.behaviours.set('livepatch_fix', behaviour);
  node.want([WANTED]);
  node.start(effect);
  await node.until('the agent is dead or done', () => node.life.over || isSettled(node.object));
  if (!node.life.over) return false;

  if (fate !== 'kept' && !node.machine.disk.isWriting) return true;

  const inKernel = node.machine.modules.includes('livepatch_fix');
  const loads = node.machine.count('insmod livepatch_fix');
  node.cutPower(fate);
  const load = foldRecords(parseJournal(node.machine.files.get(JOURNAL_PATH) ?? Buffer.alloc(0)).records).get(WANTED.sha256);
  const committed = load?.outcome === 'Committed';
  const open = load?.outcome === 'Open';
  assert.ok(!inKernel || committed || open, `at effect ${effect} it was in the kernel and the journal did not know`);

  node.start();
  await node.until(`settled after the power failed at effect ${effect}`, () => isSettled(node.object));
  assert.equal(node.report()?.state, open ? 'Quarantined' : end, `effect ${effect}`);
  if (open) {
    assert.equal(node.machine.count('insmod livepatch_fix'), loads, 'not loaded again');
    assert.deepEqual(node.machine.modules, []);
  }
  assert.ok(node.machine.asked.every((line) => !line.includes('vendor_fix')), 'the foreign live patch is untouched');
  return true;
}
