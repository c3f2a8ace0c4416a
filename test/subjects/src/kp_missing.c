#define MARK "kp_missing"
#define REPLACE false
#define ALSO "kp_no_such_function"
#include "live_patch.h"
