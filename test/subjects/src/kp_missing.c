#define MARK "kp_missing"
#define ALSO "kp_no_such_function"
#include "live_patch.h"
