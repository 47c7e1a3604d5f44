#include "app/config_variables.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/config_path.h"
#include "base/bytes.h"

#define VARIABLE_NAME_MAX 255

struct variables_walk {
    const char *file_name;
    struct arena *arena;
    struct config_errors *errors;
    struct config_path path;
};

/* The variable at the start of text: the length of "${NAME}" and its name, or 0. */
static size_t variable_at(const char *text, char name[VARIABLE_NAME_MAX + 1])
{
    static const char first[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ_",
                      other[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789";
    if (text[0] != '$' || text[1] != '{' || text[2] == 0 || strchr(first, text[2]) == NULL)
        return 0;
    size_t len = strspn(text + 2, other);
    if (text[2 + len] != '}' || len > VARIABLE_NAME_MAX)
        return 0;
    memcpy(name, text + 2, len);
    name[len] = 0;
    return len + 3;
}

/* Reports what can't be replaced; returns whether there is something to replace and how long the result is.
 */
static bool variables_measure(struct variables_walk *walk, struct yaml_node *node, size_t *size)
{
    bool found = false;
    char name[VARIABLE_NAME_MAX + 1];
    *size = 0;
    for (const char *at = node->text; *at;) {
        size_t len = variable_at(at, name);
        const char *value = len ? getenv(name) : NULL;
        if (len && value == NULL)
            config_error(walk->errors, walk->file_name, node->line, walk->path.text,
                "expected the environment variable %s to be set", name);
        else if (!len && at[0] == '$' && at[1] == '{')
            config_error(walk->errors, walk->file_name, node->line, walk->path.text,
                "expected ${NAME} with a name of A-Z, 0-9 and _ that begins with no digit");
        node->broken |= (len && value == NULL) || (!len && at[0] == '$' && at[1] == '{');
        found |= len > 0;
        *size += len ? (value ? strlen(value) : 0) : 1;
        at += len ? len : 1;
    }
    return found;
}

static void variables_in_scalar(struct variables_walk *walk, struct yaml_node *node)
{
    size_t size;
    char name[VARIABLE_NAME_MAX + 1];
    if (!variables_measure(walk, node, &size) || node->broken)
        return;
    char *result = arena_take(walk->arena, size + 1);
    if (result == NULL) {
        config_error(walk->errors, walk->file_name, node->line, walk->path.text, "out of memory");
        node->broken = true;
        return;
    }
    struct writer w = writer_of(result, size);
    for (const char *at = node->text; *at;) {
        size_t len = variable_at(at, name);
        const char *value = len ? getenv(name) : NULL;
        write_bytes(&w, len ? bytes_of_string(value ? value : "") : bytes_of(at, 1));
        at += len ? len : 1;
    }
    CHECK(!w.failed && writer_bytes(&w).len == size);
    result[size] = 0;
    node->text = result;
    node->replaced = true;
}

static void variables_in(struct variables_walk *walk, struct yaml_node *node)
{
    unsigned index = 0;
    if (node->kind == YAML_SCALAR)
        variables_in_scalar(walk, node);
    for (struct yaml_node *child = node->first; child; child = child->next) {
        size_t mark = node->kind == YAML_MAPPING ? config_path_push_key(&walk->path, child->key)
                                                 : config_path_push_index(&walk->path, index++);
        variables_in(walk, child);
        config_path_pop(&walk->path, mark);
    }
}

void config_variables_replace(
    struct yaml_node *root, const char *file_name, struct arena *arena, struct config_errors *errors)
{
    struct variables_walk walk = {.file_name = file_name, .arena = arena, .errors = errors};
    variables_in(&walk, root);
}
