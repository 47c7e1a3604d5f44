/*
 * What single values can't show: keys that contradict, repeat or need each other. Errors are added to the
 * reading's.
 */
#pragma once

#include "app/config_read.h"

struct origin_config;

void config_check(struct config_reading *reading);

/* The origin of a bucket as its values say; strings are the reading's. */
void config_origin(const struct config_scope *bucket, struct origin_config *config);
/* Layers in use, as LAYER_ bits; 0 where the cache is off. */
unsigned config_layers(const struct config_reading *reading);
/* The port of an address key that may hold it, or of its port key; 0: neither. */
unsigned config_port(const struct config_scope *scope, enum config_id address, enum config_id port);
