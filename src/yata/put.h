/* For the blocking calls; see yata.h and put.c. */
#pragma once

#include "yata/store.h"

struct yata *put_store(const struct yata_put *put);
