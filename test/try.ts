import { startFleet } from './fleet/fleet.ts';
import { stopAllDaemons } from './process.ts';
const t=performance.now(); const el=()=>((performance.now()-t)/1000).toFixed(1);
try {
const f = await startFleet({nodes:2, archives: [], say:(l)=>console.log(el(),l)});
console.log(el(), await f.plane.mustKubectl(['get','nodes','-o','wide']));
console.log(await f.nodes[0]!.must('uname -r; cat /proc/version; uptime; systemctl --failed --no-pager; systemd-analyze 2>&1; free -m; ls /sys/kernel/livepatch'));
console.log(el(), await f.nodes[1]!.must("crictl --version; ctr -n k8s.io images ls -q"));await f.stop();
} catch(e) { console.error(el(), e); await stopAllDaemons(); process.exitCode=1; }
