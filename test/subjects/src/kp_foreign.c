#define MARK "kp_foreign"
#define REPLACE false
#include "live_patch.h"
