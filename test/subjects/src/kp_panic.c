#define MARK "kp_panic"
#define BEFORE panic("kp_panic was loaded")
#include "live_patch.h"
