/** Nodes without machines: Node objects in a real API server, and agents that load whatever is wanted as a test tells them to. */
import { text } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';
import { KubeConfig } from '@kubernetes/client-node';
import type { LivePatchReport, NodeKernel, NodeKernelStatus, NodeState, WantedLivePatch } from '../../crds/nodekernel.ts';
import { makeTransport } from '../../operator/kube/transport.ts';
import type { HttpRequest, Transport } from '../../operator/kube/transport.ts';

export const NODE_KERNELS_PATH = '/apis/kernelpatch.dev/v1alpha1/nodekernels';

/** Works: loads and unloads at once. Holds: is in transition until told otherwise. Refuses: the file has another digest. Fails: the kernel does not do it. */
export type Nature = 'Works' | 'Holds' | 'Refuses' | 'Fails';

interface FakeNode {
  readonly release: string;
  readonly installedKernels: readonly string[];
  nature: Nature;
  bootID: string;
  /** What is loaded, by name. */
  readonly loaded: Set<string>;
  /** What was last reported on. */
  reported: string;
}

export class Fleet {
  readonly nodes = new Map<string, FakeNode>();
  /** Reports written so far. */
  writes = 0;
  readonly #transport: Transport;
  readonly #stopping = new AbortController();
  #running: Promise<void> | undefined;

  constructor(kubeconfig: string) {
    const config = new KubeConfig();
    config.loadFromFile(kubeconfig);
    this.#transport = makeTransport(config);
  }

  /** The answer's object. Throws with what the API server said. */
  async request(method: HttpRequest['method'], path: string, body?: object): Promise<unknown> {
    const contentType = method === 'PATCH' ? 'application/merge-patch+json' : 'application/json';
    const response = await this.#transport({ method, path, contentType, signal: AbortSignal.timeout(10_000), ...(body && { body: JSON.stringify(body) }) });
    const answer = await text(response);
    if ((response.statusCode ?? 500) >= 300) throw new Error(`${method} ${path}: ${answer}`);
    return JSON.parse(answer);
  }

  async nodeKernels(): Promise<readonly NodeKernel[]> {
    return ((await this.request('GET', NODE_KERNELS_PATH)) as { readonly items: readonly NodeKernel[] }).items;
  }

  async nodeKernel(name: string): Promise<NodeKernel> {
    return (await this.request('GET', `${NODE_KERNELS_PATH}/${name}`)) as NodeKernel;
  }

  /** In service when `ready`; otherwise its kubelet has not reported. */
  async addNode(name: string, release: string, { labels = {}, installedKernels = [release], ready = false }: { labels?: Readonly<Record<string, string>>; installedKernels?: readonly string[]; ready?: boolean } = {}): Promise<void> {
    await this.request('POST', '/api/v1/nodes', { apiVersion: 'v1', kind: 'Node', metadata: { name, labels } });
    if (ready) await this.request('PATCH', `/api/v1/nodes/${name}/status`, { status: { conditions: [{ type: 'Ready', status: 'True' }] } });
    this.nodes.set(name, { release, installedKernels, nature: 'Works', bootID: 'b1f0c8a2-0000-4000-8000-000000000001', loaded: new Set(), reported: '' });
  }

  /** The node has booted, and its kubelet and agent say so. */
  async boot(name: string, bootID: string): Promise<void> {
    const node = this.nodes.get(name);
    if (!node) return;
    node.loaded.clear();
    node.bootID = bootID;
    await this.request('PATCH', `/api/v1/nodes/${name}/status`, { status: { nodeInfo: { bootID } } });
  }

  turn(name: string, nature: Nature): void {
    const node = this.nodes.get(name);
    if (node) node.nature = nature;
  }

  /** The agents look every 20 ms, and outlive an API server that is away. */
  start(): void {
    this.#running = this.#run();
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    while (!this.#stopping.signal.aborted) {
      try {
        await Promise.all((await this.nodeKernels()).map((nodeKernel) => this.#report(nodeKernel)));
      } catch {
        // The API server is away, or an object has just gone: the next look finds out.
      }
      await delay(20);
    }
  }

  async #report({ metadata, spec }: NodeKernel): Promise<void> {
    const node = this.nodes.get(metadata.name);
    const due = `${metadata.uid} ${metadata.generation} ${node?.nature} ${node?.bootID}`;
    if (!node || node.reported === due) return;
    const livePatches = (spec.livePatches ?? []).flatMap((wanted) => carryOut(node, wanted) ?? []);
    const status: NodeKernelStatus = {
      observedGeneration: metadata.generation,
      agentVersion: 'test',
      bootID: node.bootID,
      kernel: { release: node.release, buildID: 'unknown', taint: 0, taintFlags: '', lockdown: 'none', livePatching: 'Available', kexec: 'Available' },
      installedKernels: [...node.installedKernels],
      state: livePatches[0]?.state ?? 'Idle',
      active: [...node.loaded].join(),
      livePatches,
      // Made ready at once; none of them goes down.
      ...(spec.reboot?.phase === 'Staging' && { reboot: { id: spec.reboot.id, state: 'Staged', reason: 'Staged', message: 'all is in place', since: spec.reboot.since } }),
    };
    await this.request('PATCH', `${NODE_KERNELS_PATH}/${metadata.name}/status`, { status });
    this.writes += 1;
    node.reported = due;
  }
}

type WantedReport = LivePatchReport & { readonly state: NodeState };

function carryOut(node: FakeNode, { name, kernelPatch, sha256, desired }: WantedLivePatch): WantedReport | undefined {
  const report = (state: WantedReport['state'], reason: string): WantedReport => ({ name, origin: 'KernelPatch', kernelPatch, sha256, state, reason, message: `${name}: ${reason}`, since: '2026-11-24T12:00:00Z' });
  if (node.nature === 'Holds') return report('Transitioning', 'InTransition');
  if (desired === 'Absent') {
    node.loaded.delete(name);
    return undefined;
  }
  if (node.nature === 'Refuses') return report('Refused', 'DigestMismatch');
  if (node.nature === 'Fails') return report('Failed', 'InsmodFailed');
  node.loaded.add(name);
  return report('Active', 'Active');
}
