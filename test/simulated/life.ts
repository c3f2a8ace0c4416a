/** A process that is killed at one of its effects: from then on none of its calls returns, as for a process that is no more. */
import type { Host } from '../../kernel/host.ts';

/** after: the effect happens, and the process does not learn of it. */
export interface Kill {
  readonly effect: number;
  readonly moment: 'before' | 'after';
}

export interface Life {
  readonly effects: number;
  readonly over: boolean;
  effect<T>(act: () => Promise<T>): Promise<T>;
  look<T>(act: () => Promise<T>): Promise<T>;
}

export function aLife(kill?: Kill): Life {
  let effects = 0;
  let over = false;
  const never = () => new Promise<never>(() => {});
  return {
    get effects() {
      return effects;
    },
    get over() {
      return over;
    },
    effect(act) {
      if (over) return never();
      effects += 1;
      if (kill?.effect !== effects) return act();
      over = true;
      if (kill.moment === 'after') void act();
      return never();
    },
    look: (act) => (over ? never() : act()),
  };
}

/** The host as a process with this life sees it. */
export function hostOf(host: Host, life: Life): Host {
  return {
    littleEndian: host.littleEndian,
    read: (path, limitBytes) => life.look(() => host.read(path, limitBytes)),
    list: (path) => life.look(() => host.list(path)),
    writeSysfs: (path, text) => life.effect(() => host.writeSysfs(path, text)),
    stage: (fileName, bytes) => life.effect(() => host.stage(fileName, bytes)),
    clearStage: () => life.effect(() => host.clearStage()),
    run: (argv, timeoutMilliseconds) => life.effect(() => host.run(argv, timeoutMilliseconds)),
  };
}
