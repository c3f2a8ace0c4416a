/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A live patch of version_proc_show: afterwards /proc/version ends with "[closed by MARK]", so that the effect can be read on the node.
 * A subject defines MARK and includes this file; REPLACE says whether it is cumulative. OLD_FUNCTION is another function to patch, LINE what it
 * shows then. With HELD it also patches kp_sleeper_wait of
 * kp_sleeper.ko, so that the transition lasts until the reader of /proc/kp_sleeper is let go. ALSO is one more function of the kernel that it
 * is to patch, NEW_FUNCTION what with; a subject that the kernel must not get far with has one that can not be patched. BEFORE runs first.
 */
#include <linux/kernel.h>
#include <linux/livepatch.h>
#include <linux/module.h>
#include <linux/seq_file.h>
#include <linux/utsname.h>

#ifndef REPLACE
#define REPLACE true
#endif

#ifndef OLD_FUNCTION
#define OLD_FUNCTION "version_proc_show"
#define LINE "Linux version %s %s [closed by %s]\n", utsname()->release, utsname()->version, MARK
#endif

static int patched_proc_show(struct seq_file *m, void *v)
{
	seq_printf(m, LINE);
	return 0;
}

#ifndef NEW_FUNCTION
#define NEW_FUNCTION patched_proc_show
#endif
#ifndef BEFORE
#define BEFORE
#endif

static struct klp_func kernel_functions[] = {
	{ .old_name = OLD_FUNCTION, .new_func = patched_proc_show },
#ifdef ALSO
	{ .old_name = ALSO, .new_func = NEW_FUNCTION },
#endif
	{ }
};

#ifdef HELD
static int patched_kp_sleeper_wait(void)
{
	return 0;
}

static struct klp_func sleeper_functions[] = {
	{ .old_name = "kp_sleeper_wait", .new_func = patched_kp_sleeper_wait },
	{ }
};
#endif

static struct klp_object objects[] = {
	{ .funcs = kernel_functions },
#ifdef HELD
	{ .name = "kp_sleeper", .funcs = sleeper_functions },
#endif
	{ }
};

static struct klp_patch patch = { .mod = THIS_MODULE, .objs = objects, .replace = REPLACE };

static int subject_init(void)
{
	BEFORE;
	return klp_enable_patch(&patch);
}

static void subject_exit(void)
{
}

module_init(subject_init);
module_exit(subject_exit);
MODULE_LICENSE("GPL");
MODULE_INFO(livepatch, "Y");
