#define MARK "kp_null"
#define REPLACE false
#define ALSO "cmdline_proc_show"
#define NEW_FUNCTION NULL
#include "live_patch.h"
