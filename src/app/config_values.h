/*
 * Scalar values of a configuration: text to value by the row of the table, with what was expected where it
 * doesn't fit. Pure; strings go to the arena.
 */
#pragma once

#include "app/config_table.h"
#include "app/config_yaml.h"

struct config_value {
    bool given;       /* by the file; else it is the fallback, or nothing */
    bool broken;      /* given, but an error was reported for it: holds the fallback */
    unsigned line;    /* where given */
    uint64_t number;  /* bool, integer, size: itself; seconds: in nanoseconds; word: its index; words: a bit
                       * set;  address: the port or 0 */
    const char *text; /* strings, words; address: the host; NULL: nothing */
    const char *const *texts; /* strings: `number` of them */
};

#define CONFIG_EXPECTED_MAX 300

/* A scalar node, or a sequence for CONFIG_WORDS and CONFIG_STRINGS. False: `expected` says what would have
 * been right, with what was found unless that could be a secret. */
MUST_CHECK bool config_value_parse(const struct config_key *key, const struct yaml_node *node,
    struct arena *arena, struct config_value *value, char expected[CONFIG_EXPECTED_MAX]);
/* The row's fallback, which must fit (a CHECK); leaves the value empty where there is none. */
void config_value_fall_back(const struct config_key *key, struct arena *arena, struct config_value *value);
/* "expected an integer from 1 to 65535"; never cut within CONFIG_EXPECTED_MAX. */
void config_value_expected(const struct config_key *key, char expected[CONFIG_EXPECTED_MAX]);
