#include "app/cache_run.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "app/cache_client.h"
#include "app/cache_command.h"
#include "app/cache_progress.h"
#include "app/settings_file.h"
#include "base/clock.h"
#include "io/blocking.h"
#include "origin/sigv4.h"

#define ADDRESS_DEFAULT "127.0.0.1:9090"
#define PATH_MAX_BYTES 16384
#define LINE_EVERY_NS (10 * NS_PER_S) /* of progress, where it goes to no terminal */
#define LOOK_EVERY_NS (200 * NS_PER_MS)
#define COLUMNS_OF_LINES 80

struct run {
    struct cache_command command;
    struct cache_client *client;
    char address[300];
    char token[1024];
    bool has_token;
};

static int say(int status, const char *what, const char *text)
{
    (void)fprintf(stderr, "yatagarasu cache: %s%s%s\n", what, text[0] ? ": " : "", text);
    return status;
}

/* ---- where the server is ---- */

/* The listener's own address, where that is none to connect to, by loopback. */
static bool take_settings(struct run *run)
{
    struct settings *settings = settings_load(run->command.config_file);
    if (settings == NULL)
        return false;
    const char *host = settings->admin.host;
    if (strcmp(host, "0.0.0.0") == 0)
        host = "127.0.0.1";
    else if (strcmp(host, "::") == 0)
        host = "::1";
    bool v6 = strchr(host, ':') != NULL;
    (void)snprintf(run->address, sizeof run->address, "%s%s%s:%u", v6 ? "[" : "", host, v6 ? "]" : "",
        settings->admin.port);
    run->has_token = settings->admin.token != NULL;
    if (run->has_token)
        (void)snprintf(run->token, sizeof run->token, "%s", settings->admin.token);
    config_free(settings);
    return true;
}

static bool take_text(char *to, size_t capacity, const char *text)
{
    return snprintf(to, capacity, "%s", text) < (int)capacity;
}

static bool is_plain(const char *text)
{
    for (; *text != '\0'; text++)
        if (*text <= ' ' || *text > '~')
            return false;
    return true;
}

/* Flags, else the environment, else the configuration, else the default. The status, 0 for well. */
static int find_server(struct run *run)
{
    const struct cache_command *command = &run->command;
    const char *address = command->address ? command->address : getenv("YATAGARASU_ADMIN");
    const char *token = command->token ? command->token : getenv("YATAGARASU_ADMIN_TOKEN");
    (void)take_text(run->address, sizeof run->address, ADDRESS_DEFAULT);
    if (command->config_file && !take_settings(run))
        return CACHE_RUN_USAGE;
    bool fits = true;
    if (address && address[0])
        fits = take_text(run->address, sizeof run->address, address);
    if (token && token[0]) {
        run->has_token = true;
        fits = fits && take_text(run->token, sizeof run->token, token);
    }
    if (!fits || !is_plain(run->address) || strpbrk(run->address, "/@?#") || !is_plain(run->token))
        return say(
            CACHE_RUN_USAGE, "expected an address like 127.0.0.1:9090, and a token of visible ASCII", "");
    return 0;
}

/* ---- asking ---- */

/* The message of an answer that is an error, or how little it says. */
static int say_refused(unsigned status, const json_t *answer)
{
    char text[40];
    const char *message = json_string_value(json_object_get(answer, "message"));
    (void)snprintf(text, sizeof text, "the server answers %u", status);
    return say(CACHE_RUN_FAILED, text, message ? message : "");
}

/* A 2xx answer into *answer, which is the caller's; or the status that the process ends with. */
static int ask(struct run *run, const char *method, const char *path, const json_t *body, json_t **answer)
{
    unsigned status = cache_client_ask(run->client, method, path, body, answer);
    if (status >= 200 && status < 300 && json_is_object(*answer))
        return 0;
    int result = CACHE_RUN_UNREACHED;
    if (status == 0)
        (void)say(result, run->address, cache_client_why(run->client));
    else
        result = say_refused(status, *answer);
    json_decref(*answer);
    *answer = NULL;
    return result;
}

static int print_json(const json_t *answer)
{
    bool well =
        json_dumpf(answer, stdout, JSON_INDENT(2)) == 0 && putchar('\n') != EOF && fflush(stdout) == 0;
    return well ? CACHE_RUN_DONE : say(CACHE_RUN_FAILED, "standard output", strerror(errno));
}

static int ask_and_print(struct run *run, const char *method, const char *path)
{
    json_t *answer;
    int status = ask(run, method, path, NULL, &answer);
    if (status == 0)
        status = print_json(answer);
    json_decref(answer);
    return status;
}

/* NULL: no UTF-8, or no memory. */
static bool put_text(json_t *object, const char *name, const char *text)
{
    return json_object_set_new(object, name, json_string(text)) == 0;
}

static int say_unspeakable(void)
{
    return say(CACHE_RUN_USAGE, "an argument is not UTF-8", "");
}

/* ---- stats, info, jobs ---- */

/* base/one[/two], encoded. */
static const char *write_path(
    char path[PATH_MAX_BYTES], const char *base, const char *between, const char *one, const char *two)
{
    struct writer w = writer_of(path, PATH_MAX_BYTES);
    write_bytes(&w, bytes_of_string(base));
    if (one) {
        write_bytes(&w, bytes_of_string(between));
        sigv4_encode(&w, bytes_of_string(one));
    }
    if (two) {
        write_u8(&w, '/');
        sigv4_encode_path(&w, bytes_of_string(two));
    }
    write_u8(&w, 0);
    return w.failed ? NULL : path;
}

static int run_page(struct run *run, const char *method, const char *base, const char *word)
{
    char path[PATH_MAX_BYTES];
    if (!write_path(path, base, "/", word, NULL))
        return say(CACHE_RUN_USAGE, "an argument is too long", "");
    return ask_and_print(run, method, path);
}

/* NULL: not given. */
static void write_parameter(struct writer *w, const char *before, const char *text)
{
    if (text == NULL)
        return;
    write_bytes(w, bytes_of_string(before));
    sigv4_encode(w, bytes_of_string(text));
}

static int run_info(struct run *run)
{
    const struct cache_command *command = &run->command;
    char path[PATH_MAX_BYTES];
    struct writer w = writer_of(path, sizeof path);
    write_parameter(&w, "/admin/cache/info?key=", command->bucket);
    write_parameter(&w, ":", command->keys[0]);
    write_parameter(&w, "&host=", command->host);
    write_parameter(&w, "&query=", command->query);
    write_u8(&w, 0);
    if (w.failed)
        return say(CACHE_RUN_USAGE, "an argument is too long", "");
    return ask_and_print(run, "GET", path);
}

/* ---- purge ---- */

static json_t *purge_body(const struct cache_command *command)
{
    const struct {
        const char *name, *text;
    } texts[] = {{"prefix", command->prefix}, {"tag", command->tag}, {"host", command->host},
        {"query", command->query}};
    json_t *body = json_object();
    bool well = body != NULL;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (texts[i].text)
            well = well && put_text(body, texts[i].name, texts[i].text);
    if (command->soft)
        well = well && json_object_set_new(body, "soft", json_true()) == 0;
    if (well)
        return body;
    json_decref(body);
    return NULL;
}

static void print_stored(const json_t *stored, const json_t *vary)
{
    if (json_is_object(stored))
        (void)printf(
            ", %lld bytes were stored", (long long)json_integer_value(json_object_get(stored, "length")));
    else if (json_is_null(stored))
        (void)printf(", nothing was stored");
    if (json_is_string(vary))
        (void)printf(" for clients without %s", json_string_value(vary));
}

static void print_purge(const struct cache_command *command, const json_t *answer)
{
    const json_t *stored = json_object_get(answer, "stored");
    (void)printf("purged %s", command->key_count > 0 ? command->keys[0]
                              : command->bucket      ? ""
                                                     : "everything");
    if (command->bucket)
        (void)printf("%s%s", command->key_count > 0 ? " of bucket " : "bucket ", command->bucket);
    if (command->prefix)
        (void)printf(", prefix %s", command->prefix);
    if (command->tag)
        (void)printf(", tag %s", command->tag);
    print_stored(stored, json_object_get(answer, "vary"));
    bool untold = command->key_count > 0 && stored == NULL;
    (void)printf(
        "%s%s\n", command->soft ? ", softly" : "", untold ? "; with --host it is told what was stored" : "");
}

static int run_purge(struct run *run)
{
    const struct cache_command *command = &run->command;
    char path[PATH_MAX_BYTES];
    json_t *body = purge_body(command), *answer;
    if (body == NULL)
        return say_unspeakable();
    const char *key = command->key_count > 0 ? command->keys[0] : NULL;
    if (!write_path(path, "/admin/cache/purge", "/", command->bucket, key)) {
        json_decref(body);
        return say(CACHE_RUN_USAGE, "an argument is too long", "");
    }
    int status = ask(run, "POST", path, body, &answer);
    if (status == 0)
        print_purge(command, answer);
    json_decref(body);
    json_decref(answer);
    return status;
}

/* ---- prewarm ---- */

static volatile sig_atomic_t interrupted;

static void on_interrupt(int signal)
{
    (void)signal;
    interrupted = 1;
}

static json_t *prewarm_keys(const struct cache_command *command)
{
    json_t *keys = json_array();
    for (int i = 0; keys && i < command->key_count; i++)
        if (json_array_append_new(keys, json_string(command->keys[i])) < 0) {
            json_decref(keys);
            return NULL;
        }
    return keys;
}

static json_t *prewarm_body(const struct cache_command *command)
{
    json_t *body = json_object();
    bool well = body && put_text(body, "bucket", command->bucket);
    if (command->key_count > 0)
        well = well && json_object_set_new(body, "keys", prewarm_keys(command)) == 0;
    else
        well = well && put_text(body, "prefix", command->prefix ? command->prefix : "");
    if (command->host)
        well = well && put_text(body, "host", command->host);
    if (command->concurrency)
        well = well && json_object_set_new(body, "concurrency", json_integer(command->concurrency)) == 0;
    if (command->rate)
        well = well && json_object_set_new(body, "rate", json_integer(command->rate)) == 0;
    if (well)
        return body;
    json_decref(body);
    return NULL;
}

static uint64_t number(const json_t *job, const char *name)
{
    return (uint64_t)json_integer_value(json_object_get(job, name));
}

static const char *text(const json_t *job, const char *name)
{
    const char *value = json_string_value(json_object_get(job, name));
    return value ? value : "";
}

/* columns 0: there is no terminal. */
static void print_progress(const json_t *job, unsigned columns)
{
    char line[CACHE_PROGRESS_MAX + 64];
    struct writer w = writer_of(line, sizeof line - 1);
    struct cache_progress progress = {.keys = number(job, "keys"),
        .failed = number(job, "failed"),
        .keys_complete = json_is_true(json_object_get(job, "keys_complete")),
        .fetched_bytes = number(job, "fetched_bytes"),
        .duration_ms = (uint64_t)json_number_value(json_object_get(job, "duration_ms"))};
    progress.done =
        number(job, "fetched") + number(job, "stored_before") + number(job, "not_stored") + progress.failed;
    cache_progress_write(&w, &progress, columns ? columns - 1 : COLUMNS_OF_LINES);
    line[writer_bytes(&w).len] = '\0';
    (void)printf(columns ? "\r%s\033[K" : "%s\n", line);
    (void)fflush(stdout);
}

/* What became of it: the process's status. */
static int print_end(const json_t *job)
{
    size_t i;
    const json_t *failure;
    uint64_t failed = number(job, "failed");
    const char *state = text(job, "state"), *error = text(job, "error"), *code = text(job, "code");
    json_array_foreach(json_object_get(job, "failures"), i, failure)(void) fprintf(stderr,
        "yatagarasu cache: %llu %s\n", (unsigned long long)number(failure, "status"), text(failure, "key"));
    (void)printf("%s%s%s%s%s: %llu fetched, %llu stored before, %llu not to be stored, %llu failed\n", state,
        error[0] ? ", " : "", error, code[0] ? ", " : "", code, (unsigned long long)number(job, "fetched"),
        (unsigned long long)number(job, "stored_before"), (unsigned long long)number(job, "not_stored"),
        (unsigned long long)failed);
    return strcmp(state, "done") == 0 && failed == 0 ? CACHE_RUN_DONE : CACHE_RUN_FAILED;
}

static bool is_under_way(const json_t *job)
{
    return strcmp(text(job, "state"), "working") == 0 || strcmp(text(job, "state"), "canceling") == 0;
}

/* Looks at the job until it ends; an interrupt cancels it. */
static int follow(struct run *run, const char *path, json_t *job)
{
    bool canceled = false;
    uint64_t line_ns = clock_monotonic_ns() + LINE_EVERY_NS;
    int status = 0;
    while (status == 0 && is_under_way(job)) {
        if (io_terminal_columns() > 0 || clock_monotonic_ns() >= line_ns) {
            print_progress(job, io_terminal_columns());
            line_ns = clock_monotonic_ns() + LINE_EVERY_NS;
        }
        if (!interrupted || canceled)
            (void)nanosleep(&(struct timespec){.tv_nsec = LOOK_EVERY_NS}, NULL);
        const char *method = interrupted && !canceled ? "DELETE" : "GET";
        canceled = canceled || interrupted;
        json_decref(job);
        status = ask(run, method, path, NULL, &job);
    }
    if (status == 0) {
        print_progress(job, io_terminal_columns());
        if (io_terminal_columns() > 0)
            (void)putchar('\n');
        status = print_end(job);
    }
    json_decref(job);
    return status;
}

static void catch_interrupts(void)
{
    const struct sigaction action = {.sa_handler = on_interrupt};
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
}

static int run_prewarm(struct run *run)
{
    char path[100];
    json_t *body = prewarm_body(&run->command), *job;
    if (body == NULL)
        return say_unspeakable();
    if (!run->command.detach)
        catch_interrupts(); /* before there is a job to be canceled */
    int status = ask(run, "POST", "/admin/cache/prewarm", body, &job);
    json_decref(body);
    if (status != 0)
        return status;
    (void)printf("job %llu\n", (unsigned long long)number(job, "id"));
    (void)fflush(stdout);
    if (run->command.detach) {
        json_decref(job);
        return CACHE_RUN_DONE;
    }
    (void)snprintf(path, sizeof path, "/admin/cache/prewarm/%llu", (unsigned long long)number(job, "id"));
    return follow(run, path, job);
}

/* ---- all ---- */

static int run_action(struct run *run)
{
    switch (run->command.action) {
    case CACHE_STATS:
        return run_page(run, "GET", "/admin/cache/stats", run->command.bucket);
    case CACHE_INFO:
        return run_info(run);
    case CACHE_PURGE:
        return run_purge(run);
    case CACHE_PREWARM:
        return run_prewarm(run);
    case CACHE_JOBS:
        return run_page(run, "GET", "/admin/cache/prewarm", run->command.job);
    case CACHE_CANCEL:
        return run_page(run, "DELETE", "/admin/cache/prewarm", run->command.job);
    case CACHE_HELP:
        break;
    }
    UNREACHABLE();
}

int cache_run(int argc, char *argv[])
{
    struct run run = {.has_token = false};
    char message[CACHE_COMMAND_MESSAGE_MAX];
    if (!cache_command_parse(argc, argv, &run.command, message))
        return say(CACHE_RUN_USAGE, message, "yatagarasu cache --help tells more");
    if (run.command.action == CACHE_HELP)
        return fputs(cache_command_usage, stdout) == EOF ? CACHE_RUN_FAILED : CACHE_RUN_DONE;
    int status = find_server(&run);
    if (status != 0)
        return status;
    run.client = cache_client_create(run.address, run.has_token ? run.token : NULL);
    if (run.client == NULL)
        return say(CACHE_RUN_FAILED, "out of memory", "");
    status = run_action(&run);
    cache_client_destroy(run.client);
    explicit_bzero(run.token, sizeof run.token);
    return status;
}
