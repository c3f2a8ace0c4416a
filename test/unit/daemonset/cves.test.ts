/** status.cves and status.effectiveRelease of a plan. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { ACTIONS, CVE_STATES } from '../../../crds/nodekernel.ts';
import type { CveState, NodeKernelStatus, Plan } from '../../../crds/nodekernel.ts';
import { describeCves } from '../../../daemonset/cves.ts';
import { createMetrics } from '../../../daemonset/metrics.ts';
import { aPlan } from '../../simulated/node.ts';

type Patch = Plan['patches'][number];

const RUNNING = '6.12.107+deb13-cloud-amd64';
const facts = { bootID: aPlan().bootID ?? '', release: RUNNING };
const kernel = (minor: number) => `6.12.${minor}+deb13-cloud-amd64`;

function aPatch(changes: Partial<Patch> = {}): Patch {
  return { kernelPatch: 'fix', action: 'LivePatch', reason: 'LivePatchAvailable', message: 'in words', cves: ['CVE-1'], livePatch: 'lp', ...changes };
}
const fixed = aPatch({ action: 'None', reason: 'KernelFixed' });
const notAffected = aPatch({ action: 'None', reason: 'KernelNotAffected' });
const unknown = aPatch({ action: 'Unknown', reason: 'KernelNotListed' });
const blocked = aPatch({ action: 'Blocked', reason: 'NoLivePatch' });
const notAllowed = aPatch({ action: 'Blocked', reason: 'KexecUnavailable', needs: 'Reboot' });
const other = aPatch({ kernelPatch: 'other', livePatch: 'other_lp' });

function describe(patches: readonly Patch[], active: readonly string[] = [], plan: Partial<Plan> = {}) {
  return describeCves(aPlan({ patches: [...patches], ...plan }), new Set(active), facts);
}
function stateOf(cve: string, ...args: Parameters<typeof describe>): CveState | undefined {
  const { cves } = describe(...args);
  return CVE_STATES.find((state) => cves[state].includes(cve));
}

const CASES: Readonly<Record<string, { readonly patches: readonly Patch[]; readonly active?: readonly string[]; readonly plan?: Partial<Plan>; readonly state: CveState }>> = {
  'a CVE is fixed live when its live patch is active': { patches: [aPatch()], active: ['lp'], state: 'fixedLive' },
  'a live patch that is not active yet leaves it open': { patches: [aPatch()], active: ['lp_of_others'], state: 'open' },
  'a newer live patch closes it once that one is active': { patches: [aPatch({ reason: 'ReplacedByNewer', livePatch: 'newer' })], active: ['newer'], state: 'fixedLive' },
  'until then it is open, though the older one is still active': { patches: [aPatch({ reason: 'ReplacedByNewer', livePatch: 'newer' })], active: ['lp'], state: 'open' },
  'the running kernel can have the fix': { patches: [fixed], state: 'fixedByKernel' },
  'a kernel can be not affected': { patches: [notAffected], state: 'notAffected' },
  'nothing fixes it': { patches: [blocked], state: 'open' },
  'a withdrawn live patch closes nothing, even where it is still in the kernel': { patches: [aPatch({ action: 'Blocked', reason: 'Withdrawn' })], active: ['lp'], state: 'open' },
  'what fixes it is not allowed, whatever the reason says': { patches: [notAllowed], state: 'withheld' },
  'mode Plan withholds a live patch': { patches: [aPatch()], plan: { mode: 'Plan' }, state: 'withheld' },
  'mode Plan withholds a reboot': { patches: [aPatch({ action: 'Reboot' })], plan: { mode: 'Plan' }, state: 'withheld' },
  'mode Plan withholds nothing where nothing fixes it': { patches: [blocked], plan: { mode: 'Plan' }, state: 'open' },
  'a kexec that is allowed is not done yet': { patches: [aPatch({ action: 'Kexec' })], state: 'open' },
  'a missing fact is unknown': { patches: [unknown], state: 'unknown' },
  'a plan of another boot says nothing': { patches: [fixed], plan: { bootID: 'earlier' }, state: 'unknown' },
  'a plan of another boot says nothing of an active live patch either': { patches: [aPatch()], active: ['lp'], plan: { bootID: 'earlier' }, state: 'unknown' },
  'an active live patch that lists it closes it, whatever another KernelPatch says': { patches: [blocked, other], active: ['other_lp'], state: 'fixedLive' },
  'a kernel that one calls fixed is open when another says so': { patches: [fixed, blocked], state: 'open' },
  'open goes before withheld': { patches: [notAllowed, other], state: 'open' },
  'withheld goes before unknown, since it is known to be open': { patches: [unknown, notAllowed], state: 'withheld' },
  'unknown goes before fixed': { patches: [fixed, unknown], state: 'unknown' },
  'fixed goes before not affected': { patches: [notAffected, fixed], state: 'fixedByKernel' },
};

for (const [sentence, { patches, active, plan, state }] of Object.entries(CASES)) {
  test(sentence, () => {
    assert.equal(stateOf('CVE-1', patches, active, plan), state);
    assert.equal(stateOf('CVE-1', patches.toReversed(), active, plan), state, 'the order of the patches changes nothing');
  });
}

test('the lists are sorted, and closed counts those that are closed', () => {
  const { cves } = describe([aPatch({ cves: ['CVE-3', 'CVE-1'] }), { ...blocked, cves: ['CVE-2'] }, { ...notAffected, cves: ['CVE-4'] }], ['lp']);
  assert.deepEqual(cves, { closed: '3/4', fixedLive: ['CVE-1', 'CVE-3'], fixedByKernel: [], notAffected: ['CVE-4'], open: ['CVE-2'], withheld: [], unknown: [] });
});

test('the metric counts the CVEs of each list', async () => {
  const metrics = createMetrics();
  metrics.observe({ livePatches: [], cves: describe([aPatch({ cves: ['CVE-1', 'CVE-2'] }), { ...blocked, cves: ['CVE-3'] }], ['lp']).cves } as unknown as NodeKernelStatus);
  const shown = await metrics.registry.metrics();
  for (const [state, count] of [['fixedLive', 2], ['open', 1], ['withheld', 0]]) assert.ok(shown.includes(`kernelpatch_agent_cves{state="${state}"} ${count}\n`), shown);
});

test('a node without a plan has no CVEs and is as good as its kernel', () => {
  const { cves, effectiveRelease } = describeCves(undefined, new Set(), facts);
  assert.deepEqual([cves.closed, effectiveRelease], ['0/0', RUNNING]);
});

const first = aPatch({ fixedIn: kernel(110), cves: ['CVE-1'] });
const second = aPatch({ kernelPatch: 'second', livePatch: 'lp_2', fixedIn: kernel(117), cves: ['CVE-2'] });
const EFFECTIVE: Readonly<Record<string, { readonly patches: readonly Patch[]; readonly active?: readonly string[]; readonly plan?: Partial<Plan>; readonly release: string }>> = {
  'with all fixes up to a kernel the node is as good as that one': { patches: [first, second], active: ['lp', 'lp_2'], release: kernel(117) },
  'with those up to an earlier kernel it is as good as the earlier one': { patches: [first, second], active: ['lp'], release: kernel(110) },
  'a gap is not jumped over': { patches: [first, second], active: ['lp_2'], release: RUNNING },
  'two fixes of one kernel count together': { patches: [second, aPatch({ fixedIn: kernel(117), cves: ['CVE-3'] })], active: ['lp_2'], release: RUNNING },
  'a CVE that another live patch closes is closed': { patches: [first, second, { ...other, cves: ['CVE-1'] }], active: ['lp_2', 'other_lp'], release: kernel(117) },
  'a patch that names no fixed kernel says nothing': { patches: [first, { ...blocked, cves: ['CVE-5'] }], active: ['lp'], release: kernel(110) },
  'a fix that is missing and can not be compared counts as missing': { patches: [first, { ...blocked, fixedIn: '6.8.0-31-generic', cves: ['CVE-5'] }], active: ['lp'], release: RUNNING },
  'a kernel of another flavour is none that the node is as good as': { patches: [aPatch({ fixedIn: '6.12.110-generic' })], active: ['lp'], release: RUNNING },
  'an older kernel is none either': { patches: [aPatch({ fixedIn: kernel(90) })], active: ['lp'], release: RUNNING },
  'a plan of another boot proves nothing': { patches: [first], active: ['lp'], plan: { bootID: 'earlier' }, release: RUNNING },
  'CVEs that are not told are not closed': { patches: [aPatch({ fixedIn: kernel(110), cves: undefined })], active: ['lp'], release: RUNNING },
};

for (const [sentence, { patches, active, plan, release }] of Object.entries(EFFECTIVE)) {
  test(sentence, () => assert.equal(describe(patches, active, plan).effectiveRelease, release));
}

test('an unknown kernel is as good as unknown', () => {
  assert.equal(describeCves(aPlan({ patches: [first] }), new Set(['lp']), { ...facts, release: 'unknown' }).effectiveRelease, 'unknown');
});

const minor = (release: string) => Number(release.split(/[.+]/)[2] ?? 0);
const cve = fc.nat(6).map((number) => `CVE-${number}`);
const patch: fc.Arbitrary<Patch> = fc.record({
  kernelPatch: fc.string(),
  action: fc.constantFrom(...ACTIONS),
  reason: fc.constantFrom('KernelFixed', 'KernelNotAffected', 'Other'),
  message: fc.constant(''),
  cves: fc.uniqueArray(cve, { minLength: 1 }),
  livePatch: fc.constantFrom('lp_1', 'lp_2', 'lp_3'),
  needs: fc.constantFrom(undefined, 'Reboot' as const),
  fixedIn: fc.option(fc.integer({ min: 100, max: 120 }).map(kernel), { nil: undefined }),
});

test('every CVE of the plan is in exactly one list, and the effective kernel has no fix that the node lacks', () => {
  fc.assert(
    fc.property(fc.array(patch, { maxLength: 6 }), fc.uniqueArray(fc.constantFrom('lp_1', 'lp_2', 'lp_3')), fc.constantFrom<Plan['mode']>('Apply', 'Plan'), (patches, active, mode) => {
      const { cves, effectiveRelease } = describe(patches, active, { mode });
      const listed = CVE_STATES.flatMap((state) => cves[state]);
      assert.deepEqual([...listed].sort(), [...new Set(patches.flatMap((each) => each.cves ?? []))].sort());
      const open = new Set([...cves.open, ...cves.withheld, ...cves.unknown]);
      for (const { fixedIn, cves: own = [] } of patches) {
        if (effectiveRelease === RUNNING || fixedIn === undefined || minor(fixedIn) > minor(effectiveRelease)) continue;
        assert.ok(own.every((each) => !open.has(each)), `${effectiveRelease} has the fix of ${own.join()}`);
      }
      for (const each of cves.fixedByKernel) assert.ok(patches.every((rival) => !rival.cves?.includes(each) || rival.action === 'None'), `${each} is open to another KernelPatch`);
    }),
    { numRuns: 2000 },
  );
});
