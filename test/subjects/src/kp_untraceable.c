#define MARK "kp_untraceable"
/* notrace: it is called by the tracer itself. */
#define ALSO "ktime_get_mono_fast_ns"
#include "live_patch.h"
