#define MARK "kp_unlinked"
/* A symbol that no kernel exports. */
extern void kp_no_such_symbol(void);
#define BEFORE kp_no_such_symbol()
#include "live_patch.h"
