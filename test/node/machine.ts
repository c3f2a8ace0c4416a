/** One virtual machine: QEMU with a disk overlay, a seed disk, a console log, a command channel and its own user network. */
import { createReadStream, existsSync, readFileSync, watch, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { HOST_SEEN_BY_GUESTS } from '../cluster/control-plane.ts';
import { must, startDaemon, tailOf } from '../process.ts';
import type { Daemon } from '../process.ts';
import { GiveUp, waitFor } from '../wait.ts';
import type { NodeImage } from './image.ts';
import { Qmp } from './qmp.ts';
import { Shell } from './shell.ts';
import type { GuestResult } from './shell.ts';

export interface MachineOptions {
  /** Holds overlay, sockets and console log; the same directory and options give the same machine again. */
  readonly dir: string;
  readonly name: string;
  readonly image: NodeImage;
  /** A tar that the guest unpacks over its root at first boot. */
  readonly seed: string;
  /** Address of the guest in QEMU's user network 10.0.2.0/24. */
  readonly ip: string;
  /** A port that is the same on this machine's loopback and in the guest. */
  readonly port: number;
  /** The directory of the other machine of its fleet: eth1 of both are one cable. */
  readonly peer: string;
}

/** MiB. A node with kubelet, containerd and two pods holds 1.7 GiB; two machines fit in 24 GiB beside a control plane and a build. */
const MEMORY = 2048;

const DISK = 'disk.qcow2';
const MEMORY_FILE = 'memory';
const LAN = 'lan.sock';

/** KVM is usable when the device is there and the processor says it virtualizes; a device alone (nested para-virtual KVM) boots no stock kernel. */
export function canUseKvm(): boolean {
  return existsSync('/dev/kvm') && /^flags\s*:.*\b(vmx|svm)\b/m.test(readFileSync('/proc/cpuinfo', 'utf8'));
}

export class Machine {
  readonly options: MachineOptions;
  readonly disk: string;
  readonly console: string;
  #daemon: Daemon | undefined;
  #qmp: Qmp | undefined;
  #shell: Shell | undefined;
  /** What went wrong where nobody waited for it. */
  #fault: Error | undefined;

  constructor(options: MachineOptions) {
    this.options = options;
    this.disk = join(options.dir, DISK);
    this.console = join(options.dir, 'console.log');
  }

  /** Powered on, started by its own disk, which is made when there is none, and answering commands within `seconds`. */
  async boot(seconds = 240): Promise<void> {
    if (!existsSync(this.disk)) await this.#overlay(this.options.image.disk, 'raw');
    await this.#start();
    await this.#answer(seconds);
  }

  /** Running again as the machine whose `save` left memory and disk in `saved`, which is not written to. The guest's clock is set. */
  async restore(saved: string): Promise<void> {
    await this.#overlay(join(saved, DISK), 'qcow2');
    await this.#start(['-incoming', `exec:cat ${join(saved, MEMORY_FILE)}`]);
    await this.#qmp?.resume();
    await this.#answer(60);
    await this.must(`date -s @${(Date.now() / 1000).toFixed(3)} >/dev/null`);
  }

  /** Memory and disk are in the machine's directory afterwards, for `restore`; the process has ended. */
  async save(): Promise<void> {
    await this.must('sync');
    await this.#connected().save(join(this.options.dir, MEMORY_FILE));
    await this.powerOff();
  }

  run(script: string, seconds?: number): Promise<GuestResult> {
    if (!this.#shell || this.#fault) throw new Error(`${this.options.name} does not run as it should${this.#fault ? `: ${this.#fault.message}` : ''}`);
    return this.#shell.run(script, seconds);
  }

  /** As run; a non-zero exit code throws. Gives what was printed. */
  async must(script: string, seconds?: number): Promise<string> {
    const { code, output } = await this.run(script, seconds);
    if (code !== 0) throw new Error(`${this.options.name}: ${script}: exit ${code}\n${output}`);
    return output;
  }

  /** The host's file is in the guest at `target`; folders are made. */
  async copyIn(file: string, target: string, seconds = 120): Promise<void> {
    const server = createServer((_request, response) => {
      createReadStream(file).pipe(response);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    const port = address && typeof address === 'object' ? address.port : 0;
    try {
      await this.must(`mkdir -p "$(dirname ${target})" && busybox wget -q -O ${target} http://${HOST_SEEN_BY_GUESTS}:${port}/`, seconds);
    } finally {
      server.close();
    }
  }

  /** Booted again by its own init, or by a reset as a watchdog does it; answering commands within `seconds`. */
  async reboot(how: 'init' | 'reset', seconds = 240): Promise<void> {
    const bootID = await this.bootID();
    if (how === 'reset') await this.#connected().execute('system_reset');
    else await this.must('(sleep 1; systemctl reboot) >/dev/null 2>&1 &');
    await this.rebooted(bootID, seconds);
  }

  /** The next boot, and no later one, starts the running kernel with `words` at the end of its command line. */
  async nextBootWith(words: string): Promise<void> {
    const script = [
      "line=$(sed 's/BOOT_IMAGE=[^ ]* //' /proc/cmdline)",
      `printf "menuentry once --id once {\n linux /boot/vmlinuz-%s %s\n initrd /boot/initrd.img-%s\n}\n" "$(uname -r)" "$line ${words}" "$(uname -r)" >/boot/grub/custom.cfg`,
      'grub-reboot once',
      'sync',
    ];
    await this.must(script.join(' && '));
  }

  /** Throws when what the console says is something else, as it may while the machine goes down. */
  async bootID(): Promise<string> {
    const text = await this.must('cat /proc/sys/kernel/random/boot_id');
    const [bootID] = /[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/.exec(text) ?? [];
    if (bootID === undefined) throw new Error(`${this.options.name}: no boot id: ${text}`);
    return bootID;
  }

  /** Answers commands again in another boot than `bootID`, whoever has reset it. */
  async rebooted(bootID: string, seconds = 240): Promise<void> {
    await waitFor(`${this.options.name} to boot again`, { seconds, every: 1000 }, async () => {
      await this.#shell?.ready(5);
      return (await this.bootID()) !== bootID || undefined;
    }, () => this.log().split('\n').slice(-30));
  }

  /** The power is cut: what was not on the disk is lost. The machine can boot again. */
  async powerOff(): Promise<void> {
    const daemon = this.#daemon;
    this.#daemon = undefined;
    this.#disconnect();
    await daemon?.stop('SIGKILL');
  }

  /** What the guest's kernel printed on its serial console since the directory was made. */
  log(): string {
    return existsSync(this.console) ? readFileSync(this.console, 'utf8') : '';
  }

  async #answer(seconds: number): Promise<void> {
    const daemon = this.#daemon;
    const shell = this.#shell;
    if (!daemon || !shell) throw new Error(`${this.options.name} was not started`);
    await shell.ready(seconds).catch((error: unknown) => {
      const state = daemon.running() ? 'runs' : `has ended: ${tailOf(daemon)}`;
      throw new GiveUp(`${this.options.name} did not answer within ${seconds} s; QEMU ${state}; console:\n${this.log().split('\n').slice(-30).join('\n')}`, { cause: error });
    });
  }

  /** A reset ends QEMU (why: test/README.md), so the machine is started again; another end of its own is an end. */
  async #startAfterReset(daemon: Daemon, qmp: Qmp): Promise<void> {
    const reason = await qmp.ended;
    await daemon.ended;
    if (this.#daemon !== daemon || !reason?.endsWith('-reset')) return;
    this.#disconnect();
    await this.#start();
  }

  /** Each kexec begins with an empty translation cache, as every other boot does (why: test/README.md). */
  #followKexecs(qmp: Qmp): void {
    const count = () => this.log().split('kexec_core: Starting new kernel').length;
    let seen = count();
    const watcher = watch(this.console, () => {
      if (count() === seen) return;
      seen = count();
      qmp.forgetTranslations().catch((error: Error) => {
        if (this.#qmp === qmp) this.#fault = error;
      });
    });
    void qmp.ended.then(() => watcher.close());
  }

  #disconnect(): void {
    this.#shell?.close();
    this.#qmp?.close();
    this.#shell = undefined;
    this.#qmp = undefined;
  }

  async #overlay(backing: string, format: 'raw' | 'qcow2'): Promise<void> {
    await must(['qemu-img', 'create', '-q', '-f', 'qcow2', '-F', format, '-b', backing, this.disk]);
  }

  #connected(): Qmp {
    if (!this.#qmp) throw new Error(`${this.options.name} is not running`);
    return this.#qmp;
  }

  async #start(extra: readonly string[] = []): Promise<void> {
    const { dir, seed, ip, port, peer, name } = this.options;
    const [monitor, shell, log] = [join(dir, 'qmp.sock'), join(dir, 'shell.sock'), join(dir, 'qemu.log')];
    writeFileSync(log, '');
    const daemon = startDaemon(`qemu ${name}`, [
      'qemu-system-x86_64', '-name', name, '-nodefaults', '-no-user-config', '-display', 'none', '-machine', 'q35', '-m', String(MEMORY), '-no-reboot',
      // One emulated processor: with two, QEMU 7.2 runs past instructions that the kernel patches meanwhile, and panics within 30 loads (test/README.md).
      ...(canUseKvm() ? ['-accel', 'kvm', '-cpu', 'host', '-smp', '2'] : ['-accel', 'tcg', '-cpu', 'max,-la57,-svm', '-smp', '1']),
      '-drive', `file=${this.disk},if=virtio,format=qcow2,cache=writeback`,
      '-drive', `file=${seed},if=virtio,format=raw,readonly=on`,
      '-netdev', `user,id=net,net=10.0.2.0/24,restrict=off,hostfwd=tcp:127.0.0.1:${port}-${ip}:${port}`,
      '-device', `virtio-net-pci,netdev=net,mac=52:54:00:00:00:${ip.split('.')[3]?.padStart(2, '0')}`,
      '-netdev', `dgram,id=lan,local.type=unix,local.path=${join(dir, LAN)},remote.type=unix,remote.path=${join(peer, LAN)}`,
      '-device', `virtio-net-pci,netdev=lan,mac=52:54:00:00:01:${ip.split('.')[3]?.padStart(2, '0')}`,
      '-device', 'virtio-serial-pci', '-chardev', `socket,id=shell,path=${shell},server=on,wait=off`, '-device', 'virtconsole,chardev=shell',
      '-device', 'virtio-rng-pci', '-chardev', `file,id=serial,path=${this.console},append=on`, '-serial', 'chardev:serial',
      '-qmp', `unix:${monitor},server=on,wait=off`,
      ...extra,
    ], { log });
    this.#daemon = daemon;
    this.#fault = undefined;
    this.#shell = await Shell.connect(shell);
    const qmp = await Qmp.connect(monitor);
    this.#qmp = qmp;
    this.#startAfterReset(daemon, qmp).catch((error: Error) => {
      if (this.#daemon) this.#fault = error;
    });
    if (!canUseKvm()) this.#followKexecs(qmp);
  }
}
