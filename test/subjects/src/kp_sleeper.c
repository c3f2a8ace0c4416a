// SPDX-License-Identifier: GPL-2.0
/* Reading /proc/kp_sleeper sleeps in kp_sleeper_wait until somebody writes to it: a task that holds a transition for as long as a test wants. */
#include <linux/module.h>
#include <linux/proc_fs.h>
#include <linux/wait.h>

static DECLARE_WAIT_QUEUE_HEAD(queue);
static atomic_t generation = ATOMIC_INIT(0);

int kp_sleeper_wait(void);

static bool interruptible;
module_param(interruptible, bool, 0);

/* Killable only, as a parent in vfork is: the signal that the kernel sends to tasks that hold a transition does not free it. */
noinline int kp_sleeper_wait(void)
{
	int before = atomic_read(&generation);

	if (interruptible)
		return wait_event_interruptible(queue, atomic_read(&generation) != before);
	return wait_event_killable(queue, atomic_read(&generation) != before);
}

static ssize_t sleeper_read(struct file *file, char __user *buffer, size_t size, loff_t *at)
{
	return kp_sleeper_wait();
}

static ssize_t sleeper_write(struct file *file, const char __user *buffer, size_t size, loff_t *at)
{
	atomic_inc(&generation);
	wake_up_all(&queue);
	return size;
}

static const struct proc_ops operations = { .proc_read = sleeper_read, .proc_write = sleeper_write };

static int __init sleeper_init(void)
{
	return proc_create("kp_sleeper", 0600, NULL, &operations) ? 0 : -ENOMEM;
}

static void __exit sleeper_exit(void)
{
	remove_proc_entry("kp_sleeper", NULL);
}

module_init(sleeper_init);
module_exit(sleeper_exit);
MODULE_LICENSE("GPL");
