/** Our own image and chart on a fleet: built from this checkout, installed by helm. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { cacheDir, ROOT } from '../cache.ts';
import { nodeImage } from '../node/image.ts';
import { must } from '../process.ts';
import { restoreFleet, saveFleet, startFleet } from './fleet.ts';
import type { Fleet, Say } from './fleet.ts';
import { digestOf, snapshotOf } from './snapshot.ts';

export const NAMESPACE = 'kernelpatch-system';
export const RELEASE = 'kernelpatch';

export interface Product {
  /** node and kmod: changes rarely, is part of the node's disk image. */
  readonly base: string;
  /** The image without the base's layer: what a node gets on top. */
  readonly thin: string;
}

/** The image of this checkout, built as the Dockerfile says. */
export async function buildProduct(): Promise<Product> {
  const build = join(ROOT, 'test/image/build.sh');
  const base = join(cacheDir(), 'image-base.tar');
  const thin = join(cacheDir(), 'image-thin.tar');
  await must([build, '--base', base], { seconds: 600 });
  await must([build, '--thin', thin], { seconds: 600 });
  return { base, thin };
}

/** Every node has the image in its containerd afterwards. */
export async function loadProduct(fleet: Fleet, product: Product): Promise<void> {
  await Promise.all(
    fleet.nodes.map(async (node) => {
      await node.copyIn(product.thin, '/tmp/image.tar');
      await node.must('ctr -n k8s.io images import /tmp/image.tar && rm /tmp/image.tar', 300);
    }),
  );
}

/** The chart is installed and the operator available. The namespace carries the label that privileged pods need. The subjects are not signed, so nobody has to have signed them, unless the values say so. */
export async function installChart(fleet: Fleet, values: readonly string[] = ['--set', 'verification.policy=Off']): Promise<void> {
  await fleet.plane.mustKubectl(['create', 'namespace', NAMESPACE]);
  await fleet.plane.mustKubectl(['label', 'namespace', NAMESPACE, 'pod-security.kubernetes.io/enforce=privileged']);
  const { code, stdout, stderr } = await fleet.plane.helm(['install', RELEASE, join(ROOT, 'charts/kernelpatch'), '--namespace', NAMESPACE, '--wait', '--timeout', '5m', ...values]);
  if (code !== 0) throw new Error(`helm install: ${stderr}${stdout}`);
}

/** A fleet with the chart installed and no policy yet; restored in seconds when this image and chart were installed before. */
export async function startInstalledFleet(product: Product, say: Say): Promise<Fleet> {
  const image = await nodeImage([product.base]);
  const thin = createHash('sha256').update(readFileSync(product.thin)).digest('hex');
  const snapshot = snapshotOf('fleet-installed', digestOf(['test/cluster', 'test/node', 'test/fleet', 'charts'], image.dir, thin));
  if (!snapshot.exists) {
    const fleet = await startFleet([product.base], say);
    say('loading the image into the nodes and installing the chart');
    await loadProduct(fleet, product);
    await installChart(fleet);
    say('saving the cluster with the chart installed for later starts');
    await saveFleet(fleet, snapshot);
  }
  return restoreFleet(snapshot, image, say);
}
