/* `yatagarasu cache ...`: asks a running server over its admin listener, tells an operator what came of it.
 */
#pragma once

enum { CACHE_RUN_DONE = 0, CACHE_RUN_FAILED = 1, CACHE_RUN_USAGE = 2, CACHE_RUN_UNREACHED = 3 };

/* argv[0] is "cache". The process's exit status. */
int cache_run(int argc, char *argv[]);
