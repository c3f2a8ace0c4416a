/** A real Kubernetes control plane on this machine's loopback: etcd, kube-apiserver and, for whole clusters, the controllers and the scheduler. */
import { createServer } from 'node:net';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { must, run, startDaemon, tailOf } from '../process.ts';
import type { Daemon, RunResult } from '../process.ts';
import { GiveUp, waitFor } from '../wait.ts';
import { Authority, kubeconfigOf } from './certificates.ts';
import { clusterTools } from './tools.ts';
import type { Tools } from './tools.ts';

/** The host's loopback as a guest of QEMU's user network sees it: what nodes call the API server. */
export const HOST_SEEN_BY_GUESTS = '10.0.2.2';
export const SERVICE_CIDR = '10.96.0.0/16';
const SERVICE_IP = '10.96.0.1';

export interface ControlPlaneOptions {
  /** Keeps certificates, ports, etcd's data and logs. Started again with the same directory it is the same cluster. */
  readonly dir: string;
  /** api: etcd and kube-apiserver, ready in 4 s. all: controller-manager and scheduler too. */
  readonly components: 'api' | 'all';
}

export interface ControlPlane {
  readonly dir: string;
  readonly kubeconfig: string;
  readonly port: number;
  /** The directory with kubectl and helm. */
  readonly bin: string;
  readonly authority: Authority;
  kubectl(args: readonly string[], stdin?: string): Promise<RunResult>;
  /** As kubectl, and throws when it fails. Gives what it printed. */
  mustKubectl(args: readonly string[], stdin?: string): Promise<string>;
  helm(args: readonly string[]): Promise<RunResult>;
  stopApi(): Promise<void>;
  startApi(): Promise<void>;
  /** The API server takes connections and answers nothing until it is resumed: what was asked meanwhile is then carried out. */
  pauseApi(): void;
  resumeApi(): void;
  stop(): Promise<void>;
}

interface Ports {
  readonly etcd: number;
  readonly etcdPeer: number;
  readonly api: number;
  readonly controllerManager: number;
  readonly scheduler: number;
}

/** Answers requests afterwards (readyz); with `all`, the default ServiceAccount exists too, so that pods can be created. */
export async function startControlPlane(options: ControlPlaneOptions): Promise<ControlPlane> {
  const tools = await clusterTools();
  const plane = new RealControlPlane(options, tools, await Authority.open(join(options.dir, 'pki')), await portsOf(options.dir));
  await plane.start();
  return plane;
}

async function portsOf(dir: string): Promise<Ports> {
  const file = join(dir, 'ports.json');
  if (existsSync(file)) return JSON.parse(readFileSync(file, 'utf8')) as Ports;
  const [etcd = 0, etcdPeer = 0, api = 0, controllerManager = 0, scheduler = 0] = await freePorts(5);
  const ports: Ports = { etcd, etcdPeer, api, controllerManager, scheduler };
  writeFileSync(file, JSON.stringify(ports));
  return ports;
}

/** `count` different ports of the loopback that nobody listens on now. */
export async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, () => new Promise<ReturnType<typeof createServer>>((resolve, reject) => {
      const server = createServer();
      server.once('error', reject);
      server.listen(0, '127.0.0.1', () => resolve(server));
    })),
  );
  const ports = servers.map((server) => {
    const address = server.address();
    if (address === null || typeof address === 'string') throw new Error('a listening socket has no port');
    return address.port;
  });
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

class RealControlPlane implements ControlPlane {
  readonly dir: string;
  readonly kubeconfig: string;
  readonly port: number;
  readonly bin: string;
  readonly authority: Authority;
  readonly #components: ControlPlaneOptions['components'];
  readonly #tools: Tools;
  readonly #ports: Ports;
  readonly #daemons = new Map<string, Daemon>();

  constructor(options: ControlPlaneOptions, tools: Tools, authority: Authority, ports: Ports) {
    this.dir = options.dir;
    this.#components = options.components;
    this.#tools = tools;
    this.#ports = ports;
    this.authority = authority;
    this.bin = tools.bin;
    this.port = ports.api;
    this.kubeconfig = join(this.dir, 'admin.kubeconfig');
  }

  async start(): Promise<void> {
    mkdirSync(join(this.dir, 'log'), { recursive: true });
    const admin = await this.authority.issue({ name: 'admin', commonName: 'kubernetes-admin', organization: 'system:masters' });
    writeFileSync(this.kubeconfig, this.#kubeconfig('admin', admin));
    this.#startEtcd();
    await this.startApi();
    if (this.#components === 'all') await this.#startControllers();
  }

  kubectl(args: readonly string[], stdin?: string): Promise<RunResult> {
    return run([this.#tools.path('kubectl'), '--kubeconfig', this.kubeconfig, ...args], stdin === undefined ? {} : { stdin });
  }

  mustKubectl(args: readonly string[], stdin?: string): Promise<string> {
    return must([this.#tools.path('kubectl'), '--kubeconfig', this.kubeconfig, ...args], stdin === undefined ? {} : { stdin });
  }

  helm(args: readonly string[]): Promise<RunResult> {
    const home = join(this.dir, 'helm');
    return run([this.#tools.path('helm'), '--kubeconfig', this.kubeconfig, ...args], {
      env: { HELM_CACHE_HOME: home, HELM_CONFIG_HOME: home, HELM_DATA_HOME: home },
      seconds: 600,
    });
  }

  async stopApi(): Promise<void> {
    await this.#daemons.get('kube-apiserver')?.stop();
  }

  async startApi(): Promise<void> {
    const { authority } = this;
    const serving = await authority.issue({
      name: 'kube-apiserver',
      commonName: 'kube-apiserver',
      altNames: ['IP:127.0.0.1', `IP:${HOST_SEEN_BY_GUESTS}`, `IP:${SERVICE_IP}`, 'DNS:localhost', 'DNS:kubernetes', 'DNS:kubernetes.default', 'DNS:kubernetes.default.svc'],
    });
    const toKubelets = await authority.issue({ name: 'kubelet-client', commonName: 'kube-apiserver-kubelet-client', organization: 'system:masters' });
    const accounts = await this.#serviceAccountKey();
    this.#launch('kube-apiserver', [
      '--bind-address=127.0.0.1', `--advertise-address=${HOST_SEEN_BY_GUESTS}`, `--secure-port=${this.#ports.api}`,
      `--etcd-servers=http://127.0.0.1:${this.#ports.etcd}`,
      `--tls-cert-file=${serving.cert}`, `--tls-private-key-file=${serving.key}`, `--client-ca-file=${authority.ca}`,
      `--kubelet-client-certificate=${toKubelets.cert}`, `--kubelet-client-key=${toKubelets.key}`,
      // A node's own address is only known inside QEMU's user network; test/node publishes the forwarded one as ExternalIP.
      '--kubelet-preferred-address-types=ExternalIP',
      `--service-account-key-file=${accounts}`, `--service-account-signing-key-file=${accounts}`, '--service-account-issuer=https://kubernetes.default.svc',
      `--service-cluster-ip-range=${SERVICE_CIDR}`, '--authorization-mode=Node,RBAC', '--enable-admission-plugins=NodeRestriction', '--allow-privileged=true',
    ]);
    const api = this.#daemons.get('kube-apiserver');
    await waitFor('kube-apiserver to be ready', { seconds: 120 }, async () => {
      if (api && !api.running()) throw new GiveUp(`kube-apiserver has ended:\n${tailOf(api)}`);
      return (await this.kubectl(['get', '--raw', '/readyz'])).code === 0 || undefined;
    });
  }

  pauseApi(): void {
    this.#signalApi('SIGSTOP');
  }

  resumeApi(): void {
    this.#signalApi('SIGCONT');
  }

  #signalApi(signal: NodeJS.Signals): void {
    const api = this.#daemons.get('kube-apiserver');
    if (!api?.running()) throw new Error('kube-apiserver does not run');
    process.kill(api.pid, signal);
  }

  async stop(): Promise<void> {
    for (const name of ['kube-scheduler', 'kube-controller-manager', 'kube-apiserver', 'etcd']) await this.#daemons.get(name)?.stop();
    this.#daemons.clear();
  }

  #startEtcd(): void {
    this.#launch('etcd', [
      '--name=test', `--data-dir=${join(this.dir, 'etcd')}`, '--unsafe-no-fsync', '--log-level=warn',
      `--listen-client-urls=http://127.0.0.1:${this.#ports.etcd}`, `--advertise-client-urls=http://127.0.0.1:${this.#ports.etcd}`,
      `--listen-peer-urls=http://127.0.0.1:${this.#ports.etcdPeer}`, `--initial-advertise-peer-urls=http://127.0.0.1:${this.#ports.etcdPeer}`,
      `--initial-cluster=test=http://127.0.0.1:${this.#ports.etcdPeer}`,
    ]);
  }

  async #startControllers(): Promise<void> {
    const manager = await this.authority.issue({ name: 'kube-controller-manager', commonName: 'system:kube-controller-manager' });
    const scheduler = await this.authority.issue({ name: 'kube-scheduler', commonName: 'system:kube-scheduler' });
    const managerConfig = join(this.dir, 'kube-controller-manager.kubeconfig');
    const schedulerConfig = join(this.dir, 'kube-scheduler.kubeconfig');
    writeFileSync(managerConfig, this.#kubeconfig('kube-controller-manager', manager));
    writeFileSync(schedulerConfig, this.#kubeconfig('kube-scheduler', scheduler));
    this.#launch('kube-controller-manager', [
      `--kubeconfig=${managerConfig}`, '--bind-address=127.0.0.1', `--secure-port=${this.#ports.controllerManager}`,
      `--service-account-private-key-file=${await this.#serviceAccountKey()}`, `--root-ca-file=${this.authority.ca}`, '--use-service-account-credentials=true',
      '--leader-elect=false',
    ]);
    this.#launch('kube-scheduler', [`--kubeconfig=${schedulerConfig}`, '--bind-address=127.0.0.1', `--secure-port=${this.#ports.scheduler}`, '--leader-elect=false']);
    await waitFor('the default ServiceAccount', { seconds: 60 }, async () => (await this.kubectl(['get', 'serviceaccount', 'default'])).code === 0 || undefined);
  }

  async #serviceAccountKey(): Promise<string> {
    const file = join(this.authority.dir, 'service-accounts.key');
    if (!existsSync(file)) await must(['openssl', 'ecparam', '-genkey', '-noout', '-name', 'prime256v1', '-out', file]);
    return file;
  }

  #kubeconfig(name: string, client: { cert: string; key: string }): string {
    return kubeconfigOf({ name, server: `https://127.0.0.1:${this.#ports.api}`, ca: this.authority.ca, cert: client.cert, key: client.key });
  }

  #launch(name: 'etcd' | 'kube-apiserver' | 'kube-controller-manager' | 'kube-scheduler', args: readonly string[]): void {
    this.#daemons.set(name, startDaemon(name, [this.#tools.path(name), ...args], { log: join(this.dir, 'log', `${name}.log`) }));
  }
}
