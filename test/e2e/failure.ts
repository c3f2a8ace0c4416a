/** What a person needs to read after a failed scenario, gathered before the cluster ends. */
import type { Fleet } from '../fleet/fleet.ts';
import { NAMESPACE } from '../fleet/product.ts';
import type { Machine } from '../node/machine.ts';

/** Characters of a node's events in the summary: some five of them. */
const EVENTS_LENGTH = 600;

/** The first line of a crash on the node's console since the directory was made; undefined when there is none. */
export function crashOf(node: Machine): string | undefined {
  const line = node.log().split('\n').find((text) => /Kernel panic|Oops:|BUG:/.test(text));
  return line === undefined ? undefined : `the kernel of ${node.options.name} crashed (${line.trim()})`;
}

/** One line for each node, for the end of a log of which only that is kept: what its kubelet says of itself and of the agent. */
export async function describeNodes(fleet: Fleet): Promise<readonly string[]> {
  return Promise.all(
    fleet.nodes.map(async ({ options: { name } }) => {
      const ready = await ask(fleet, ['get', 'node', name, '-o', 'jsonpath={range .status.conditions[?(@.type=="Ready")]}{.status} {.reason} since {.lastTransitionTime}{end}']);
      const agent = await ask(fleet, [
        'get', 'pods', '-n', NAMESPACE, '-l', 'app.kubernetes.io/component=agent', '--field-selector', `spec.nodeName=${name}`,
        '-o', 'jsonpath={range .items[*]}{.metadata.name} {.status.phase} {.status.reason} {.status.containerStatuses[*].state} {end}',
      ]);
      const events = await ask(fleet, ['get', 'events', '-n', NAMESPACE, '--sort-by=.lastTimestamp', '-o', `jsonpath={range .items[?(@.source.host=="${name}")]}{.reason}: {.message}; {end}`]);
      return `${name}: Ready ${ready}; agent: ${agent}; its last events: ${events.slice(-EVENTS_LENGTH)}`;
    }),
  );
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
    answers.push(`--- kubectl ${question.join(' ')}\n${await ask(fleet, question)}`);
  }
  for (const node of fleet.nodes) {
    const { output } = await node.run('dmesg | tail -n 25; ls /sys/kernel/livepatch; cat /proc/modules; uptime; free -m; systemctl --failed; journalctl -u kubelet -u containerd -n 60 --no-pager -o cat', 20).catch((error: unknown) => ({ output: String(error) }));
    answers.push(`--- ${node.options.name}: ${crashOf(node) ?? 'no crash on its console'}\n${output}`);
  }
  return answers.join('\n');
}

async function ask(fleet: Fleet, question: readonly string[]): Promise<string> {
  const { stdout, stderr } = await fleet.plane.kubectl(question).catch((error: unknown) => ({ stdout: '', stderr: String(error) }));
  return `${stdout}${stderr}`.trim();
}
