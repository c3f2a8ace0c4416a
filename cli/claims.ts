/** From a module and what its maker says to the claims that are signed. What the file shows is taken from the file. Pure. */
import { parseModule, releaseOf } from '../kernel/elf.ts';
import type { ModuleInfo } from '../kernel/elf.ts';
import { KernelPatchError } from '../kernel/errors.ts';
import { readClaims } from '../trust/claims.ts';
import type { Claims } from '../trust/claims.ts';
import { labelsOf } from '../trust/compare.ts';
import { CliError } from './errors.ts';

/** What no file shows. `functions` and `replace` are for modules that show neither (kpatch-build sets replace in code). */
export interface Said {
  readonly cves: readonly string[];
  readonly irreversible: boolean;
  readonly kernelBuildID?: string | undefined;
  readonly functions?: readonly string[] | undefined;
  readonly replace?: boolean | undefined;
}

/** Throws CliError, with what to add or to correct. */
export function makeClaims(file: Buffer, said: Said): Claims {
  const module = read(file);
  if (!module.livePatch) throw new CliError('the file is not marked as a live patch: build it with MODULE_INFO(livepatch, "Y")');
  if (module.buildID === undefined) throw new CliError('the file has no build id: link it with --build-id=sha1');
  if (said.cves.length === 0) throw new CliError('say which CVEs it closes: --cve CVE-2026-31431, as often as needed');
  const claims = readClaims({
    name: module.name,
    kernel: { release: releaseOf(module), ...(said.kernelBuildID !== undefined && { buildID: said.kernelBuildID }) },
    buildID: module.buildID,
    functions: functionsOf(module, said),
    cves: [...said.cves].sort(),
    replace: replaceOf(module, said),
    reversible: !said.irreversible,
  });
  if (typeof claims === 'string') throw new CliError(`these are no claims: ${claims}`);
  return claims;
}

function read(file: Buffer): ModuleInfo {
  try {
    return parseModule(file);
  } catch (error) {
    if (error instanceof KernelPatchError) throw new CliError(`the file is not a kernel module: ${error.message}`);
    throw error;
  }
}

function functionsOf({ functions }: ModuleInfo, said: Said): readonly string[] {
  const given = said.functions ?? [];
  if (functions === 'unknown') {
    if (given.length === 0) throw new CliError('the file does not show which functions it patches: name each with --function OBJECT:NAME, as vmlinux:version_proc_show');
    return [...given].sort();
  }
  if (given.length > 0) throw new CliError('the file shows which functions it patches: leave out --function');
  return labelsOf(functions);
}

function replaceOf({ replace }: ModuleInfo, said: Said): boolean {
  if (replace === 'unknown') {
    if (said.replace === undefined) throw new CliError('the file does not show whether it is cumulative: say --replace or --no-replace');
    return said.replace;
  }
  if (said.replace !== undefined && said.replace !== replace) throw new CliError(`the file says replace: ${replace}: leave out ${replace ? '--no-replace' : '--replace'}`);
  return replace;
}
