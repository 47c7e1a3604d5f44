/* The table of keys against itself, docs/configuration.md and config/yatagarasu.example.yaml, which must
 * load. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "app/config.h"
#include "io/blocking.h"

static char *read_text(const char *path)
{
    char *text;
    assert_int_equal(io_read_file(path, 1 << 20, &text, NULL), 0);
    return text;
}

static void test_every_id_has_one_row(void **state)
{
    (void)state;
    unsigned rows[KEY_IDS] = {0};
    for (size_t i = 0; i < config_key_count; i++) {
        const struct config_key *key = &config_keys[i];
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(key->path, config_keys[j].path);
        if (key->id != KEY_NONE)
            rows[key->id]++;
        assert_int_equal(key->use == CONFIG_MOVED, key->hint != NULL);
        assert_int_equal(key->words != NULL, key->type == CONFIG_WORD || key->type == CONFIG_WORDS);
    }
    for (unsigned i = 0; i < KEY_IDS; i++)
        assert_int_equal(rows[i], 1);
}

/* Each row's parents are rows too. */
static void test_rows_lie_below_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < config_key_count; i++) {
        char parent[200];
        (void)snprintf(parent, sizeof parent, "%s", config_keys[i].path);
        char *dot = strrchr(parent, '.');
        if (dot == NULL)
            continue;
        *dot = 0;
        char *brackets = strstr(dot - 2 > parent ? dot - 2 : parent, "[]");
        if (brackets)
            *brackets = 0;
        bool found = false;
        for (size_t j = 0; j < config_key_count; j++)
            found |= strcmp(config_keys[j].path, parent) == 0;
        if (!found)
            print_message("no row %s\n", parent);
        assert_true(found);
    }
}

static void test_find_and_suggest(void **state)
{
    (void)state;
    assert_string_equal(config_key_find("", "server")->path, "server");
    assert_string_equal(config_key_find("buckets[].s3", "region")->path, "buckets[].s3.region");
    assert_null(config_key_find("", "region"));
    assert_null(config_key_find("server", "server"));
    static const struct {
        const char *parent, *name, *suggestion;
    } table[] = {
        {"", "sever", "server"},
        {"server", "adress", "server.address"},
        {"buckets[].s3", "acess_key", "buckets[].s3.access_key"},
        {"server", "max_size", NULL},
        {"server", "ttl_seconds", "buckets[].cache.ttl_seconds"},
        {"", "x", NULL},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        const struct config_key *key = config_key_suggest(table[i].parent, table[i].name);
        if (table[i].suggestion)
            assert_string_equal(key ? key->path : "nothing", table[i].suggestion);
        else
            assert_null(key);
    }
}

/* docs/configuration.md names each key in full. */
static void test_documentation(void **state)
{
    (void)state;
    char *text = read_text(SOURCE_ROOT "/docs/configuration.md");
    unsigned missing = 0;
    for (size_t i = 0; i < config_key_count; i++) {
        const struct config_key *key = &config_keys[i];
        char quoted[210];
        (void)snprintf(quoted, sizeof quoted, "`%s`", key->path);
        /* A group without a value of its own is named by what is in it. */
        bool group = key->type == CONFIG_MAPPING && key->use == CONFIG_IN_FORCE;
        if (group)
            (void)snprintf(quoted, sizeof quoted, "`%s.", key->path);
        if (strstr(text, quoted) == NULL && !(group && strchr(key->path, '.') == NULL)) {
            print_message("docs/configuration.md lacks %s\n", quoted);
            missing++;
        }
    }
    free(text);
    assert_int_equal(missing, 0);
}

/* The example has "name:" for each key, commented out or not, and is right as it stands. */
static void test_example(void **state)
{
    (void)state;
    char *text = read_text(SOURCE_ROOT "/config/yatagarasu.example.yaml");
    unsigned missing = 0;
    for (size_t i = 0; i < config_key_count; i++) {
        char name[210];
        (void)snprintf(name, sizeof name, "%s:", config_key_name(&config_keys[i]));
        if (config_keys[i].use != CONFIG_MOVED && strstr(text, name) == NULL) {
            print_message("the example lacks %s\n", config_keys[i].path);
            missing++;
        }
    }
    assert_int_equal(missing, 0);
    struct config_errors errors;
    struct settings *settings;
    config_errors_init(&errors);
    int result = config_load(text, strlen(text), "example", &settings, &errors);
    for (unsigned i = 0; config_errors_line(&errors, i); i++)
        print_message("%s\n", config_errors_line(&errors, i));
    assert_int_equal(result, 0);
    assert_int_equal(settings->bucket_count, 3);
    assert_null(config_notes(settings));
    config_free(settings);
    config_errors_deinit(&errors);
    free(text);
}

/* With every comment sign taken off that stands before a key, no key is unknown. */
static void test_example_uncommented(void **state)
{
    (void)state;
    char *text = read_text(SOURCE_ROOT "/config/yatagarasu.example.yaml"), *to = text;
    for (char *line = text, *end; *line; line = end) {
        end = strchr(line, '\n') + 1;
        char *at = line + strspn(line, " ");
        size_t word = strspn(at + 2, "abcdefghijklmnopqrstuvwxyz_0123456789- ");
        bool key =
            at[0] == '#' && at[1] == ' ' && at[2 + word] == ':' && strncmp(at + 2 + word, ": {name", 7) != 0;
        bool prose = strncmp(at, "# Yatagarasu", 12) == 0 || strstr(at, "secret_key: ${AWS") == at + 6 ||
                     strncmp(at, "# docs", 6) == 0;
        if (key && !prose)
            memcpy(at, "  ", 2);
        memmove(to, line, (size_t)(end - line));
        to += end - line;
    }
    *to = 0;
    struct config_errors errors;
    struct settings *settings;
    config_errors_init(&errors);
    (void)!config_load(text, strlen(text), "example", &settings, &errors);
    unsigned unknown = 0;
    for (unsigned i = 0; config_errors_line(&errors, i); i++)
        if (strstr(config_errors_line(&errors, i), "unknown key")) {
            print_message("%s\n", config_errors_line(&errors, i));
            unknown++;
        }
    assert_int_equal(unknown, 0);
    config_free(settings);
    config_errors_deinit(&errors);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_id_has_one_row),
        cmocka_unit_test(test_rows_lie_below_rows),
        cmocka_unit_test(test_find_and_suggest),
        cmocka_unit_test(test_documentation),
        cmocka_unit_test(test_example),
        cmocka_unit_test(test_example_uncommented),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
