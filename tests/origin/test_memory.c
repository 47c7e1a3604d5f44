/*
 * Every allocation of the origin layer fails once: the fetch then ends with an error (or goes well after
 * all), exactly once, and what comes after it goes well. The linker wraps the allocators (-Wl,--wrap),
 * libcurl's makers among them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <curl/curl.h>

#include "base/clock.h"
#include "base/error.h"
#include "rig.h"

static struct child child;
static long countdown; /* the allocation that fails; 0: none does */

static bool fails(void)
{
    return countdown > 0 && --countdown == 0;
}

void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size)
{
    return fails() ? NULL : __real_calloc(count, size);
}

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_malloc(size_t size)
{
    return fails() ? NULL : __real_malloc(size);
}

char *__real_strdup(const char *text);
char *__wrap_strdup(const char *text);
char *__wrap_strdup(const char *text)
{
    return fails() ? NULL : __real_strdup(text);
}

char *__real_strndup(const char *text, size_t len);
char *__wrap_strndup(const char *text, size_t len);
char *__wrap_strndup(const char *text, size_t len)
{
    return fails() ? NULL : __real_strndup(text, len);
}

CURL *__real_curl_easy_init(void);
CURL *__wrap_curl_easy_init(void);
CURL *__wrap_curl_easy_init(void)
{
    return fails() ? NULL : __real_curl_easy_init();
}

CURLM *__real_curl_multi_init(void);
CURLM *__wrap_curl_multi_init(void);
CURLM *__wrap_curl_multi_init(void)
{
    return fails() ? NULL : __real_curl_multi_init();
}

struct curl_slist *__real_curl_slist_append(struct curl_slist *list, const char *text);
struct curl_slist *__wrap_curl_slist_append(struct curl_slist *list, const char *text);
struct curl_slist *__wrap_curl_slist_append(struct curl_slist *list, const char *text)
{
    return fails() ? NULL : __real_curl_slist_append(list, text);
}

enum { S3_KIND, FILE_KIND, HTTP_KIND, KINDS };

static void make(struct origin_config *config, char endpoint[64], int kind)
{
    snprintf(endpoint, 64, kind == FILE_KIND ? "file:///proc/self" : "http://127.0.0.1:%u", child.port);
    *config = (struct origin_config){.name = "e",
        .endpoint = endpoint,
        .bucket = "b",
        .region = "r",
        .access_key = "k",
        .secret_key = "s",
        .session_token = "t",
        .connect_timeout_ns = 100 * NS_PER_MS,
        .first_byte_timeout_ns = 100 * NS_PER_MS,
        .initial_backoff_ns = NS_PER_MS};
    if (kind != HTTP_KIND)
        return;
    config->protocol = ORIGIN_PROTOCOL_HTTP;
    config->bucket = config->access_key = config->secret_key = config->session_token = NULL;
}

static void test_create(void **state)
{
    (void)state;
    for (int kind = 0; kind < KINDS; kind++) {
        bool failed = true;
        for (long at = 1; failed; at++) {
            struct origin_config config;
            struct origin *origin = NULL;
            const char *why = NULL;
            char endpoint[64];
            make(&config, endpoint, kind);
            countdown = at;
            int error = origin_create(&origin, &config, &why);
            failed = countdown == 0;
            countdown = 0;
            assert_int_equal(error != 0, failed);
            if (error == 0)
                origin_destroy(origin);
            else
                assert_string_equal(why, "no memory");
            assert_true(at < 50);
        }
    }
}

static void run(long at, const struct origin_config *config, const char *key, bool *failed)
{
    struct rig rig;
    struct origin *origin;
    const char *why;
    struct caught caught = {0}, again = {0};
    rig_init(&rig);
    assert_int_equal(origin_create(&origin, config, &why), 0);
    countdown = at;
    bool http = config->protocol == ORIGIN_PROTOCOL_HTTP;
    if (http)
        caught.fetch.request.target = bytes_of_string(key);
    caught_start(&caught, &rig, origin, key);
    while (caught.dones == 0 && countdown != 0) /* the rig's own allocations are not meant */
        io_loop_turn(rig.loop, NS_PER_MS);
    *failed = countdown == 0;
    countdown = 0;
    caught_wait(&caught);
    assert_true(caught.fetch.error == 0 || caught.fetch.error == E_EXHAUSTED ||
                caught.fetch.error == E_TIMEOUT || caught.fetch.error == E_UNREACHABLE ||
                caught.fetch.error == E_PROTOCOL);
    for (unsigned tries = 0; tries < 20; tries++) { /* the other process may be slow for a moment */
        again = (struct caught){0};
        if (http)
            again.fetch.request.target = bytes_of_string(key);
        caught_run(&again, &rig, origin, key);
        if (again.fetch.error != E_TIMEOUT)
            break;
        caught_free(&again);
    }
    assert_int_equal(again.fetch.error, 0);
    rig_deinit(&rig);
    origin_destroy(origin);
    caught_free(&caught);
    caught_free(&again);
}

static void test_fetch(void **state)
{
    struct origin_config config;
    char endpoint[64];
    (void)state;
    static const char *const keys[KINDS] = {"ok,size=1000", "LICENSE", "/b/ok,size=1000"};
    static const char *const names[KINDS] = {"s3", "file", "http"};
    for (int kind = 0; kind < KINDS; kind++) {
        make(&config, endpoint, kind);
        if (kind == FILE_KIND)
            config.endpoint = "file://" SOURCE_ROOT;
        bool failed = true;
        for (long at = 1; failed; at++) {
            run(at, &config, keys[kind], &failed);
            print_message("%s %ld\n", names[kind], at);
            assert_true(at < 100);
        }
    }
}

int main(void)
{
    if (!child_start(&child, "127.0.0.1", NULL, NULL)) {
        printf("no python3: skipped\n");
        return 77;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_create),
        cmocka_unit_test(test_fetch),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    child_stop(&child);
    return failed;
}
