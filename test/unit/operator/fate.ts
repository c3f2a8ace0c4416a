/** What befalls a leader of the simulations in one of its turns, at its writes. */
import type * as fc from 'fast-check';
import { KernelPatchError } from '../../../operator/errors.ts';
import { Killed } from './leader.ts';

/** Numbers of writes, from 0; Infinity: none. */
export interface Fate {
  /** It does not live to see this one. */
  readonly deadAt: number;
  readonly failsAt: number;
  /** The one that fails is made all the same. */
  readonly answerLost: boolean;
}

export const UNDISTURBED: Fate = { deadAt: Infinity, failsAt: Infinity, answerLost: false };

/** The writes of one leader, in the order in which the scheduler lets them through. */
export class FatedWrites {
  readonly #scheduler: fc.Scheduler;
  #fate = UNDISTURBED;
  #count = 0;

  constructor(scheduler: fc.Scheduler) {
    this.#scheduler = scheduler;
  }

  begin(fate: Fate): void {
    this.#fate = fate;
    this.#count = 0;
  }

  /** A write the leader does not live to see is not made. */
  async write<T>(make: () => T): Promise<T> {
    await this.#scheduler.schedule(Promise.resolve());
    const { deadAt, failsAt, answerLost } = this.#fate;
    const number = this.#count;
    this.#count += 1;
    if (number >= deadAt) throw new Killed();
    if (number !== failsAt) return make();
    if (answerLost) make();
    throw new KernelPatchError('Network', 'no answer');
  }

  /** The turn was its last. */
  get isDead(): boolean {
    return this.#count > this.#fate.deadAt;
  }
}
