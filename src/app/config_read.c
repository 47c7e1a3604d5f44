/*
 * The walk goes down the tree with two paths: the table's ("buckets[].s3", which row is meant) and the shown
 * one
 * ("buckets[0].s3", for errors). A broken node (its error was reported before) counts as given and is not
 * read.
 */
#include "app/config_read.h"

#include <stdarg.h>
#include <stdio.h>

#include "app/config_path.h"

struct read_walk {
    struct config_reading *reading;
    struct config_scope *scope; /* where values go: of the file, the bucket or the device */
    struct config_path table, shown;
    bool off; /* inside a feature that is switched off: names are checked, values are not */
};

static void read_mapping(struct read_walk *walk, const struct yaml_node *node);

#define READ_ERROR(walk, line, ...)                                                                          \
    config_error((walk)->reading->errors, (walk)->reading->file_name, line, (walk)->shown.text, __VA_ARGS__)

void config_note_add(struct config_reading *reading, const char *format, ...)
{
    char text[400];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    struct config_note *note = arena_take(reading->arena, sizeof *note);
    char *copy = arena_take(reading->arena, strlen(text) + 1);
    if (note == NULL || copy == NULL)
        return;
    memcpy(copy, text, strlen(text) + 1);
    *note = (struct config_note){.text = copy};
    if (reading->last_note)
        reading->last_note->next = note;
    else
        reading->notes = note;
    reading->last_note = note;
}

/* ---- features that are not built ---- */

static bool is_false(const struct yaml_node *node)
{
    return node->kind == YAML_SCALAR && !node->quoted && strcmp(node->text, "false") == 0;
}

static const struct yaml_node *find_child(const struct yaml_node *node, const char *key)
{
    for (const struct yaml_node *child = node->first; child; child = child->next)
        if (node->kind == YAML_MAPPING && strcmp(child->key, key) == 0)
            return child;
    return NULL;
}

/* Features whose `enabled` had to be given in the earlier Yatagarasu: without it nobody knows what is meant.
 */
static bool is_off_by_default(const char *table_path)
{
    return strcmp(table_path, "jwt") != 0 && strcmp(table_path, "buckets[].auth") != 0;
}

/* Of a mapping with a switch of its own: whether the switch is off. */
static bool switch_is_off(const struct yaml_node *node, const char *table_path)
{
    const struct yaml_node *enabled = find_child(node, "enabled");
    return enabled ? is_false(enabled) : is_off_by_default(table_path);
}

static void not_built(struct read_walk *walk, const struct yaml_node *node, const char *off)
{
    READ_ERROR(walk, node->line, "not built yet: %s (%s)", walk->shown.text, off);
}

/* The names inside a feature that is off. */
static void read_switched_off(struct read_walk *walk, const struct yaml_node *node)
{
    bool before = walk->off;
    walk->off = true;
    read_mapping(walk, node);
    walk->off = before;
}

static void read_off(struct read_walk *walk, const struct config_key *key, const struct yaml_node *node)
{
    bool has_switch = config_key_find(key->path, "enabled") != NULL;
    const char *what = has_switch ? "leave it out, or `enabled: false`" : "leave it out, or empty";
    if (yaml_is_null(node) || is_false(node) ||
        (node->kind != YAML_SCALAR && node->first == NULL && !has_switch))
        return;
    if (key->type != CONFIG_MAPPING || node->kind != YAML_MAPPING) {
        not_built(walk, node, what);
        return;
    }
    if (!has_switch) {
        read_mapping(walk, node); /* its parts are switches */
        return;
    }
    /* What belongs elsewhere is said also where the feature is on. */
    read_switched_off(walk, node);
    if (!switch_is_off(node, key->path))
        not_built(walk, node, what);
}

/* ---- values ---- */

static void mark_broken(struct config_value *value, const struct yaml_node *node)
{
    value->given = value->broken = true;
    value->line = node->line;
}

static void read_value(struct read_walk *walk, const struct config_key *key, const struct yaml_node *node)
{
    char expected[CONFIG_EXPECTED_MAX];
    struct config_value value;
    struct config_value *to = key->id == KEY_NONE ? &value : &walk->scope->values[key->id];
    if (yaml_is_null(node) && key->secret && key->min > 0) {
        READ_ERROR(walk, node->line, "expected a secret, found nothing: leave the key out if none is meant");
        return;
    }
    if (yaml_is_null(node))
        return;
    if (key->secret && node->replaced && node->text[0] == 0) {
        READ_ERROR(walk, node->line, "expected a secret, found an empty variable");
        mark_broken(to, node);
        return;
    }
    struct config_value fallback = key->id == KEY_NONE ? (struct config_value){0} : *to;
    if (!config_value_parse(key, node, walk->reading->arena, to, expected)) {
        READ_ERROR(walk, node->line, "%s", expected);
        *to = fallback;
        mark_broken(to, node);
    } else if (key->use == CONFIG_NO_EFFECT) {
        config_note_add(walk->reading, "%s: accepted, has no effect (yet)", walk->shown.text);
    }
}

/* ---- lists ---- */

static bool names(const struct yaml_node *node, const char *key)
{
    const struct yaml_node *child = find_child(node, key);
    return child && (child->broken || !yaml_is_null(child));
}

static void fill_fallbacks(struct config_reading *reading, struct config_scope *scope)
{
    for (size_t i = 0; i < config_key_count; i++)
        if (config_keys[i].id != KEY_NONE)
            config_value_fall_back(&config_keys[i], reading->arena, &scope->values[config_keys[i].id]);
}

static struct config_scope *take_scopes(struct read_walk *walk, const struct yaml_node *node, unsigned *count)
{
    *count = 0;
    for (const struct yaml_node *child = node->first; child; child = child->next)
        ++*count;
    struct config_scope *scopes = *count ? arena_take(walk->reading->arena, *count * sizeof *scopes) : NULL;
    if (scopes == NULL) {
        if (*count)
            READ_ERROR(walk, node->line, "out of memory");
        *count = 0;
        return NULL;
    }
    memset(scopes, 0, *count * sizeof *scopes);
    for (unsigned i = 0; i < *count; i++)
        fill_fallbacks(walk->reading, &scopes[i]);
    return scopes;
}

static void read_elements(struct read_walk *walk, const struct yaml_node *node, struct config_scope *scopes)
{
    struct config_scope *before = walk->scope;
    size_t table_mark = walk->table.len;
    unsigned index = 0;
    (void)snprintf(walk->table.text + table_mark, sizeof walk->table.text - table_mark, "[]");
    walk->table.len = strlen(walk->table.text);
    for (const struct yaml_node *child = node->first; child; child = child->next, index++) {
        size_t mark = config_path_push_index(&walk->shown, index);
        if (scopes) {
            walk->scope = &scopes[index];
            walk->scope->line = child->line;
        }
        if (scopes && child->kind == YAML_MAPPING)
            walk->scope->lacks_origin = !names(child, "s3") && !names(child, "http");
        if (child->kind == YAML_MAPPING)
            read_mapping(walk, child);
        else if (!child->broken)
            READ_ERROR(walk, child->line, "expected a mapping");
        config_path_pop(&walk->shown, mark);
    }
    config_path_pop(&walk->table, table_mark);
    walk->scope = before;
}

static void read_list(struct read_walk *walk, const struct config_key *key, const struct yaml_node *node)
{
    struct config_reading *reading = walk->reading;
    if (yaml_is_null(node) && !key->required)
        return;
    if (node->kind != YAML_SEQUENCE) {
        READ_ERROR(walk, node->line, "expected a list of mappings");
        return;
    }
    if (walk->off) {
        read_elements(walk, node, NULL);
    } else if (strcmp(key->path, "buckets") == 0) {
        reading->buckets = take_scopes(walk, node, &reading->bucket_count);
        if (reading->bucket_count == 0)
            READ_ERROR(walk, node->line, "expected at least one bucket");
        else
            read_elements(walk, node, reading->buckets);
    } else if (strcmp(key->path, "buckets[].cache.rules") == 0) {
        walk->scope->rules = take_scopes(walk, node, &walk->scope->rule_count);
        read_elements(walk, node, walk->scope->rules);
    } else if (strcmp(config_key_name(key), "status_ttl") == 0) {
        walk->scope->statuses = take_scopes(walk, node, &walk->scope->status_count);
        read_elements(walk, node, walk->scope->statuses);
    } else {
        CHECK(strcmp(key->path, "cache.disk.devices") == 0);
        reading->devices = take_scopes(walk, node, &reading->device_count);
        read_elements(walk, node, reading->devices);
    }
}

/* ---- mappings ---- */

static void read_unknown(struct read_walk *walk, const struct yaml_node *node)
{
    const struct config_key *near = config_key_suggest(walk->table.text, node->key);
    size_t mark = config_path_push_key(&walk->shown, node->key);
    if (near)
        READ_ERROR(walk, node->key_line, "unknown key: did you mean %s?",
            config_key_is_below(near, walk->table.text) ? config_key_name(near) : near->path);
    else
        READ_ERROR(walk, node->key_line, "unknown key");
    config_path_pop(&walk->shown, mark);
}

static void read_known(struct read_walk *walk, const struct config_key *key, const struct yaml_node *node)
{
    if (node->broken) {
        if (key->id != KEY_NONE && !walk->off)
            mark_broken(&walk->scope->values[key->id], node);
        return;
    }
    if (key->use == CONFIG_MOVED) {
        READ_ERROR(walk, node->key_line, "%s", key->hint);
    } else if (walk->off) {
        if (key->type == CONFIG_MAPPING && node->kind == YAML_MAPPING)
            read_mapping(walk, node);
        else if (key->type == CONFIG_LIST && node->kind == YAML_SEQUENCE)
            read_list(walk, key, node);
    } else if (key->use == CONFIG_OFF) {
        read_off(walk, key, node);
    } else if (key->type == CONFIG_LIST) {
        read_list(walk, key, node);
    } else if (key->type != CONFIG_MAPPING) {
        if (key->use != CONFIG_PART)
            read_value(walk, key, node);
    } else if (node->kind == YAML_MAPPING) {
        walk->scope->has_s3 |= strcmp(key->path, "buckets[].s3") == 0;
        walk->scope->has_http |= strcmp(key->path, "buckets[].http") == 0;
        read_mapping(walk, node);
    } else if (!yaml_is_null(node)) {
        READ_ERROR(walk, node->line, "expected a mapping");
    }
}

static bool is_repeated(const struct yaml_node *parent, const struct yaml_node *node, unsigned *first_line)
{
    const struct yaml_node *first = find_child(parent, node->key);
    *first_line = first->key_line;
    return first != node;
}

static void read_missing(struct read_walk *walk, const struct yaml_node *node)
{
    char expected[CONFIG_EXPECTED_MAX];
    for (size_t i = 0; i < config_key_count && !walk->off; i++) {
        const struct config_key *key = &config_keys[i];
        if (!key->required || !config_key_is_below(key, walk->table.text))
            continue;
        const struct yaml_node *child = find_child(node, config_key_name(key));
        if (child && !yaml_is_null(child))
            continue;
        size_t mark = config_path_push_key(&walk->shown, config_key_name(key));
        config_value_expected(key, expected);
        READ_ERROR(walk, child ? child->line : node->line, "required and missing: %s", expected);
        config_path_pop(&walk->shown, mark);
    }
}

static void read_mapping(struct read_walk *walk, const struct yaml_node *node)
{
    for (const struct yaml_node *child = node->first; child; child = child->next) {
        const struct config_key *key = config_key_find(walk->table.text, child->key);
        unsigned first_line;
        if (key == NULL) {
            read_unknown(walk, child);
            continue;
        }
        size_t shown_mark = config_path_push_key(&walk->shown, child->key);
        size_t table_mark = config_path_push_key(&walk->table, child->key);
        if (is_repeated(node, child, &first_line))
            READ_ERROR(walk, child->key_line, "given twice (first in line %u)", first_line);
        else if (!(key->required && yaml_is_null(child)))
            read_known(walk, key, child);
        config_path_pop(&walk->table, table_mark);
        config_path_pop(&walk->shown, shown_mark);
    }
    read_missing(walk, node);
}

void config_read(struct config_reading *reading, const struct yaml_node *root)
{
    struct read_walk walk = {.reading = reading, .scope = &reading->top};
    fill_fallbacks(reading, &reading->top);
    if (root->kind != YAML_MAPPING) {
        config_error(reading->errors, reading->file_name, root->line, NULL,
            "expected a mapping of keys such as server and buckets");
        return;
    }
    const struct yaml_node *cache = find_child(root, "cache");
    reading->has_cache = cache != NULL && !yaml_is_null(cache);
    read_mapping(&walk, root);
}
