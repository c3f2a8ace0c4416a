#define MARK "kp_held"
#define HELD
#include "live_patch.h"
