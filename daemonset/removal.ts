/** Tells the end of the product on this node from the end of one agent, which is all that SIGTERM says. */
import type { Logger } from 'pino';
import type { Clock } from '../kernel/clock.ts';
import { KernelPatchError } from '../kernel/errors.ts';
import type { Api } from './api.ts';

/**
 * 5 s: an uninstall deletes the operator's Deployment first, and the garbage collector may end the agents before the NodeKernels and the
 * rights are gone, which Helm deletes within a second. An agent that is only replaced ends that much later.
 */
const AGAIN_MILLISECONDS = 5000;

/**
 * True when this node's NodeKernel, its kind, or the agent's right to read it is gone. No answer is no removal: a node that is cut off, or
 * shut down, keeps what it has.
 */
export async function isRemoved(api: Pick<Api, 'list'>, clock: Clock, log: Logger): Promise<boolean> {
  const first = await ask(api, log);
  if (first !== 'There') return first === 'Gone';
  await clock.sleep(AGAIN_MILLISECONDS);
  return (await ask(api, log)) === 'Gone';
}

async function ask(api: Pick<Api, 'list'>, log: Logger): Promise<'There' | 'Gone' | 'Unknown'> {
  try {
    return (await api.list()).object === undefined ? 'Gone' : 'There';
  } catch (error) {
    if (!(error instanceof KernelPatchError)) throw error;
    log.info({ err: error }, 'asked at the end for the NodeKernel');
    return error.code === 'ApiForbidden' || error.code === 'ApiNotFound' ? 'Gone' : 'Unknown';
  }
}
