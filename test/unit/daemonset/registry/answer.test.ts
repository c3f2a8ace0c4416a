import assert from 'node:assert/strict';
import { test } from 'node:test';
import { describeAnswer } from '../../../../daemonset/registry/answer.ts';

const asked = { place: 'registry.example/fix', sha256: 'a1'.repeat(32), limitBytes: 9, found: undefined };
const failed = (stderr: string) => describeAnswer({ kind: 'Failed', stderr }, asked);

/** As oras 1.3.6 prints them. */
const SAID: Readonly<Record<string, string>> = {
  'Error response from registry: registry.example/fix@sha256:a1a1: not found\n': 'ArtifactMissing',
  'Error: Get "https://registry.example/v2/fix/blobs/sha256:a1a1": tls: failed to verify certificate: x509: certificate signed by unknown authority\n': 'RegistryUntrusted',
  'Error: basic credential not found\nPlease check whether the registry credential stored in the authentication file at "/dev/null" is correct\n': 'RegistryDenied',
  'Error response from registry: GET "https://registry.example/v2/fix/manifests/sha256:a1a1": response status code 401: unauthorized: authentication required\n': 'RegistryDenied',
  'Error response from registry: GET "https://registry.example/v2/fix/manifests/sha256:a1a1": response status code 403: denied: requested access to the resource is denied\n': 'RegistryDenied',
  'Error: Get "https://registry.example/v2/fix/blobs/sha256:a1a1": dial tcp: lookup registry.example on 10.0.0.10:53: no such host\n': 'RegistryUnreachable',
  'Error: Get "https://registry.example/v2/": dial tcp 10.1.2.3:443: connect: connection refused\n': 'RegistryUnreachable',
  'Error: mismatch digest\n': 'ArtifactDigestMismatch',
  'Error: failed to fetch the content of "registry.example/fix@sha256:a1a1": content size 1099511627776 exceeds MaxBytes 4194304: size exceeds limit\n': 'ArtifactTooLarge',
  [`Error: Get "https://registry.example/v2/${'a/'.repeat(200)}": dial tcp 10.1.2.3:443: connect: connection refused\n`]: 'RegistryUnreachable',
  'Error: something else\n': 'RegistryFailed',
  '': 'RegistryFailed',
};

for (const [stderr, reason] of Object.entries(SAID)) {
  test(`"${stderr.trim().slice(0, 80)}" is ${reason}`, () => {
    const refusal = failed(stderr);
    assert.equal(refusal.reason, reason);
    assert.match(refusal.message, /^registry\.example\/fix did not give the live patch: /);
  });
}

test('what a registry says is one short line of printable characters', () => {
  const { message } = failed(`Error: \u001B[31m${'x'.repeat(10_000)}\nand more`);
  assert.ok(message.length < 500 && !/[^\u0020-\u007E]/.test(message));
});
