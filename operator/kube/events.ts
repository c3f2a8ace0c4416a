/** One line of a watch. */
import { KernelPatchError } from '../errors.ts';
import { codeOfHttp } from './client.ts';
import type { KubeObject } from './resources.ts';

export type WatchEvent =
  /** The object is there as given: added or modified. */
  | { readonly kind: 'Set'; readonly object: KubeObject }
  | { readonly kind: 'Deleted'; readonly object: KubeObject }
  /** All events up to this resourceVersion have come; endsList: all objects that were there at the start have. */
  | { readonly kind: 'Bookmark'; readonly object: KubeObject; readonly endsList: boolean };

/** Throws BadAnswer for what is no event, and the code of the status in an ERROR event. */
export function parseEvent(watched: string, line: string): WatchEvent {
  const { type, object } = parseLine(watched, line);
  switch (type) {
    case 'ADDED':
    case 'MODIFIED':
      return { kind: 'Set', object };
    case 'DELETED':
      return { kind: 'Deleted', object };
    case 'BOOKMARK':
      return { kind: 'Bookmark', object, endsList: object.metadata.annotations?.['k8s.io/initial-events-end'] === 'true' };
    case 'ERROR': {
      const { code, message } = object as { readonly code?: unknown; readonly message?: unknown };
      throw new KernelPatchError(codeOfHttp(Number(code)), `watch of ${watched}: ${String(message)}`);
    }
    default:
      throw new KernelPatchError('BadAnswer', `watch of ${watched}: unknown event ${type}`);
  }
}

function parseLine(watched: string, line: string): { readonly type: string; readonly object: KubeObject } {
  try {
    const event = JSON.parse(line) as { readonly type?: unknown; readonly object?: { readonly metadata?: unknown } };
    if (typeof event.type === 'string' && typeof event.object?.metadata === 'object') return event as { type: string; object: KubeObject };
  } catch (cause) {
    throw new KernelPatchError('BadAnswer', `watch of ${watched}: a line that is not JSON`, { cause });
  }
  throw new KernelPatchError('BadAnswer', `watch of ${watched}: a line that is no event`);
}
