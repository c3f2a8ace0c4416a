/** Programs of the node that are run where its init is (ADR 13). */
import type { Failure } from './errno.ts';

/** The namespaces of the node's init. */
export const ON_THE_NODE = ['nsenter', '-t', '1', '-m', '-u', '-i', '-n', '-p', '--'] as const;

/** What a program said last, for a message. */
export function lastWords(stderr: string): string {
  return stderr.trim().split('\n').at(-1)?.slice(-200) || 'nothing was printed';
}

/** Why the node's systemd could not be asked at all; undefined: it has answered. */
export function describeUnreachable(stderr: string, todo: string): Failure | undefined {
  const printed = lastWords(stderr);
  if (/^nsenter: .*(?:exec|systemctl|systemd-run|env).*(?:No such file|not found)/m.test(stderr) || /^env: .*No such file/m.test(stderr)) {
    return { reason: 'NoSystemd', message: `there is no systemd on the node to ask (${printed}): give the agent's pod hostPID, or ${todo} by hand`, retry: false };
  }
  return /^nsenter: /m.test(stderr) ? { reason: 'PermissionDenied', message: `the agent can not reach the node's init (${printed}): its pod must be privileged and have hostPID`, retry: true } : undefined;
}
