// SPDX-License-Identifier: GPL-2.0
/* A kprobe on version_proc_show with a post handler: the kernel keeps the function for it alone, so that no live patch can have it. */
#include <linux/kprobes.h>
#include <linux/module.h>

static void after(struct kprobe *probe, struct pt_regs *regs, unsigned long flags)
{
}

static struct kprobe probe = { .symbol_name = "version_proc_show", .post_handler = after };

static int __init prober_init(void)
{
	return register_kprobe(&probe);
}

static void __exit prober_exit(void)
{
	unregister_kprobe(&probe);
}

module_init(prober_init);
module_exit(prober_exit);
MODULE_LICENSE("GPL");
