#define MARK "kp_ambiguous"
/* Static in several files of the kernel. */
#define ALSO "s_show"
#include "live_patch.h"
