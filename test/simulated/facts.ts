/** The facts of a stock machine, with changes. */
import type { KernelFacts } from '../../kernel/facts.ts';
import { RELEASE } from './module.ts';

export const KERNEL_BUILD_ID = '9c1f'.repeat(10);

export function someFacts(changes: Partial<KernelFacts> = {}): KernelFacts {
  return {
    bootID: '1f0e9d3c-0000-4000-8000-000000000001',
    release: RELEASE,
    buildID: KERNEL_BUILD_ID,
    taint: 0,
    taintFlags: '',
    lockdown: 'none',
    livePatching: 'Available',
    kexec: 'Available',
    ftrace: 'on',
    modulesDisabled: 'off',
    signaturesEnforced: 'off',
    rebootID: undefined,
    hardware: { vendor: 'QEMU', product: 'Standard PC (Q35 + ICH9, 2009)', firmware: '1.16.2-debian' },
    ...changes,
  };
}
