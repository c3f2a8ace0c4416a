/** What a person needs to read after a failed scenario, gathered before the cluster ends. */
import type { Fleet } from '../fleet/fleet.ts';
import { NAMESPACE } from '../fleet/product.ts';
import type { Machine } from '../node/machine.ts';

/** The first line of a crash on the node's console since the directory was made; undefined when there is none. */
export function crashOf(node: Machine): string | undefined {
  const line = node.log().split('\n').find((text) => /Kernel panic|Oops:|BUG:/.test(text));
  return line === undefined ? undefined : `the kernel of ${node.options.name} crashed (${line.trim()})`;
}

export async function describeFailure(fleet: Fleet): Promise<string> {
  const questions: readonly (readonly string[])[] = [
    ['get', 'nodes,kernelpatches,patchpolicies,nodekernels', '-o', 'wide'],
    ['get', 'nodekernels', '-o', 'yaml'],
    ['get', 'pods', '-A', '-o', 'wide'],
    ['get', 'events', '-A', '--sort-by=.lastTimestamp'],
    ['logs', '-n', NAMESPACE, '-l', 'app.kubernetes.io/component=operator', '--tail=50', '--prefix'],
    ['logs', '-n', NAMESPACE, '-l', 'app.kubernetes.io/component=agent', '--tail=50', '--prefix'],
  ];
  const answers: string[] = [];
  for (const question of questions) {
    const { stdout, stderr } = await fleet.plane.kubectl(question).catch((error: unknown) => ({ stdout: '', stderr: String(error) }));
    answers.push(`--- kubectl ${question.join(' ')}\n${stdout}${stderr}`);
  }
  for (const node of fleet.nodes) {
    const { output } = await node.run('dmesg | tail -n 25; ls /sys/kernel/livepatch; cat /proc/modules', 20).catch((error: unknown) => ({ output: String(error) }));
    answers.push(`--- ${node.options.name}: ${crashOf(node) ?? 'no crash on its console'}\n${output}`);
  }
  return answers.join('\n');
}
