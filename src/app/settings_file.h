/* The configuration from its file; what is wrong with it goes to standard error. */
#pragma once

#include "app/config.h"

/* NULL: what is wrong was printed. */
struct settings *settings_load(const char *file);
