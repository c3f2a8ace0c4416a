/** What makes a copy of the node image one certain node of one certain cluster: a tar for the second disk. */
import { copyFileSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { ControlPlane } from '../cluster/control-plane.ts';
import { HOST_SEEN_BY_GUESTS } from '../cluster/control-plane.ts';
import { kubeconfigOf } from '../cluster/certificates.ts';
import { must } from '../process.ts';

export interface Seed {
  readonly name: string;
  readonly ip: string;
  /** Where kubelet serves; forwarded from the host's loopback, so the API server reaches it there. */
  readonly kubeletPort: number;
  readonly podCidr: string;
  /** Of eth1, the cable between the nodes; the other node's pods are behind its address. */
  readonly lan: { readonly ip: string; readonly peer: string; readonly peerPods: string };
}

/** The tar `file` is there afterwards: hostname, addresses, kubelet's and kube-proxy's certificates and configuration, CNI configuration. */
export async function writeSeed(plane: ControlPlane, seed: Seed, file: string): Promise<void> {
  const tree = `${file}.tree`;
  rmSync(tree, { recursive: true, force: true });
  const put = (path: string, content: string) => {
    const target = join(tree, path);
    mkdirSync(dirname(target), { recursive: true });
    writeFileSync(target, content);
  };
  put('etc/hostname', `${seed.name}\n`);
  put('etc/hosts', `127.0.0.1 localhost\n${seed.ip} ${seed.name}\n`);
  put('etc/node.env', `NODE_NAME=${seed.name}\nNODE_IP=${seed.ip}\nLAN_IP=${seed.lan.ip}\nPEER=${seed.lan.peer}\nPEER_PODS=${seed.lan.peerPods}\n`);
  put('etc/kubernetes/kubelet.yaml', JSON.stringify(kubeletConfiguration(seed)));
  put('etc/cni/net.d/10-bridge.conflist', JSON.stringify(cniConfiguration(seed)));

  const pki = 'etc/kubernetes/pki';
  mkdirSync(join(tree, pki), { recursive: true });
  copyFileSync(plane.authority.ca, join(tree, pki, 'ca.crt'));
  const server = `https://${HOST_SEEN_BY_GUESTS}:${plane.port}`;
  for (const client of [
    { file: 'kubelet', commonName: `system:node:${seed.name}`, organization: 'system:nodes' },
    { file: 'kube-proxy', commonName: 'system:kube-proxy' },
  ]) {
    const issued = await plane.authority.issue({ ...client, name: `${seed.name}-${client.file}` });
    copyFileSync(issued.cert, join(tree, pki, `${client.file}.crt`));
    copyFileSync(issued.key, join(tree, pki, `${client.file}.key`));
    const at = (suffix: string) => `/${pki}/${client.file}.${suffix}`;
    put(`etc/kubernetes/${client.file}.kubeconfig`, kubeconfigOf({ name: client.file, server, ca: `/${pki}/ca.crt`, cert: at('crt'), key: at('key') }));
  }
  await must(['tar', '-C', tree, '--owner=0', '--group=0', '-cf', file, '.']);
  // QEMU refuses a raw disk whose size is not a whole number of sectors; tar ends at its own end mark.
  await must(['truncate', '-s', '%1M', file]);
  rmSync(tree, { recursive: true });
}

function kubeletConfiguration(seed: Seed): object {
  return {
    apiVersion: 'kubelet.config.k8s.io/v1beta1',
    kind: 'KubeletConfiguration',
    port: seed.kubeletPort,
    authentication: { x509: { clientCAFile: '/etc/kubernetes/pki/ca.crt' }, webhook: { enabled: true }, anonymous: { enabled: false } },
    authorization: { mode: 'Webhook' },
    cgroupDriver: 'systemd',
    containerRuntimeEndpoint: 'unix:///run/containerd/containerd.sock',
    registerWithTaints: [],
    // The disk is small and shared by nobody: image garbage collection would only remove what was preloaded.
    imageGCHighThresholdPercent: 100,
    imageMinimumGCAge: '24h',
  };
}

function cniConfiguration(seed: Seed): object {
  return {
    cniVersion: '1.0.0',
    name: 'pods',
    plugins: [
      {
        type: 'bridge', bridge: 'cni0', isGateway: true, ipMasq: true, hairpinMode: true,
        ipam: { type: 'host-local', ranges: [[{ subnet: seed.podCidr }]], routes: [{ dst: '0.0.0.0/0' }] },
      },
      { type: 'portmap', capabilities: { portMappings: true } },
    ],
  };
}
