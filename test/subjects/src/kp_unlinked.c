#define MARK "kp_unlinked"
#define REPLACE false
/* A symbol that no kernel exports. */
extern void kp_no_such_symbol(void);
#define BEFORE kp_no_such_symbol()
#include "live_patch.h"
