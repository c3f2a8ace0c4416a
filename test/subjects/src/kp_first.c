#define MARK "kp_first"
#include "live_patch.h"
