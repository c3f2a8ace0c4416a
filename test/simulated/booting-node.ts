/**
 * A node that boots: a directory that stands for its root, filled by the agent's own code, in which load.sh is run for real. Stand-ins take the
 * place of the commands that ask the kernel or the disk. The power can fail before and after each of them; what no sync has seen may be lost then.
 */
import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { BOOT_DIRECTORY, install } from '../../daemonset/boot/install.ts';
import { JOURNAL_PATH } from '../../daemonset/journal.ts';
import { parseModule } from '../../kernel/elf.ts';
import { realHost } from '../../kernel/host.ts';
import { parseJournal } from '../../kernel/journal.ts';
import type { ReadJournal } from '../../kernel/journal.ts';
import { ROOT } from '../cache.ts';
import { KERNEL_BUILD_ID, someFacts } from './facts.ts';
import type { WriteFate } from './disk.ts';
import { RELEASE, buildIDNote } from './module.ts';
import { NO_VERIFICATION, aWanted, sha256Of } from './node.ts';

/** Every stand-in passes two points: before and after what it does. */
const POINT = `R=$KERNELPATCH_ROOT
point() {
  count=$(($(cat "$R/count") + 1)); echo $count >"$R/count"
  [ $count != "$DIE_AT" ] || { kill -9 $PPID; exit 1; }
}
echo "\${0##*/} \${1##*/}" >>"$R/asked"
point
`;

const STAND_INS: Readonly<Record<string, string>> = {
  insmod: `${POINT}
[ ! -e "$R/refuses" ] || exit 1
name=$(grep -ao 'name=livepatch_[a-z]*' "$1" | head -n 1); name=\${name#name=}
mkdir -p "$R/sys/module/$name" "$R/sys/kernel/livepatch/$name"
echo 1 >"$R/sys/kernel/livepatch/$name/enabled"
if [ -e "$R/stalls" ]; then echo 1; else echo 0; fi >"$R/sys/kernel/livepatch/$name/transition"
point`,
  rmmod: `${POINT}
[ "$(cat "$R/sys/kernel/livepatch/$1/enabled")" = 0 ] && [ ! -e "$R/held" ] || exit 1
rm -r "$R/sys/kernel/livepatch/$1" "$R/sys/module/$1"
point`,
  sync: `${POINT}
for path; do [ ! -f "$path" ] || cp "$path" "$R/durable/"; done
point`,
  // A second passes.
  sleep: `R=$KERNELPATCH_ROOT
read -r uptime idle <"$R/proc/uptime"
echo "$((\${uptime%.*} + 1)).25 $idle" >"$R/proc/uptime"`,
};

const DURABLE_JOURNAL = 'durable/kernelpatch.journal';

export interface BootOptions {
  readonly shell?: readonly string[];
  /** The point at which the power fails. */
  readonly diesAt?: number;
  /** As the unit gives it. */
  readonly argument?: 'stop';
}

export class BootingNode implements Disposable {
  readonly root = mkdtempSync(join(tmpdir(), 'kernelpatch-boot-'));
  #boots = 0;

  constructor() {
    for (const directory of ['var/lib/misc', 'etc/systemd/system', 'proc/sys/kernel/random', 'sys/kernel', 'bin', 'durable', 'modules']) mkdirSync(join(this.root, directory), { recursive: true });
    writeFileSync(join(this.root, 'proc/sys/kernel/osrelease'), `${RELEASE}\n`);
    writeFileSync(join(this.root, 'sys/kernel/notes'), buildIDNote(KERNEL_BUILD_ID));
    for (const [name, script] of Object.entries(STAND_INS)) {
      writeFileSync(join(this.root, 'bin', name), `#!/bin/sh\n${script}\n`);
      chmodSync(join(this.root, 'bin', name), 0o755);
    }
  }

  /** The node's next boot is to load these, in this order. */
  async install(modules: readonly Buffer[], lift = ''): Promise<void> {
    const host = realHost({ root: this.root, stagingDirectory: join(this.root, 'stage') });
    const wanted = modules.map((bytes) => {
      const { name } = parseModule(bytes);
      writeFileSync(join(this.root, 'modules', `${name}.ko`), bytes);
      return aWanted({ name, hostPath: `/modules/${name}.ko`, sha256: sha256Of(bytes) });
    });
    const files = { loader: readFileSync(join(ROOT, 'daemonset/boot/load.sh'), 'utf8'), unit: readFileSync(join(ROOT, 'daemonset/boot/kernelpatch-boot.service'), 'utf8') };
    const chosen = modules.map((bytes) => ({ name: parseModule(bytes).name, sha256: sha256Of(bytes), buildID: parseModule(bytes).buildID ?? '', lift }));
    await install(host, { files, facts: someFacts(), modules: chosen, wanted, verification: NO_VERIFICATION, vouched: new Set() });
  }

  path(path: string): string {
    return join(this.root, path);
  }

  write(path: string, content: string | Buffer): void {
    mkdirSync(dirname(this.path(path)), { recursive: true });
    writeFileSync(this.path(path), content);
  }

  has(path: string): boolean {
    return existsSync(this.path(path));
  }

  /** Another boot, with an empty kernel: load.sh has run, or the power has failed meanwhile. */
  boot(options: BootOptions = {}): { readonly code: number; readonly output: string } {
    this.#boots += 1;
    for (const directory of ['sys/module', 'sys/kernel/livepatch', 'durable']) rmSync(this.path(directory), { recursive: true, force: true });
    for (const directory of ['sys/module', 'sys/kernel/livepatch', 'durable']) mkdirSync(this.path(directory));
    writeFileSync(this.path(DURABLE_JOURNAL), this.#read(JOURNAL_PATH));
    this.write('proc/sys/kernel/random/boot_id', `${this.bootID}\n`);
    this.write('proc/uptime', '5.25 1.00\n');
    this.write('asked', '');
    return this.run(options);
  }

  /** load.sh has run once more in this boot. */
  run({ shell = ['sh'], diesAt = 0, argument }: BootOptions = {}): { readonly code: number; readonly output: string } {
    this.write('count', '0\n');
    const [command = '', ...options] = shell;
    const env = { KERNELPATCH_ROOT: this.root, PATH: `${this.path('bin')}:/usr/bin:/bin`, DIE_AT: String(diesAt) };
    const { status, stdout, stderr } = spawnSync(command, [...options, this.path(`${BOOT_DIRECTORY}/load.sh`), ...(argument ? [argument] : [])], { env, encoding: 'utf8' });
    return { code: status ?? 137, output: `${stdout}${stderr}` };
  }

  /** Something was appended to the journal that no sync has seen. */
  get isWriting(): boolean {
    return this.#read(JOURNAL_PATH).length > this.#read(DURABLE_JOURNAL).length;
  }

  /** What the disk has after the power failed: of what was appended and not synced, what `fate` says. */
  cutPower(fate: WriteFate): void {
    if (fate === 'kept') return;
    const [now, durable] = [this.#read(JOURNAL_PATH), this.#read(DURABLE_JOURNAL)];
    const appended = now.subarray(durable.length);
    const tails = { lost: Buffer.alloc(0), torn: appended.subarray(0, appended.length / 2), zeros: Buffer.alloc(appended.length) };
    this.write(JOURNAL_PATH, Buffer.concat([durable, tails[fate]]));
  }

  /** Whatever is written to the journal goes there. */
  linkJournalTo(target: string): void {
    symlinkSync(target, this.path(JOURNAL_PATH));
  }

  /** Seconds. */
  get uptime(): number {
    return Number.parseFloat(readFileSync(this.path('proc/uptime'), 'utf8'));
  }

  get bootID(): string {
    return `1f0e9d3c-0000-4000-8000-${String(this.#boots).padStart(12, '0')}`;
  }

  /** The live patches in the kernel. */
  get loaded(): readonly string[] {
    return readdirSync(this.path('sys/kernel/livepatch')).sort();
  }

  /** What the stand-ins were asked, but for sync. */
  get asked(): readonly string[] {
    return readFileSync(this.path('asked'), 'utf8').split('\n').filter((line) => line !== '' && !line.startsWith('sync'));
  }

  get journal(): ReadJournal {
    return parseJournal(this.#read(JOURNAL_PATH));
  }

  #read(path: string): Buffer {
    return this.has(path) ? readFileSync(this.path(path)) : Buffer.alloc(0);
  }

  [Symbol.dispose](): void {
    rmSync(this.root, { recursive: true });
  }
}
