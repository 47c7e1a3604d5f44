/*
 * `${NAME}` inside scalar values of a configuration, NAME being [A-Z_][A-Z0-9_]*, is replaced by the
 * environment's value. The result is text: it is never parsed as YAML and never searched for variables again,
 * so that no value can add a key. A variable that is not set, or a `${` that begins no variable, is an error
 * at the key that uses it.
 */
#pragma once

#include "app/config_yaml.h"

void config_variables_replace(
    struct yaml_node *root, const char *file_name, struct arena *arena, struct config_errors *errors);
