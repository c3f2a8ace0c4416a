#define MARK "kp_ambiguous"
#define REPLACE false
/* Static in several files of the kernel. */
#define ALSO "s_show"
#include "live_patch.h"
