#define MARK "kp_beside"
#define REPLACE false
/* What /proc/execdomains shows. */
#define OLD_FUNCTION "execdomains_proc_show"
#define LINE "0-0\tLinux           \t[kernel] [closed by %s]\n", MARK
#include "live_patch.h"
