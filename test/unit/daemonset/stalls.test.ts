/** A transition that lasts, on a simulated machine with tasks. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { makeStallWatch } from '../../../daemonset/stalls.ts';
import { readPatches } from '../../../kernel/patches.ts';
import { findStalled } from '../../../kernel/stalls.ts';
import { simulatedClock } from '../../simulated/clock.ts';
import { SimulatedMachine } from '../../simulated/host.ts';
import { aModule } from '../../simulated/module.ts';
import { aNode, aWanted } from '../../simulated/node.ts';

const UID = '5f3c1f1e-8a53-4b1e-9c46-2f4de1c1a001';

interface Task {
  readonly pid?: number;
  readonly state: string;
  readonly comm?: string;
}

function addTask(machine: SimulatedMachine, tid: number, { pid = tid, state, comm = 'cat' }: Task): void {
  const directory = `/proc/${pid}/task/${tid}`;
  machine.set(`${directory}/patch_state`, state);
  machine.set(`${directory}/comm`, comm);
  machine.set(`${directory}/stack`, '[<0>] kp_sleeper_wait+0x5b/0x90 [kp_sleeper]\n[<0>] proc_reg_read+0x5a/0xa0');
  machine.set(`/proc/${pid}/cgroup`, `0::/kubepods/besteffort/pod${UID}/0a`);
}

const onAPod = (machine: SimulatedMachine) => machine.set(`/var/log/pods/default_web_${UID}/web/0.log`, '');

test('a transition that lasts names its tasks with their pod in the report, then in the failure, and forces nothing', async () => {
  await using node = aNode();
  node.machine.behaviours.set('livepatch_fix', { stalls: true });
  addTask(node.machine, 700, { state: '1', comm: 'over' });
  addTask(node.machine, 812, { state: '0' });
  addTask(node.machine, 815, { pid: 812, state: '0', comm: 'worker' });
  onAPod(node.machine);
  node.want([aWanted()]);
  node.start();
  await node.until('they are named', () => (node.report()?.stalledTasks?.length ?? 0) > 0);
  assert.deepEqual(node.report()?.stalledTasks, [
    { pid: 812, comm: 'cat', pod: 'default/web', stack: ['kp_sleeper_wait', 'proc_reg_read'] },
    { pid: 815, process: 812, comm: 'worker', pod: 'default/web', stack: ['kp_sleeper_wait', 'proc_reg_read'] },
  ]);
  assert.match(node.report()?.message ?? '', /moving tasks over to livepatch_fix; held by cat \(PID 812\) in pod default\/web, in kp_sleeper_wait; worker \(PID 815\)/);
  await node.settle();
  assert.deepEqual([node.report()?.reason, node.report()?.stalledTasks], ['TransitionTimeout', undefined]);
  assert.match(node.report()?.message ?? '', /held by cat \(PID 812\) in pod default\/web/);
  assert.ok(node.machine.asked.every((line) => !line.includes('force')));
});

test('the policy says how long a transition may last', async () => {
  await using node = aNode();
  node.machine.behaviours.set('livepatch_fix', { transitionMilliseconds: 100_000 });
  node.want([aWanted({ transitionSeconds: 120 })]);
  node.start();
  await node.settle();
  assert.deepEqual([node.report()?.state, node.report()?.attempts], ['Active', 1]);
});

test('another deadline in the middle of a transition counts at once, and costs no attempt', async () => {
  await using node = aNode();
  node.machine.behaviours.set('livepatch_fix', { transitionMilliseconds: 100_000 });
  node.want([aWanted({ transitionSeconds: 75 })]);
  node.start();
  await node.until('it is in transition', () => node.report()?.state === 'Transitioning');
  node.want([aWanted({ transitionSeconds: 300 })]);
  await node.settle();
  assert.deepEqual([node.report()?.state, node.report()?.attempts], ['Active', 1]);
});

test('a stalled transition of somebody else is shown with its tasks, and named as what is waited for', async () => {
  await using node = aNode();
  node.machine.stallByHand(aModule({ name: 'vendor_fix', buildID: 'ff'.repeat(20) }));
  addTask(node.machine, 812, { state: '0' });
  node.want([aWanted({ replace: false })]);
  node.start();
  await node.settle();
  assert.equal(node.report('vendor_fix')?.stalledTasks?.[0]?.pid, 812);
  assert.match(node.report()?.message ?? '', /vendor_fix is running.*held by cat \(PID 812\) in pod with uid 5f3c1f1e/);
});

async function aStalledWatch(enabled: boolean) {
  const clock = simulatedClock();
  const machine = new SimulatedMachine(clock);
  machine.behaviours.set('vendor_fix', { stallsUnload: true });
  machine.loadByHand(aModule({ name: 'vendor_fix' }));
  if (enabled) machine.stallByHand(aModule({ name: 'vendor_fix' }));
  else await machine.host.writeSysfs('/sys/kernel/livepatch/vendor_fix/enabled', '0');
  let scans = 0;
  const counting = {
    ...machine.host,
    list: (path: string) => {
      if (path === '/proc') scans += 1;
      return machine.host.list(path);
    },
  };
  const watch = makeStallWatch(counting, clock);
  const look = async () => watch.look(await readPatches(machine.host, []));
  return { clock, machine, look, scans: () => scans };
}

test('tasks are looked for after 15 s only, and every 15 s only, however often the transition is looked at', async () => {
  const { clock, look, scans } = await aStalledWatch(true);
  for (let second = 0; second < 15; second += 1) {
    assert.equal(await look(), undefined);
    await clock.sleep(1000);
  }
  assert.equal(scans(), 0);
  for (let second = 15; second < 75; second += 1) {
    assert.equal((await look())?.livePatch, 'vendor_fix');
    await clock.sleep(1000);
  }
  assert.equal(scans(), 4);
  clock.stop();
});

for (const [enabled, wrong, right] of [[true, 812, 813], [false, 813, 812]] as const) {
  test(`a transition ${enabled ? 'to' : 'back from'} a patch is held by tasks on the ${enabled ? 'old' : 'new'} side`, async () => {
    const { clock, machine, look } = await aStalledWatch(enabled);
    addTask(machine, 812, { state: '0' });
    addTask(machine, 813, { state: '1' });
    addTask(machine, 814, { state: '-1' });
    await look();
    await clock.sleep(20_000);
    assert.deepEqual((await look())?.tasks.map(({ tid }) => tid), [wrong], `not ${right}`);
    clock.stop();
  });
}

test('ten tasks are named, and no more are looked for', async () => {
  const machine = new SimulatedMachine(simulatedClock());
  for (let tid = 100; tid < 200; tid += 1) addTask(machine, tid, { state: '0' });
  assert.deepEqual((await findStalled(machine.host, true)).map(({ tid }) => tid), [100, 101, 102, 103, 104, 105, 106, 107, 108, 109]);
});

test('whatever proc and sysfs hold, looking for stalls and live patches never throws', async () => {
  const name = fc.constantFrom('/proc/1/task/1/patch_state', '/proc/1/task/1/comm', '/proc/1/task/1/stack', '/proc/1/cgroup', '/proc/x/task/1/patch_state', '/proc/1/task/y/patch_state', '/sys/kernel/livepatch/a/enabled', '/sys/kernel/livepatch/a/transition', '/sys/kernel/livepatch/a/vmlinux/patched', '/sys/kernel/livepatch/a/vmlinux/f,1/x', '/sys/module/a/initstate', '/sys/module/a/notes/.note.gnu.build-id');
  const content = fc.oneof(fc.constantFrom('0\n', '1\n', '-1\n', 'live\n', ''), fc.string());
  await fc.assert(
    fc.asyncProperty(fc.array(fc.tuple(name, content), { maxLength: 8 }), async (files) => {
      const machine = new SimulatedMachine(simulatedClock());
      for (const [path, text] of files) machine.files.set(path, Buffer.from(text));
      await makeStallWatch(machine.host, machine.clock).look(await readPatches(machine.host, ['a']));
      return (await findStalled(machine.host, true)).length <= 1;
    }),
    { numRuns: 10_000 },
  );
});
