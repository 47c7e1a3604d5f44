/* The program's configuration: checked, and its defaults filled in. Pure. */
#pragma once

#include <yata.h>

#include "base/check.h"

/* -EINVAL, -E2BIG. What it points to stays the caller's. */
MUST_CHECK int config_complete(struct yata_config *config, const struct yata_config *given);
