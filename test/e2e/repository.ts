/** An apt repository on this machine with the package of the fixed kernel, for nodes that do not have it. */
import { createReadStream, existsSync } from 'node:fs';
import { createServer } from 'node:http';
import { basename, join } from 'node:path';
import { ROOT } from '../cache.ts';
import { HOST_SEEN_BY_GUESTS } from '../cluster/control-plane.ts';
import type { Machine } from '../node/machine.ts';
import { must } from '../process.ts';
import { fixedRelease } from './reboot.ts';
import type { World } from './world.ts';

const SOURCES = '/etc/apt/sources.list.d/test.list';
/** Seconds for dpkg and update-grub under emulation. */
const DPKG = 300;

/** Nobody answers there. */
export const DEAD_REPOSITORY = `http://${HOST_SEEN_BY_GUESTS}:9/`;

export const kernelPackage = (world: World): string => `linux-image-${fixedRelease(world)}`;

/** Serves the repository as `serve` gets its address, until that has ended. */
export async function withRepository(world: World, serve: (url: string) => Promise<void>): Promise<void> {
  const directory = (await must([join(ROOT, 'test/apt/build.sh'), world.fleet.image.disk, fixedRelease(world)])).trim();
  const server = createServer(({ url = '' }, response) => {
    const file = join(directory, basename(decodeURIComponent(url)));
    if (!existsSync(file) || url.endsWith('/')) response.writeHead(404).end();
    else createReadStream(file).pipe(response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  try {
    await serve(`http://${HOST_SEEN_BY_GUESTS}:${address && typeof address === 'object' ? address.port : 0}/`);
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

/** The node has this repository and no other; undefined: none at all. */
export async function setRepository(node: Machine, url: string | undefined): Promise<void> {
  await node.must(`rm -rf /etc/apt/sources.list /var/lib/apt/lists/* && echo '${url === undefined ? '' : `deb [trusted=yes] ${url} ./`}' >${SOURCES}`);
}

/** As an admin removes it: image, initrd, modules and its entry of the boot loader are gone. From now on dpkg does not flush each of a kernel's 1400 files, which takes an emulated disk long. */
export async function removeFixedKernel(world: World, node: Machine): Promise<void> {
  await node.must('echo force-unsafe-io >/etc/dpkg/dpkg.cfg.d/test');
  await node.must(`env DEBIAN_FRONTEND=noninteractive apt-get purge -y -q ${kernelPackage(world)} && rm -f /boot/*${fixedRelease(world)}* && ! grep -q ${fixedRelease(world)} /boot/grub/grub.cfg`, DPKG);
}
