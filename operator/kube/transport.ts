/**
 * One HTTP request to the API server. Addresses and credentials are client-node's KubeConfig (kubeconfig files, in-cluster tokens that are
 * read anew, exec plugins). Sockets are ours: client-node 2.0.1 makes a new connection for every request (KubeConfig.createDispatcher).
 */
import type { KubeConfig } from '@kubernetes/client-node';
import http from 'node:http';
import https from 'node:https';
import { KernelPatchError } from '../errors.ts';

/** 30 s: shorter than what API servers and load balancers leave an idle connection, so that none is used that is about to be closed. */
const IDLE_SOCKET_MS = 30_000;

export interface HttpRequest {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** With the query. */
  readonly path: string;
  readonly body?: string;
  readonly contentType?: string;
  readonly signal: AbortSignal;
}

/** Resolves with the answer's head, the body still to be read. Throws Network when there is no answer or no credential. */
export type Transport = (request: HttpRequest) => Promise<http.IncomingMessage>;

export function makeTransport(kubeConfig: KubeConfig): Transport {
  const cluster = kubeConfig.getCurrentCluster();
  if (!cluster) throw new KernelPatchError('ConfigInvalid', 'no cluster to talk to: run in a pod, or set KUBECONFIG to a file with a current-context');
  const server = new URL(cluster.server);
  const secure = server.protocol === 'https:';
  const agent = secure ? new https.Agent({ keepAlive: true, timeout: IDLE_SOCKET_MS }) : new http.Agent({ keepAlive: true, timeout: IDLE_SOCKET_MS });
  const basePath = server.pathname.replace(/\/$/, '');

  return async ({ method, path, body, contentType, signal }) => {
    const credentials: http.OutgoingHttpHeaders = {};
    const options: https.RequestOptions = { headers: credentials };
    try {
      await kubeConfig.applyToHTTPSOptions(options);
    } catch (error) {
      throw new KernelPatchError('Network', 'the credentials for the API server could not be read', { cause: error });
    }
    // Node frames the body of a DELETE only when told its length; unframed, it would be read as the connection's next request.
    const framing = body === undefined ? {} : { 'Content-Length': Buffer.byteLength(body) };
    const headers = { ...credentials, ...framing, Accept: 'application/json', ...(contentType && { 'Content-Type': contentType }) };
    // With proxy-url in the kubeconfig client-node's agent is the one that knows the way.
    const target = { ...options, headers, method, signal, agent: cluster.proxyUrl ? options.agent : agent, host: server.hostname.replace(/^\[|\]$/g, ''), port: server.port, path: basePath + path };
    return new Promise((resolve, reject) => {
      const request = secure ? https.request(target, resolve) : http.request(target, resolve);
      request.on('error', (cause) => reject(new KernelPatchError('Network', `${method} ${path}: no answer from the API server`, { cause })));
      request.end(body);
    });
  };
}
