import { startControlPlane, freePorts } from './cluster/control-plane.ts';
import { nodeImage } from './node/image.ts';
import { Machine } from './node/machine.ts';
import { writeSeed } from './node/seed.ts';
import { mkdirSync, rmSync } from 'node:fs';
const t=performance.now(); const el=()=>((performance.now()-t)/1000).toFixed(1);
rmSync('/tmp/dbg',{recursive:true,force:true}); mkdirSync('/tmp/dbg/n',{recursive:true});
const image = await nodeImage([]);
const plane = await startControlPlane({dir:'/tmp/dbg/c',components:'all'});
const [port=0]=await freePorts(1);
await writeSeed(plane,{name:'node-1',ip:'10.0.2.11',kubeletPort:port,podCidr:'10.244.1.0/24'},'/tmp/dbg/n/seed.tar');
const m = new Machine({dir:'/tmp/dbg/n',name:'node-1',image,release:image.kernels[0],seed:'/tmp/dbg/n/seed.tar',ip:'10.0.2.11',port});
await m.boot(); console.log(el(),'shell');
for (let i=0;i<12;i++){ 
 await new Promise(r=>setTimeout(r,10000));
 console.log(el(), (await plane.kubectl(['get','nodes'])).stdout, (await m.run('systemctl list-jobs --no-pager | head; systemctl --failed --no-pager | head -5; systemctl is-active containerd kubelet kube-proxy node-seed node-network; ip a | grep inet; uptime')).output);
}
console.log((await m.run('journalctl -u kubelet -u containerd -u node-seed -u node-network --no-pager | tail -60; cat /etc/node.env')).output);
process.exit(0);
