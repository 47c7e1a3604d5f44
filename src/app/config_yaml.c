#include "app/config_yaml.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "base/bytes.h"

struct yaml_walk {
    yaml_parser_t parser;
    const char *file_name;
    struct arena *arena;
    struct config_errors *errors;
    unsigned depth, nodes;
    bool stopped; /* after an error that makes the rest unreadable */
};

static void yaml_stop(struct yaml_walk *walk, unsigned line, const char *what)
{
    if (!walk->stopped)
        config_error(walk->errors, walk->file_name, line, NULL, "%s", what);
    walk->stopped = true;
}

static unsigned yaml_line(const yaml_mark_t *mark)
{
    return (unsigned)mark->line + 1;
}

/* False at an error, which is reported. The caller deletes the event. */
static bool yaml_next(struct yaml_walk *walk, yaml_event_t *event)
{
    if (walk->stopped)
        return false;
    if (yaml_parser_parse(&walk->parser, event))
        return true;
    char what[300];
    const yaml_parser_t *parser = &walk->parser;
    const yaml_mark_t *mark = parser->error == YAML_READER_ERROR ? &parser->mark : &parser->problem_mark;
    (void)snprintf(what, sizeof what, "not valid YAML: %s%s%s (column %u)",
        parser->problem ? parser->problem : "unknown", parser->context ? ", " : "",
        parser->context ? parser->context : "", (unsigned)mark->column + 1);
    yaml_stop(walk, yaml_line(mark), what);
    return false;
}

static struct yaml_node *yaml_node_take(struct yaml_walk *walk, enum yaml_kind kind, unsigned line)
{
    if (++walk->nodes > CONFIG_NODES_MAX) {
        yaml_stop(walk, line, "too many values");
        return NULL;
    }
    struct yaml_node *node = arena_take(walk->arena, sizeof *node);
    if (node == NULL) {
        yaml_stop(walk, line, "out of memory");
        return NULL;
    }
    *node = (struct yaml_node){.kind = kind, .line = line, .text = ""};
    return node;
}

static void yaml_append(struct yaml_node *parent, struct yaml_node *child)
{
    if (parent->last)
        parent->last->next = child;
    else
        parent->first = child;
    parent->last = child;
}

static void yaml_set_text(struct yaml_walk *walk, struct yaml_node *node, const char *text, size_t len)
{
    if (memchr(text, 0, len) != NULL) {
        config_error(walk->errors, walk->file_name, node->line, NULL, "a value must not contain a NUL");
        node->broken = true;
        return;
    }
    char *copy = arena_take(walk->arena, len + 1);
    if (copy == NULL) {
        yaml_stop(walk, node->line, "out of memory");
        return;
    }
    memcpy(copy, text, len);
    copy[len] = 0;
    node->text = copy;
}

/* ---- nodes ---- */

static struct yaml_node *yaml_value(struct yaml_walk *walk, yaml_event_t *event);

/* What is refused whatever the kind of node. */
static void yaml_check_properties(
    struct yaml_walk *walk, unsigned line, const yaml_char_t *anchor, const yaml_char_t *tag)
{
    if (anchor)
        config_error(walk->errors, walk->file_name, line, NULL, "anchors (&%s) are not supported",
            (const char *)anchor);
    if (tag)
        config_error(
            walk->errors, walk->file_name, line, NULL, "tags (%s) are not supported", (const char *)tag);
}

static struct yaml_node *yaml_scalar(struct yaml_walk *walk, const yaml_event_t *event)
{
    struct yaml_node *node = yaml_node_take(walk, YAML_SCALAR, yaml_line(&event->start_mark));
    if (node == NULL)
        return NULL;
    yaml_check_properties(walk, node->line, event->data.scalar.anchor, event->data.scalar.tag);
    node->quoted = event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
    yaml_set_text(walk, node, (const char *)event->data.scalar.value, event->data.scalar.length);
    return node;
}

static struct yaml_node *yaml_sequence(struct yaml_walk *walk, const yaml_event_t *start)
{
    struct yaml_node *node = yaml_node_take(walk, YAML_SEQUENCE, yaml_line(&start->start_mark));
    if (node == NULL)
        return NULL;
    yaml_check_properties(
        walk, node->line, start->data.sequence_start.anchor, start->data.sequence_start.tag);
    for (yaml_event_t event; yaml_next(walk, &event);) {
        bool end = event.type == YAML_SEQUENCE_END_EVENT;
        struct yaml_node *child = end ? NULL : yaml_value(walk, &event);
        yaml_event_delete(&event);
        if (end)
            return node;
        if (child)
            yaml_append(node, child);
    }
    return NULL;
}

/* The key of a pair as text in the arena; NULL: reported. */
static const char *yaml_key(struct yaml_walk *walk, const yaml_event_t *event)
{
    unsigned line = yaml_line(&event->start_mark);
    if (event->type != YAML_SCALAR_EVENT) {
        yaml_stop(walk, line, "expected a key that is a plain word");
        return NULL;
    }
    yaml_check_properties(walk, line, event->data.scalar.anchor, event->data.scalar.tag);
    size_t len = event->data.scalar.length;
    char *key = arena_take(walk->arena, len + 1);
    if (key == NULL || len > 200 || memchr(event->data.scalar.value, 0, len)) {
        yaml_stop(walk, line, "expected a key that is a plain word");
        return NULL;
    }
    memcpy(key, event->data.scalar.value, len);
    key[len] = 0;
    return key;
}

static struct yaml_node *yaml_mapping(struct yaml_walk *walk, const yaml_event_t *start)
{
    struct yaml_node *node = yaml_node_take(walk, YAML_MAPPING, yaml_line(&start->start_mark));
    if (node == NULL)
        return NULL;
    yaml_check_properties(walk, node->line, start->data.mapping_start.anchor, start->data.mapping_start.tag);
    for (yaml_event_t event; yaml_next(walk, &event);) {
        bool end = event.type == YAML_MAPPING_END_EVENT;
        unsigned line = yaml_line(&event.start_mark);
        const char *key = end ? NULL : yaml_key(walk, &event);
        yaml_event_delete(&event);
        if (end)
            return node;
        if (key == NULL || !yaml_next(walk, &event))
            return NULL;
        struct yaml_node *child = yaml_value(walk, &event);
        yaml_event_delete(&event);
        if (child) {
            child->key = key;
            child->key_line = line;
            yaml_append(node, child);
        }
    }
    return NULL;
}

static struct yaml_node *yaml_value(struct yaml_walk *walk, yaml_event_t *event)
{
    unsigned line = yaml_line(&event->start_mark);
    struct yaml_node *node = NULL;
    if (walk->depth >= CONFIG_DEPTH_MAX) {
        yaml_stop(walk, line, "nested too deeply");
        return NULL;
    }
    walk->depth++;
    switch (event->type) {
    case YAML_SCALAR_EVENT:
        node = yaml_scalar(walk, event);
        break;
    case YAML_SEQUENCE_START_EVENT:
        node = yaml_sequence(walk, event);
        break;
    case YAML_MAPPING_START_EVENT:
        node = yaml_mapping(walk, event);
        break;
    case YAML_ALIAS_EVENT:
        config_error(walk->errors, walk->file_name, line, NULL, "aliases (*%s) are not supported",
            (const char *)event->data.alias.anchor);
        node = yaml_node_take(walk, YAML_SCALAR, line);
        if (node)
            node->broken = true;
        break;
    default:
        yaml_stop(walk, line, "not valid YAML");
    }
    walk->depth--;
    return node;
}

static struct yaml_node *yaml_stream(struct yaml_walk *walk)
{
    struct yaml_node *root = NULL;
    unsigned documents = 0;
    for (yaml_event_t event; yaml_next(walk, &event);) {
        yaml_event_type_t type = event.type;
        if (type == YAML_DOCUMENT_START_EVENT && ++documents > 1)
            yaml_stop(walk, yaml_line(&event.start_mark), "expected one document: a second one begins here");
        else if (type == YAML_MAPPING_START_EVENT || type == YAML_SEQUENCE_START_EVENT ||
                 type == YAML_SCALAR_EVENT || type == YAML_ALIAS_EVENT)
            root = yaml_value(walk, &event);
        yaml_event_delete(&event);
        if (type == YAML_STREAM_END_EVENT)
            break;
    }
    if (walk->stopped)
        return NULL;
    return root && !yaml_is_null(root) ? root : yaml_node_take(walk, YAML_MAPPING, 1);
}

struct yaml_node *config_yaml_parse(
    const char *text, size_t len, const char *file_name, struct arena *arena, struct config_errors *errors)
{
    struct yaml_walk walk = {.file_name = file_name, .arena = arena, .errors = errors};
    unsigned before = errors->count;
    if (len > CONFIG_TEXT_MAX) {
        config_error(errors, file_name, 0, NULL, "expected a file of at most 1 MiB");
        return NULL;
    }
    if (!yaml_parser_initialize(&walk.parser)) {
        config_error(errors, file_name, 0, NULL, "out of memory");
        return NULL;
    }
    yaml_parser_set_encoding(&walk.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&walk.parser, (const unsigned char *)text, len);
    struct yaml_node *root = yaml_stream(&walk);
    yaml_parser_delete(&walk.parser);
    CHECK(root != NULL || errors->count > before);
    return root;
}

bool yaml_is_null(const struct yaml_node *node)
{
    if (node->kind != YAML_SCALAR || node->quoted || node->replaced)
        return false;
    return node->text[0] == 0 || strcmp(node->text, "~") == 0 || strcmp(node->text, "null") == 0 ||
           strcmp(node->text, "Null") == 0 || strcmp(node->text, "NULL") == 0;
}
