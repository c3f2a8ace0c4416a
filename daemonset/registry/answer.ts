/** What a registry's answer means. Pure. oras has one exit code for all, so what it prints is looked at; an unknown text is shown as it is. */
import type { RegistryAnswer } from './host.ts';

export type FetchRefusalReason =
  | 'ArtifactDigestMismatch'
  | 'ArtifactMissing'
  | 'ArtifactTooLarge'
  | 'RegistryDenied'
  | 'RegistryFailed'
  | 'RegistryToolMissing'
  | 'RegistryUnreachable'
  | 'RegistryUntrusted';

export interface FetchRefusal {
  readonly reason: FetchRefusalReason;
  readonly message: string;
}

export interface AskedFor {
  readonly place: string;
  readonly sha256: string;
  readonly limitBytes: number;
  /** The digest of the bytes that came, where some came. */
  readonly found: string | undefined;
}

/** The first that fits. The texts are of oras 1.3 and Go's net/http. */
const SAID: readonly { readonly text: RegExp; readonly reason: FetchRefusalReason; readonly todo: string }[] = [
  { text: /x509:|tls:/i, reason: 'RegistryUntrusted', todo: 'Install the authority that signed its certificate on the nodes, or give it as registry.caConfigMap of the chart' },
  { text: /credential|unauthorized|denied|forbidden|status code 40[13]/i, reason: 'RegistryDenied', todo: 'Give a Secret with its credentials as registry.pullSecret of the chart' },
  { text: /mismatch/i, reason: 'ArtifactDigestMismatch', todo: 'It answered with other bytes: do not trust it until it is known why' },
  { text: /exceeds/i, reason: 'ArtifactTooLarge', todo: 'It answered with more than a live patch has: do not trust it until it is known why' },
  { text: /not found|status code 404/i, reason: 'ArtifactMissing', todo: 'Push the artifact there, or correct source.image' },
  { text: /no such host|connection refused|no route|timeout|timed out|unreachable|proxyconnect|EOF|reset by peer/i, reason: 'RegistryUnreachable', todo: 'Look at the network between the node and the registry: its name, a firewall, registry.proxy of the chart' },
];

/** Of an answer that was not what was asked for. */
export function describeAnswer(answer: RegistryAnswer, { place, sha256, limitBytes, found }: AskedFor): FetchRefusal {
  switch (answer.kind) {
    case 'Bytes':
      return refusal('ArtifactDigestMismatch', `${place} answered ${found} where sha256:${sha256} was asked for: do not trust it until it is known why`);
    case 'TooLarge':
      return refusal('ArtifactTooLarge', `${place} answered more than ${limitBytes} bytes for sha256:${sha256}: do not trust it until it is known why`);
    case 'TimedOut':
      return refusal('RegistryUnreachable', `${place} did not answer in time: look at the network between the node and the registry`);
    case 'NotStarted':
      return refusal('RegistryToolMissing', 'oras can not be started: the image is broken');
    case 'Failed':
      return describeFailure(place, answer.stderr);
    default:
      return answer satisfies never;
  }
}

const MAX_SAID = 300;

/** What oras prints may come from the registry: one line of it, without control characters, and without the address that it was asked at. */
function describeFailure(place: string, stderr: string): FetchRefusal {
  const line = (stderr.trim().split('\n')[0] ?? '').replaceAll(/[^\x20-\x7e]/g, '?');
  const known = SAID.find(({ text }) => text.test(line));
  const said = line.replace(/^Error[^:]*: /, '').replace(/^(?:Get|Head) "[^"]*": /i, '').slice(0, MAX_SAID) || 'oras printed nothing';
  return refusal(known?.reason ?? 'RegistryFailed', `${place} did not give the live patch: ${said}${known === undefined ? '' : `. ${known.todo}`}`);
}

function refusal(reason: FetchRefusalReason, message: string): FetchRefusal {
  return { reason, message };
}
