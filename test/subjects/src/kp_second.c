#define MARK "kp_second"
#include "live_patch.h"
