/** Configurations as grub-mkconfig writes them, and what GRUB would start. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { chooseEntry, nameEntry, takesSavedEntry } from '../../../../kernel/boot/choice.ts';
import type { Choice } from '../../../../kernel/boot/choice.ts';
import { parseEntries } from '../../../../kernel/boot/entries.ts';
import { parseEnvironment } from '../../../../kernel/boot/environment.ts';
import type { Surroundings } from '../../../../kernel/boot/menu.ts';
import { codeOf } from '../../../../kernel/errors.ts';
import { ADVANCED_ID, MACHINE_ID, RHEL_GRUB_CONFIG, aBootEntry, aDebianGrubConfig, aGrubEnvironment, advancedID } from '../../../simulated/boot.ts';
import type { GrubOptions } from '../../../simulated/boot.ts';

const OLD = '6.12.107+deb13-cloud-amd64';
const NEW = '6.12.117+deb13-cloud-amd64';
const RHEL_OLD = '5.14.0-503.40.1.el9_5.x86_64';
const RHEL_NEW = '5.14.0-570.12.1.el9_6.x86_64';

type Variables = Readonly<Record<string, string>>;

const surroundings = (directory: string, variables: Variables | undefined, fields: Partial<Surroundings> = {}): Surroundings => ({
  directory,
  files: new Set(['grub.cfg', ...(variables ? ['grubenv'] : [])]),
  environment: variables ? parseEnvironment(aGrubEnvironment(variables).toString()) : new Map(),
  entries: [],
  ...fields,
});

const rescue = { name: `${MACHINE_ID}-0-rescue.conf`, text: aBootEntry(`0-rescue-${MACHINE_ID}`) };
const entries = (releases: readonly string[]) => parseEntries([rescue, ...releases.map((release) => ({ name: `${MACHINE_ID}-${release}.conf`, text: aBootEntry(release) }))]);

function debian(options: GrubOptions, variables: Variables | undefined, fields: Partial<Surroundings> = {}): Choice {
  return chooseEntry(aDebianGrubConfig([NEW, OLD], options), surroundings('/boot/grub', variables, fields));
}

function rhel(variables: Variables | undefined, fields: Partial<Surroundings> = {}): Choice {
  return chooseEntry(RHEL_GRUB_CONFIG, surroundings('/boot/grub2', variables, { entries: entries([RHEL_OLD, RHEL_NEW]), ...fields }));
}

const inSubmenu = `Advanced options for Debian GNU/Linux>Debian GNU/Linux, with Linux ${OLD}`;

const STARTS: Readonly<Record<string, readonly [choice: () => Choice, image: string, once?: boolean]>> = {
  'the first entry by default': [() => debian({}, {}), `/boot/vmlinuz-${NEW}`],
  'the same where there is no grubenv': [() => debian({}, undefined), `/boot/vmlinuz-${NEW}`],
  'the saved entry, by titles': [() => debian({ wanted: 'saved' }, { saved_entry: inSubmenu }), `/boot/vmlinuz-${OLD}`],
  'the saved entry, by ids': [() => debian({ wanted: 'saved' }, { saved_entry: `${ADVANCED_ID}>${advancedID(OLD)}` }), `/boot/vmlinuz-${OLD}`],
  'the saved entry, by numbers': [() => debian({ wanted: 'saved' }, { saved_entry: '1>2' }), `/boot/vmlinuz-${OLD}`],
  'the first entry where none is saved': [() => debian({ wanted: 'saved' }, {}), `/boot/vmlinuz-${NEW}`],
  'the entry of /etc/default/grub': [() => debian({ wanted: `1>${advancedID(OLD)}` }, { saved_entry: '0' }), `/boot/vmlinuz-${OLD}`],
  'what grub-reboot asked for, once': [() => debian({}, { next_entry: '1>2', saved_entry: '0' }), `/boot/vmlinuz-${OLD}`, true],
  'the first entry where the wanted one is gone': [() => debian({ wanted: 'saved' }, { saved_entry: 'Debian GNU/Linux, with Linux 6.1.0' }), `/boot/vmlinuz-${NEW}`],
  'the first entry where the number is too high': [() => debian({ wanted: '7' }, {}), `/boot/vmlinuz-${NEW}`],
  'the first entry of a submenu where the wanted one is gone': [() => debian({ wanted: '1>gone' }, {}), `/boot/vmlinuz-${NEW}`],
  'the first entry after a boot that failed': [() => debian({}, { recordfail: '1' }), `/boot/vmlinuz-${NEW}`],
  'an entry with > in its title': [() => debian({ wanted: 'a>>b', custom: "menuentry 'a>b' { linux /boot/vmlinuz-1.2 }\n" }, {}), '/boot/vmlinuz-1.2'],
  'an entry of 40_custom, behind those of the kernels': [() => debian({ wanted: 'mine', custom: "menuentry 'Mine' --id mine {\n  linux /vmlinuz-1.2 quiet\n}\n" }, {}), '/vmlinuz-1.2'],
  'a kernel without initrd, where the boot with one has not failed': [
    () => debian({ wanted: 'ubuntu', custom: "menuentry 'ubuntu' {\n if [ \"${initrdfail}\" = 1 ]; then\n linux /boot/vmlinuz-1.1 rw\n initrd /boot/initrd.img-1.1\n else\n linux /boot/vmlinuz-1.2 panic=-1\n fi\n initrdfail\n}\n" }, {}), '/boot/vmlinuz-1.2',
  ],
  'the newest BLS entry by default': [() => rhel({}), `/vmlinuz-${RHEL_NEW}`],
  'the saved BLS entry, by the name of its file': [() => rhel({ saved_entry: `${MACHINE_ID}-${RHEL_OLD}`, kernelopts: 'root=/dev/sda1 ro' }), `/vmlinuz-${RHEL_OLD}`],
  'the saved BLS entry, by its title': [() => rhel({ saved_entry: `Red Hat Enterprise Linux (${RHEL_OLD}) 9.6 (Plow)` }), `/vmlinuz-${RHEL_OLD}`],
  'the saved BLS entry, by its number': [() => rhel({ saved_entry: '1' }), `/vmlinuz-${RHEL_OLD}`],
  'the BLS entry that is wanted once': [() => rhel({ saved_entry: `${MACHINE_ID}-${RHEL_NEW}`, next_entry: `${MACHINE_ID}-${RHEL_OLD}` }), `/vmlinuz-${RHEL_OLD}`, true],
  'the newest BLS entry where the saved one is gone': [() => rhel({ saved_entry: `${MACHINE_ID}-5.14.0-1.el9.x86_64` }), `/vmlinuz-${RHEL_NEW}`],
  'the saved entry while boots are counted': [() => rhel({ saved_entry: '0', boot_success: '0', boot_counter: '2' }), `/vmlinuz-${RHEL_NEW}`],
  'the second entry once the count of boots is down': [() => rhel({ saved_entry: '0', boot_success: '0', boot_counter: '0' }), `/vmlinuz-${RHEL_OLD}`],
  'a BLS entry where grub2-setpassword has set a password': [() => rhel({}, { files: new Set(['grub.cfg', 'grubenv', 'user.cfg']) }), `/vmlinuz-${RHEL_NEW}`],
};

for (const [what, [choose, image, once = false]] of Object.entries(STARTS)) {
  test(`GRUB starts ${what}`, () => {
    const choice = choose();
    assert.deepEqual([choice.image, choice.once], [image, once]);
    assert.notEqual(choice.title, '');
  });
}

const hand = (text: string, variables: Variables = {}) => () => chooseEntry(`set timeout=5\n${text}`, surroundings('/boot/grub', variables));
const entry = (title: string, body = 'linux /vmlinuz-1.1') => `menuentry '${title}' {\n${body}\n}\n`;

const UNKNOWN: Readonly<Record<string, readonly [choice: () => Choice, says: RegExp]>> = {
  'a custom.cfg': [() => debian({}, {}, { files: new Set(['grub.cfg', 'custom.cfg']) }), /line \d+ reads another file \(\/boot\/grub\/custom\.cfg\)/],
  'a menu that waits for a person': [() => debian({ timeout: '-1' }, {}), /its menu waits for a person.*GRUB_TIMEOUT/],
  'a menu without a timeout': [() => chooseEntry(entry('a'), surroundings('/boot/grub', {})), /waits for a person/],
  'a default that is a submenu': [() => debian({ wanted: '1' }, {}), /"1" is a submenu: .*"1>ENTRY"/],
  'a number with something behind it': [() => debian({ wanted: '1st' }, {}), /"1st" is neither an entry nor a number/],
  'an entry that EFI alone has': [() => debian({ wanted: 'uefi-firmware' }, {}), /whether line \d+ adds an entry/],
  'the number of an entry that EFI alone has': [() => debian({ wanted: '2' }, {}), /whether line \d+ adds an entry/],
  'an entry that starts no kernel': [hand(entry('Windows', 'chainloader +1')), /line 2 has an entry that starts no kernel/],
  'a kernel on a condition': [hand(entry('a', 'if [ "$grub_platform" = efi ]; then\nlinux /vmlinuz-1.1\nelse\nlinux /vmlinuz-1.2\nfi')), /which kernel the entry "a" starts depends/],
  'a default on a condition': [hand(`if keystatus --shift; then\n  set default=1\nelse\n  set default=0\nfi\n${entry('a')}${entry('b')}`), /line [35] sets the default entry on a condition/],
  'a default that a function may set': [hand(`function choose {\n  set default=1\n}\nchoose\n${entry('a')}`), /line 3 sets the default entry/],
  'an environment elsewhere': [() => rhel({ env_block: '512+1' }), /line \d+ reads variables from another place than grubenv/],
  'entries elsewhere': [() => rhel({ blsdir: '/root/boot/loader/entries' }), /takes entries from another place/],
  'no entries': [() => rhel({}, { entries: [] }), /whether line \d+ adds an entry/],
  'another configuration': [hand('configfile /grub/other.cfg'), /line 2 has the command "configfile"/],
  'a command that is not known': [hand('frobnicate'), /line 2 has the command "frobnicate"/],
  'a loop': [hand('for x in 1 2; do echo $x; done'), /line 2 has "for"/],
  'a condition that is a function': [hand('if frobnicate; then true; fi'), /line 2 has the condition "frobnicate"/],
  'a quote that does not end': [hand('set default="0'), /line 2 has a quote that does not end/],
  'a brace that is not closed': [hand("menuentry 'a' {\nlinux /vmlinuz-1.1"), /line 2 opens a \{ that is not closed/],
  'a brace too many': [hand('}'), /line 2 closes what was not opened/],
  'an if without its end': [hand('if true; then echo a'), /line 2 has an if without its fi/],
  'an entry without a body': [hand("menuentry 'a'"), /line 2 has no \{ behind it/],
  'what GRUB\'s shell can not either': [hand('echo a | cat'), /line 2 has "\|/],
  'nothing at all': [() => chooseEntry('', surroundings('/boot/grub', {})), /waits for a person/],
  'no menu': [hand(''), /its menu has no entries/],
  'conditions in conditions without end': [hand('if true; then '.repeat(40)), /nested deeper than 16/],
  'functions that call one another': [hand('function f { f; f; }\nf'), /calls more than 16 functions in one another/],
  'a script that would take for ever': [hand(`${Array.from({ length: 12 }, (_, index) => `function f${index} { ${`f${index + 1};`.repeat(12)} }\n`).join('')}function f12 { true; }\nf0`), /more than 200000 steps/],
  'a value that would fill the memory': [hand(`set a=xxxxxxxx\n${'set a="$a$a"\n'.repeat(60)}set default="$a"\n${entry('a')}`), /sets the default entry on a condition/],
};

for (const [what, [choose, says]] of Object.entries(UNKNOWN)) {
  test(`${what} is BootLoaderUnknown, with what is in the way`, () => {
    assert.throws(choose, (error) => codeOf(error) === 'BootLoaderUnknown' && says.test(String(error)));
  });
}

test('an environment that is no block has no variables, as in GRUB, and a backslash keeps what is behind it', () => {
  assert.deepEqual([...parseEnvironment('saved_entry=1\n')], []);
  assert.deepEqual([...parseEnvironment(aGrubEnvironment({ saved_entry: 'a\\b', kernelopts: 'root=/dev/sda1 ro', empty: '' }).toString())], [['saved_entry', 'a\\b'], ['kernelopts', 'root=/dev/sda1 ro'], ['empty', '']]);
});

function choosesOrIsUnknown(config: string, found: Surroundings): boolean {
  try {
    chooseEntry(config, found);
    return true;
  } catch (error) {
    return codeOf(error) === 'BootLoaderUnknown';
  }
}

test('arbitrary text never does anything but BootLoaderUnknown', () => {
  fc.assert(fc.property(fc.string({ unit: 'binary', maxLength: 300 }), (text) => choosesOrIsUnknown(text, surroundings('/boot/grub', {}))), { numRuns: 10_000 });
});

test('whatever the words of a script stand in, it is a choice or BootLoaderUnknown', () => {
  const words = ['if', 'then', 'elif', 'else', 'fi', 'function', 'f', 'menuentry', 'submenu', '{', '}', ';', '\n', '[', ']', 'set', 'default=', 'timeout=1', '"$default"', "'a'", '$a', '=', '-a', '-o', '!', '-z', 'linux', '/vmlinuz-1.1', 'load_env', 'blscfg', '--id', '#', '\\', '"', "'", 'true', 'source'];
  const script = fc.array(fc.constantFrom(...words), { maxLength: 80 }).map((parts) => parts.join(' '));
  const found = surroundings('/boot/grub2', { default: '0', timeout: '5' }, { entries: entries([RHEL_NEW]) });
  fc.assert(fc.property(script, (text) => choosesOrIsUnknown(text, found)), { numRuns: 10_000 });
});

test('a configuration with changed or missing characters is a choice or BootLoaderUnknown, and so is any environment with it', () => {
  const original = aDebianGrubConfig([NEW, OLD], { wanted: 'saved' });
  const change = fc.tuple(fc.nat(original.length - 1), fc.constantFrom('\n', '{', '}', '"', "'", '$', ' ', ';', '>', '\0', '\\', 'x'));
  const changed = fc.tuple(fc.array(change, { maxLength: 6 }), fc.integer({ min: 0, max: original.length }));
  const environment = fc.dictionary(fc.constantFrom('saved_entry', 'next_entry', 'prefix', 'timeout', 'default', 'menuentry_id_option', 'recordfail'), fc.oneof(fc.constantFrom('0', '1>2', '1>>2', '>', '', inSubmenu), fc.string({ maxLength: 20 })));
  fc.assert(
    fc.property(changed, environment, ([changes, length], variables) => {
      const characters = original.slice(0, length).split('');
      for (const [at, value] of changes) if (at < length) characters[at] = value;
      return choosesOrIsUnknown(characters.join(''), surroundings('/boot/grub', undefined, { files: new Set(['grubenv']), environment: new Map(Object.entries(variables)) }));
    }),
    { numRuns: 10_000 },
  );
});

const isImage = (release: string) => (image: string) => image.endsWith(`/vmlinuz-${release}`);
const named = (config: string, release: string, given: Surroundings = surroundings('/boot/grub', {})) => nameEntry(config, given, release, isImage(release));

test('a kernel is named by the ids of its entry and of the submenu, not by the entry that starts whatever is the newest', () => {
  for (const release of [NEW, OLD]) assert.equal(named(aDebianGrubConfig([NEW, OLD]), release), `${ADVANCED_ID}>${advancedID(release)}`);
  assert.equal(named(aDebianGrubConfig([OLD]), NEW), undefined);
});

test('a kernel is not named by an entry that only looks like it', () => {
  assert.equal(named(aDebianGrubConfig([OLD], { custom: `menuentry '${NEW}' { linux /boot/vmlinuz-${OLD} }\n` }), NEW), undefined);
  assert.equal(named(aDebianGrubConfig([OLD], { custom: `menuentry 'a>b ${NEW}' { linux /boot/vmlinuz-${NEW} }\n` }), NEW), `a>>b ${NEW}`, 'one without an id has its title');
});

test('an entry of the Boot Loader Specification is named by its file', () => {
  assert.equal(named(RHEL_GRUB_CONFIG, RHEL_NEW, surroundings('/boot/grub2', {}, { entries: entries([RHEL_OLD, RHEL_NEW]) })), `${MACHINE_ID}-${RHEL_NEW}`);
});

test('what grub-set-default names counts with GRUB_DEFAULT=saved and on the RHEL family, whatever is in grubenv', () => {
  for (const variables of [undefined, {}, { saved_entry: '0', next_entry: '1' }]) {
    assert.equal(takesSavedEntry(aDebianGrubConfig([NEW]), surroundings('/boot/grub', variables)), false);
    assert.equal(takesSavedEntry(aDebianGrubConfig([NEW], { wanted: 'saved' }), surroundings('/boot/grub', variables)), true);
    assert.equal(takesSavedEntry(RHEL_GRUB_CONFIG, surroundings('/boot/grub2', variables, { entries: entries([RHEL_NEW]) })), true);
  }
});
