/** The programs of the test cluster, built once from pinned Go modules (tools/). */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from '../cache.ts';
import { stream } from '../process.ts';

export interface Tools {
  /** Where kubectl and helm are. */
  readonly bin: string;
  readonly path: (name: Tool) => string;
}
export type Tool = 'etcd' | 'kube-apiserver' | 'kube-controller-manager' | 'kube-scheduler' | 'kubectl' | 'kubelet' | 'kube-proxy' | 'helm';

let built: Promise<string> | undefined;

/**
 * All tools are there afterwards. What KUBEBUILDER_ASSETS holds (etcd, kube-apiserver, kubectl in setup-envtest's layout) is taken from
 * there; the rest is built on first use, which takes minutes and says so on standard error.
 */
export async function clusterTools(): Promise<Tools> {
  built ??= stream([join(ROOT, 'test/cluster/tools/build.sh')]);
  const bin = await built;
  const assets = process.env['KUBEBUILDER_ASSETS'];
  const path = (name: Tool) => {
    const given = assets && join(assets, name);
    return given && existsSync(given) ? given : join(bin, name);
  };
  return { bin, path };
}
