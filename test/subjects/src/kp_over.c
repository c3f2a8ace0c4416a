#define MARK "kp_over"
#define REPLACE false
#include "live_patch.h"
