/** Shell: $pid is the agent's process on a node afterwards. The operator is a node process too, and may be on the same node. */
export const FIND_AGENT = 'for pid in $(pidof node); do grep -q agent.cjs /proc/$pid/cmdline && break; done';
