/** A load without us, to hold ours against. */
import type { Machine } from '../node/machine.ts';

/** Seconds from insmod of kp_first, which is at its place on the node, to the end of its transition; it is gone again afterwards. */
export async function bareLoadOn(node: Machine): Promise<number> {
  const out = await node.must(
    'begin=$(date +%s%N); insmod /var/lib/livepatches/kp_first.ko; until [ "$(cat /sys/kernel/livepatch/kp_first/transition)" = 0 ]; do :; done; end=$(date +%s%N); ' +
      'echo 0 >/sys/kernel/livepatch/kp_first/enabled; while [ -d /sys/kernel/livepatch/kp_first ]; do sleep 0.02; done; until rmmod kp_first; do sleep 0.05; done 2>/dev/null; echo $(((end - begin) / 1000000))',
  );
  return Number(out.trim()) / 1000;
}
