/** Lines of a stream that must not fall silent. */
import type { Readable } from 'node:stream';
import { StringDecoder } from 'node:string_decoder';
import { KernelPatchError } from '../errors.ts';

/** Each line without its end; a last line without one is dropped, since it was cut off. Throws Silent after idleMs without a byte, Network when the stream breaks. */
export async function* linesOf(stream: Readable, idleMs: number): AsyncGenerator<string, void, undefined> {
  const decoder = new StringDecoder('utf8');
  const silent = new KernelPatchError('Silent', `the API server sent nothing for ${idleMs / 1000} s`);
  const timer = setTimeout(() => stream.destroy(silent), idleMs);
  let rest = '';
  try {
    for await (const chunk of stream) {
      timer.refresh();
      const lines = (rest + decoder.write(chunk as Buffer)).split('\n');
      rest = lines.pop() ?? '';
      yield* lines.filter((line) => line !== '');
    }
  } catch (cause) {
    if (cause instanceof KernelPatchError) throw cause;
    throw new KernelPatchError('Network', 'the watch broke off', { cause });
  } finally {
    clearTimeout(timer);
    stream.destroy();
  }
}
