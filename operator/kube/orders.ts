/** Reads a node's reboot order anew, where acting on what the caches show would put more nodes out of service than may be, or pods on one that goes down: a watch may lag behind for any time. */
import type { NodeKernel } from '../../crds/nodekernel.ts';
import { kindOf } from '../errors.ts';
import { readNodeKernel } from '../observe.ts';
import type { Client } from './client.ts';
import { NODE_KERNELS } from './resources.ts';

/** undefined: the node has none. */
export async function readNodeKernelNow(client: Pick<Client, 'get'>, node: string): Promise<NodeKernel | undefined> {
  try {
    return readNodeKernel(await client.get(NODE_KERNELS, node));
  } catch (error) {
    if (kindOf(error) !== 'NotFound') throw error;
    return undefined;
  }
}
