/*
 * YAML text to a tree of nodes that know their lines. libyaml parses; we keep only what a configuration may
 * be: one document of mappings, sequences and scalars.
 *
 * Refused, each with a clear error: anchors, aliases, tags, merge keys by them, several documents, keys that
 * are no plain words, and what is too deep or too large: a configuration that needs them is not one that a
 * person can check by reading.
 */
#pragma once

#include "app/config_errors.h"
#include "base/arena.h"

#define CONFIG_TEXT_MAX ((size_t)1 << 20)
#define CONFIG_DEPTH_MAX 16
#define CONFIG_NODES_MAX 20000

enum yaml_kind { YAML_SCALAR, YAML_MAPPING, YAML_SEQUENCE };

struct yaml_node {
    enum yaml_kind kind;
    unsigned line;    /* from 1; of a pair's value: where the value begins */
    bool quoted;      /* scalar: in quotes, or a block */
    bool replaced;    /* scalar: holds text of a variable (config_variables.h) */
    bool broken;      /* an error was reported for it: not to be read */
    const char *text; /* scalar; NUL-terminated, without other NULs */
    const char *key;  /* where the parent is a mapping */
    unsigned key_line;
    struct yaml_node *next; /* sibling, in order */
    struct yaml_node *first, *last;
};

/* The tree, in the arena; NULL where the text could not be read to its end. It may come with errors
 * (aliases, tags), so that its keys can be checked too. An empty document is an empty mapping. */
struct yaml_node *config_yaml_parse(
    const char *text, size_t len, const char *file_name, struct arena *arena, struct config_errors *errors);

/* Absent in effect: empty, `~` or `null`, unquoted. */
bool yaml_is_null(const struct yaml_node *node);
