/* The command line of `yatagarasu cache`, and how far a prewarm is in one line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "app/cache_command.h"
#include "app/cache_progress.h"

static struct cache_command command;
static char message[CACHE_COMMAND_MESSAGE_MAX];
static char *argv[20];
static char words[600];

/* Arguments between blanks; `` is an empty one. */
static bool parse(const char *line)
{
    int argc = 1;
    argv[0] = (char *)(uintptr_t) "cache";
    snprintf(words, sizeof words, "%s", line);
    for (char *word = strtok(words, " "); word; word = strtok(NULL, " "))
        argv[argc++] = strcmp(word, "``") == 0 ? word + 2 : word;
    argv[argc] = NULL;
    return cache_command_parse(argc, argv, &command, message);
}

static bool same(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

static void commands(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        enum cache_action action;
        const char *bucket, *key, *prefix, *tag, *job, *address, *token, *config, *host, *query;
        bool soft, all, detach;
        unsigned concurrency, rate;
    } cases[] = {
        {"help", CACHE_HELP},
        {"purge --help", CACHE_HELP},
        {"stats", CACHE_STATS},
        {"stats b --address h:1 --token=t -c f", CACHE_STATS, "b", .address = "h:1", .token = "t",
            .config = "f"},
        {"stats --config=f b", CACHE_STATS, "b", .config = "f"},
        {"info b k", CACHE_INFO, "b", "k"},
        {"info b -- --k", CACHE_INFO, "b", "--k"},
        {"info b k --host h:1 --query=a=1&b", CACHE_INFO, "b", "k", .host = "h:1", .query = "a=1&b"},
        {"purge b k --host=h --query q", CACHE_PURGE, "b", "k", .host = "h", .query = "q"},
        {"purge b k --soft", CACHE_PURGE, "b", "k", .soft = true},
        {"purge --soft b k", CACHE_PURGE, "b", "k", .soft = true},
        {"purge b --prefix p/ --tag t", CACHE_PURGE, "b", .prefix = "p/", .tag = "t"},
        {"purge --tag=t", CACHE_PURGE, .tag = "t"},
        {"purge --prefix --tag", CACHE_PURGE, .prefix = "--tag"},
        {"purge b --all", CACHE_PURGE, "b", .all = true},
        {"purge --all", CACHE_PURGE, .all = true},
        {"prewarm b k --concurrency 64 --rate=100000 --detach", CACHE_PREWARM, "b", "k", .concurrency = 64,
            .rate = 100000, .detach = true},
        {"prewarm b k --host h", CACHE_PREWARM, "b", "k", .host = "h"},
        {"prewarm b --prefix ``", CACHE_PREWARM, "b", .prefix = ""},
        {"prewarm b --all", CACHE_PREWARM, "b", .all = true},
        {"jobs", CACHE_JOBS},
        {"jobs 7", CACHE_JOBS, .job = "7"},
        {"cancel 7", CACHE_CANCEL, .job = "7"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (!parse(cases[i].line))
            fail_msg("%s: %s", cases[i].line, message);
        if (cases[i].action == CACHE_HELP) {
            assert_int_equal(command.action, CACHE_HELP);
            continue;
        }
        bool right = command.action == cases[i].action && same(command.bucket, cases[i].bucket) &&
                     same(command.key_count ? command.keys[0] : NULL, cases[i].key) &&
                     same(command.prefix, cases[i].prefix) && same(command.tag, cases[i].tag) &&
                     same(command.job, cases[i].job) && same(command.address, cases[i].address) &&
                     same(command.token, cases[i].token) && same(command.host, cases[i].host) &&
                     same(command.query, cases[i].query) && same(command.config_file, cases[i].config) &&
                     command.soft == cases[i].soft && command.all == cases[i].all &&
                     command.detach == cases[i].detach && command.concurrency == cases[i].concurrency &&
                     command.rate == cases[i].rate;
        if (!right)
            fail_msg("%s", cases[i].line);
    }
    assert_true(parse("prewarm b k1 --rate 5 k2 k3"));
    assert_int_equal(command.key_count, 3);
    assert_string_equal(command.keys[2], "k3");
}

static void refused(void **state)
{
    (void)state;
    static const struct {
        const char *line, *message;
    } cases[] = {
        {"", "expected a command"},
        {"drop", "unknown command: drop"},
        {"stats a b", "expected: at most a bucket"},
        {"info b", "expected: a bucket and a key"},
        {"info b ``", "an argument is empty"},
        {"purge", "this would purge everything; say --all if that is meant"},
        {"purge b", "this would purge the whole bucket; say --all if that is meant: b"},
        {"purge b --soft", "this would purge the whole bucket; say --all if that is meant: b"},
        {"purge b --prefix ``", "--prefix and --tag are not empty; --all is for all"},
        {"purge b --tag ``", "--prefix and --tag are not empty; --all is for all"},
        {"purge b k --tag t", "a key, or --prefix, --tag or --all, not both"},
        {"purge b k --all", "a key, or --prefix, --tag or --all, not both"},
        {"purge b --tag t --all", "--all, or --prefix and --tag, not both"},
        {"purge b --all --host h", "--host and --query are of a key"},
        {"purge b --tag t --query q", "--host and --query are of a key"},
        {"info b k --query ?a=1", "--query is what stands behind the question mark, without it: ?a=1"},
        {"purge b k --query=?a", "--query is what stands behind the question mark, without it: ?a"},
        {"prewarm b k --query q", "this command has no such option: --query"},
        {"purge b k l", "expected: at most a bucket and a key"},
        {"prewarm", "expected: a bucket"},
        {"prewarm b", "expected keys, or --prefix, or --all"},
        {"prewarm b k --all", "expected keys, or --prefix, or --all"},
        {"prewarm b k --soft", "this command has no such option: --soft"},
        {"prewarm b k --rate 0", "--rate: expected a number from 1 to 100000: 0"},
        {"prewarm b k --rate x", "--rate: expected a number from 1 to 100000: x"},
        {"prewarm b k --concurrency=65", "--concurrency: expected a number from 1 to 64: 65"},
        {"prewarm b k --concurrency", "expected a value after: --concurrency"},
        {"prewarm b k --detach=no", "expected no value: --detach=no"},
        {"jobs x", "expected the number of a job: x"},
        {"cancel", "expected: the number of a job"},
        {"stats --nonsense", "unknown option: --nonsense"},
        {"stats -x", "unknown option: -x"},
        {"stats --addressee h", "unknown option: --addressee"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_false(parse(cases[i].line));
        assert_string_equal(message, cases[i].message);
    }
}

static void progress(void **state)
{
    (void)state;
    static const struct {
        struct cache_progress progress;
        unsigned columns;
        const char *line;
    } cases[] = {
        {{.keys = 0}, 80, "0/0+, 0 B"},
        {{.keys = 0, .keys_complete = true, .duration_ms = 5}, 80,
            "[##############################] 0/0 100%, 0 B, 0 B/s"},
        {{.keys = 1000, .done = 512, .fetched_bytes = 1536, .duration_ms = 1}, 80,
            "512/1000+, 1.5 KiB, 1.4 MiB/s"},
        {{.keys = 10, .done = 5, .failed = 2, .keys_complete = true, .fetched_bytes = 1023}, 80,
            "[###############...............] 5/10 50%, 1023 B, 2 failed"},
        {{.keys = 10, .done = 5, .keys_complete = true}, 40, "[############............] 5/10 50%, 0 B"},
        {{.keys = 3, .done = 3, .keys_complete = true, .fetched_bytes = UINT64_MAX}, 80,
            "[##############################] 3/3 100%, 15.9 EiB"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char line[CACHE_PROGRESS_MAX] = {0};
        struct writer w = writer_of(line, sizeof line - 1);
        cache_progress_write(&w, &cases[i].progress, cases[i].columns);
        assert_false(w.failed);
        assert_string_equal(line, cases[i].line);
        assert_true(strlen(line) <= cases[i].columns);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commands),
        cmocka_unit_test(refused),
        cmocka_unit_test(progress),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
