/** A process that is killed at one of its effects: it happens, the process does not learn of it, and none of its calls returns any more. */
import type { Host } from '../../kernel/host.ts';

export interface Life {
  readonly effects: number;
  readonly over: boolean;
  /** It is killed now. */
  end(): void;
  effect<T>(act: () => Promise<T>): Promise<T>;
  look<T>(act: () => Promise<T>): Promise<T>;
}

export function aLife(diesAtEffect?: number): Life {
  let effects = 0;
  let over = false;
  return {
    get effects() {
      return effects;
    },
    get over() {
      return over;
    },
    end() {
      over = true;
    },
    effect(act) {
      if (over) return never();
      effects += 1;
      if (diesAtEffect !== effects) return act();
      over = true;
      void act();
      return never();
    },
    look: (act) => (over ? never() : act()),
  };
}

function never(): Promise<never> {
  return new Promise(() => {});
}

/** The host as a process with this life sees it. */
export function hostOf(host: Host, life: Life): Host {
  return {
    littleEndian: host.littleEndian,
    read: (path, limitBytes) => life.look(() => host.read(path, limitBytes)),
    readStart: (path, bytes) => life.look(() => host.readStart(path, bytes)),
    stat: (path) => life.look(() => host.stat(path)),
    scan: (path, limitBytes, visit) => life.look(() => host.scan(path, limitBytes, visit)),
    list: (path) => life.look(() => host.list(path)),
    locate: (path) => life.look(() => host.locate(path)),
    writeSysfs: (path, text) => life.effect(() => host.writeSysfs(path, text)),
    append: (path, text) => life.effect(() => host.append(path, text)),
    replace: (path, content) => life.effect(() => host.replace(path, content)),
    link: (path, target) => life.effect(() => host.link(path, target)),
    remove: (path) => life.effect(() => host.remove(path)),
    stage: (fileName, bytes) => life.effect(() => host.stage(fileName, bytes)),
    clearStage: () => life.effect(() => host.clearStage()),
    run: (argv, timeoutMilliseconds) => life.effect(() => host.run(argv, timeoutMilliseconds)),
    ask: (argv, timeoutMilliseconds) => life.look(() => host.ask(argv, timeoutMilliseconds)),
    freeBytes: (path) => life.look(() => host.freeBytes(path)),
  };
}
