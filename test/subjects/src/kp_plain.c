// SPDX-License-Identifier: GPL-2.0
/* An ordinary module, to be refused as a live patch. */
#include <linux/module.h>

MODULE_LICENSE("GPL");
