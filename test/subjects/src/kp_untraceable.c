#define MARK "kp_untraceable"
#define REPLACE false
/* notrace: it is called by the tracer itself. */
#define ALSO "ktime_get_mono_fast_ns"
#include "live_patch.h"
