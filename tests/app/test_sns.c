/*
 * Whose messages are taken, with certificates and confirmations fetched over https from a host of the test's
 * own (sns_host.py). Driver by YATA_IO ("portable" or "uring").
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "app/sns.h"
#include "authority.h"
#include "base/clock.h"
#include "base/error.h"

#define TOPIC "arn:aws:sns:us-west-2:123456789012:t"
#define OTHER "arn:aws:sns:us-west-2:123456789012:u"
#define HOST "https://sns.us-west-2.amazonaws.com"
#define CONFIRM HOST "/?Action=ConfirmSubscription&TopicArn=" TOPIC "&Token="
#define TEXT "Message\nm\n"
#define DAY 86400

extern char **environ;

static char folder[64], endpoint[64], ca_file[128], root_pem[4096];
static int64_t now_s;
static struct signer root, host, leaf, brief, stranger;
static pid_t child;
static int to_child, from_child;
static struct io *io;
static struct io_loop *loop;
static struct log *events_log;
static struct sns *sns;
static bool stopped;

/* ---- the host ---- */

static const char *path_of(const char *name)
{
    static char path[160];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void write_file(const char *name, const char *text)
{
    FILE *file = fopen(path_of(name), "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

/* How many requests for the target the host has seen; of all where it is NULL. */
static unsigned seen(const char *target)
{
    char line[4096];
    unsigned count = 0;
    FILE *file = fopen(path_of("seen"), "r");
    while (file && fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = 0;
        count += target == NULL || strcmp(line, target) == 0;
    }
    if (file)
        (void)fclose(file);
    return count;
}

static void write_certificate(const char *name, const struct signer *signer)
{
    char pem[4096] = "";
    signer_pem(signer, pem);
    write_file(name, pem);
}

static struct signer make(const char *name, const struct signer *by, int64_t days, bool elliptic)
{
    return signer_make(&(struct certificate_wish){.name = name,
        .by = by,
        .begin_s = now_s - DAY,
        .end_s = now_s + (days ? days * DAY : 100),
        .authority = by == NULL,
        .elliptic = elliptic});
}

static bool start_child(void)
{
    char python[] = "python3", script[] = SOURCE_ROOT "/tests/app/sns_host.py", line[64] = "", cert[128],
         key[128];
    int to[2], from[2];
    (void)snprintf(cert, sizeof cert, "%s", path_of("host.crt"));
    (void)snprintf(key, sizeof key, "%s", path_of("host.key"));
    char *argv[] = {python, script, folder, cert, key, NULL};
    assert_int_equal(pipe2(to, O_CLOEXEC), 0);
    assert_int_equal(pipe2(from, O_CLOEXEC), 0);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, to[0], 0);
    posix_spawn_file_actions_adddup2(&actions, from[1], 1);
    int error = posix_spawnp(&child, "python3", &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    (void)close(to[0]);
    (void)close(from[1]);
    to_child = to[1];
    unsigned port = 0;
    for (size_t len = 0; error == 0 && len < sizeof line - 1 && strchr(line, '\n') == NULL;) {
        ssize_t got = read(from[0], line + len, sizeof line - 1 - len);
        if (got <= 0)
            break;
        len += (size_t)got;
    }
    bool up = sscanf(line, "port %u", &port) == 1;
    from_child = from[0];
    (void)snprintf(endpoint, sizeof endpoint, "https://localhost:%u", port);
    return up;
}

static int setup_all(void **state)
{
    (void)state;
    char key[8192] = "";
    now_s = (int64_t)(clock_wall_ns() / NS_PER_S);
    (void)snprintf(folder, sizeof folder, "/tmp/yata-sns-XXXXXX");
    if (mkdtemp(folder) == NULL)
        return -1;
    root = make("Test Root", NULL, 10, true);
    stranger = make("Stranger", NULL, 10, false);
    host = make("localhost", &root, 10, true);
    leaf = make("sns.us-west-2.amazonaws.com", &root, 10, false);
    brief = make("sns.amazonaws.com", &root, 0, false);
    signer_pem(&root, root_pem);
    signer_key_pem(&host, key);
    write_certificate("root.crt", &root);
    write_certificate("host.crt", &host);
    write_file("host.key", key);
    for (unsigned i = 0; i < 5; i++) {
        char name[] = "held0.pem";
        name[4] = (char)('0' + i);
        write_certificate(name, &leaf);
    }
    write_certificate("good.pem", &leaf);
    write_certificate("brief.pem", &brief);
    write_certificate("stranger.pem", &stranger);
    (void)snprintf(ca_file, sizeof ca_file, "%s", path_of("root.crt"));
    return start_child() ? 0 : -1;
}

static int teardown_all(void **state)
{
    (void)state;
    char command[128];
    (void)close(to_child);
    (void)close(from_child);
    (void)waitpid(child, NULL, 0);
    struct signer *const all[] = {&root, &host, &leaf, &brief, &stranger};
    for (unsigned i = 0; i < 5; i++)
        signer_free(all[i]);
    (void)snprintf(command, sizeof command, "rm -r %s", folder);
    return system(command) == 0 ? 0 : -1;
}

/* ---- the loop ---- */

static int setup(void **state)
{
    (void)state;
    static const char *const topics[] = {TOPIC, OTHER};
    const char *driver = getenv("YATA_IO");
    struct io_config config = {.choice = driver && strcmp(driver, "uring") == 0 ? IO_URING : IO_PORTABLE};
    struct io_report report;
    if (io_create(&io, &config, &report) < 0 || io_loop_create(io, &loop) < 0)
        exit(77); /* no such driver here: skipped */
    events_log = log_create(64 * 1024, LOG_DEBUG);
    (void)unlink(path_of("seen"));
    (void)unlink(path_of("go"));
    struct sns_parts parts = {.loop = loop,
        .log = events_log,
        .topics = topics,
        .topic_count = 2,
        .endpoint = endpoint,
        .ca_file = ca_file,
        .anchors = root_pem,
        .patience = 10};
    return events_log && sns_create(&sns, &parts) == 0 ? 0 : -1;
}

static void has_stopped(void *context)
{
    *(bool *)context = true;
}

static void stop(void)
{
    if (stopped)
        return;
    bool idle = sns_stop(sns, has_stopped, &stopped);
    for (unsigned i = 0; i < 3000 && !stopped && !idle; i++)
        io_loop_turn(loop, 10 * NS_PER_MS);
    assert_true(stopped || idle);
    stopped = true;
}

static int teardown(void **state)
{
    (void)state;
    stop();
    stopped = false;
    sns_destroy(sns);
    assert_int_equal(io_loop_destroy(loop, NS_PER_S), 0);
    assert_int_equal(io_destroy(io), 0);
    log_destroy(events_log);
    return 0;
}

/* ---- messages ---- */

struct sent {
    struct sns_request request;
    struct sns_message message;
    uint8_t signature[512];
    unsigned dones;
};

static void sent_done(struct sns_request *request)
{
    CONTAINER_OF(request, struct sent, request)->dones++;
}

/* A notification of `signer`, whose certificate is said to lie at the url. */
static struct sent sent_make(const char *url, const struct signer *signer)
{
    struct sent sent = {.message = {.type = SNS_NOTIFICATION,
                            .version = 2,
                            .topic = BYTES(TOPIC),
                            .certificate_url = bytes_of_string(url),
                            .signed_text = BYTES(TEXT),
                            .sent_s = now_s},
        .request = {.now_s = now_s, .done = sent_done}};
    sent.message.signature.len = signer_sign(signer, 2, TEXT, sent.signature);
    return sent;
}

static void send_it(struct sent *sent)
{
    sent->message.signature.ptr = sent->signature;
    sent->request.message = &sent->message;
    sns_request_start(sns, &sent->request);
}

static void wait_for(const struct sent *sent)
{
    for (unsigned i = 0; i < 3000 && sent->dones == 0; i++)
        io_loop_turn(loop, 10 * NS_PER_MS);
    assert_int_equal(sent->dones, 1);
}

static void wait_until_seen(const char *target, unsigned count)
{
    for (unsigned i = 0; i < 3000 && seen(target) < count; i++)
        io_loop_turn(loop, 10 * NS_PER_MS);
    assert_int_equal(seen(target), count);
}

static unsigned status_of(struct sent sent)
{
    send_it(&sent);
    wait_for(&sent);
    assert_int_equal(sent.request.status != 0, sent.request.why != NULL);
    return sent.request.status;
}

/* ---- stories ---- */

static void a_key_is_fetched_once(void **state)
{
    (void)state;
    assert_int_equal(status_of(sent_make(HOST "/good.pem", &leaf)), 0);
    struct sent other = sent_make(HOST "/good.pem", &leaf);
    other.message.topic = BYTES(OTHER);
    other.message.version = 1;
    other.message.signature.len = signer_sign(&leaf, 1, TEXT, other.signature);
    assert_int_equal(status_of(other), 0);
    assert_int_equal(status_of(sent_make(HOST ":443/good.pem", &leaf)), 0);
    assert_int_equal(seen(NULL), 1);
}

static void strangers(void **state)
{
    (void)state;
    assert_int_equal(status_of(sent_make(HOST "/good.pem", &stranger)), 403);
    struct sent changed = sent_make(HOST "/good.pem", &leaf);
    changed.message.signed_text = BYTES("Message\nn\n");
    assert_int_equal(status_of(changed), 403);
    changed = sent_make(HOST "/good.pem", &leaf);
    changed.message.version = 1;
    assert_int_equal(status_of(changed), 403);
    assert_int_equal(seen(NULL), 1);
    assert_int_equal(status_of(sent_make(HOST "/good.pem", &leaf)), 0);
}

/* These cost no fetch. */
static void refused_at_once(void **state)
{
    (void)state;
    struct sent sent = sent_make(HOST "/good.pem", &leaf);
    sent.message.topic = BYTES("arn:aws:sns:us-west-2:123456789012:v");
    assert_int_equal(status_of(sent), 403);
    sent = sent_make(HOST "/good.pem", &leaf);
    sent.message.sent_s = now_s - 3601;
    assert_int_equal(status_of(sent), 403);
    sent.message.sent_s = now_s + 901;
    assert_int_equal(status_of(sent), 403);
    assert_int_equal(status_of(sent_make("https://sns.us-east-1.amazonaws.com/good.pem", &leaf)), 403);
    assert_int_equal(status_of(sent_make("https://evil.example/good.pem", &leaf)), 403);
    assert_int_equal(status_of(sent_make("http://sns.us-west-2.amazonaws.com/good.pem", &leaf)), 403);
    assert_int_equal(status_of(sent_make(HOST "/good.crt", &leaf)), 403);
    assert_int_equal(seen(NULL), 0);
}

/* SNS repeats what is answered 503; nothing of these is kept. */
static void no_certificate(void **state)
{
    (void)state;
    static const char *const urls[] = {
        HOST "/missing.pem", HOST "/redirect.pem", HOST "/large.pem", HOST "/stranger.pem"};
    for (unsigned i = 0; i < 4; i++)
        for (unsigned turn = 1; turn <= 2; turn++) {
            assert_int_equal(status_of(sent_make(urls[i], &leaf)), 503);
            assert_int_equal(seen(urls[i] + sizeof HOST - 1), turn);
        }
    assert_int_equal(seen(NULL), 8);
}

static void one_fetch_for_all(void **state)
{
    (void)state;
    struct sent sent[3];
    for (unsigned i = 0; i < 3; i++) {
        sent[i] = sent_make(HOST "/held0.pem", i == 1 ? &stranger : &leaf);
        send_it(&sent[i]);
    }
    wait_until_seen("/held0.pem", 1);
    assert_int_equal(sent[0].dones, 0);
    write_file("go", "");
    for (unsigned i = 0; i < 3; i++) {
        wait_for(&sent[i]);
        assert_int_equal(sent[i].request.status, i == 1 ? 403 : 0);
    }
    assert_int_equal(seen(NULL), 1);
}

static void few_fetches_at_once(void **state)
{
    (void)state;
    struct sent sent[SNS_PAGES_MAX + 1];
    for (unsigned i = 0; i <= SNS_PAGES_MAX; i++) {
        static char url[SNS_PAGES_MAX + 1][80];
        (void)snprintf(url[i], sizeof url[i], HOST "/held%u.pem", i);
        sent[i] = sent_make(url[i], &leaf);
        send_it(&sent[i]);
    }
    wait_for(&sent[SNS_PAGES_MAX]);
    assert_int_equal(sent[SNS_PAGES_MAX].request.status, 503);
    write_file("go", "");
    for (unsigned i = 0; i < SNS_PAGES_MAX; i++) {
        wait_for(&sent[i]);
        assert_int_equal(sent[i].request.status, 0);
    }
    assert_int_equal(seen(NULL), SNS_PAGES_MAX);
}

static void kept_until_it_ends(void **state)
{
    (void)state;
    struct sent sent = sent_make(HOST "/brief.pem", &brief);
    assert_int_equal(status_of(sent), 0);
    sent.request.now_s = sent.message.sent_s = now_s + 99;
    assert_int_equal(status_of(sent), 0);
    assert_int_equal(seen(NULL), 1);
    sent.request.now_s = sent.message.sent_s = now_s + 101;
    assert_int_equal(status_of(sent), 503);
    assert_int_equal(seen(NULL), 2);
    sent = sent_make(HOST "/good.pem", &leaf);
    assert_int_equal(status_of(sent), 0);
    sent.request.now_s = sent.message.sent_s = now_s + SNS_KEY_KEPT_S - 1;
    assert_int_equal(status_of(sent), 0);
    assert_int_equal(seen("/good.pem"), 1);
    sent.request.now_s = sent.message.sent_s = now_s + SNS_KEY_KEPT_S;
    assert_int_equal(status_of(sent), 0);
    assert_int_equal(seen("/good.pem"), 2);
}

/* As many keys as are kept, and more: each works. */
static void many_keys(void **state)
{
    (void)state;
    for (unsigned i = 0; i < SNS_KEYS_MAX + 4; i++) {
        char url[80], name[32];
        (void)snprintf(url, sizeof url, HOST "/key%u.pem", i);
        (void)snprintf(name, sizeof name, "key%u.pem", i);
        write_certificate(name, &leaf);
        assert_int_equal(status_of(sent_make(url, &leaf)), 0);
    }
    assert_int_equal(seen(NULL), SNS_KEYS_MAX + 4);
    assert_int_equal(status_of(sent_make(HOST "/key19.pem", &leaf)), 0);
    assert_int_equal(seen(NULL), SNS_KEYS_MAX + 4);
}

static void subscriptions(void **state)
{
    (void)state;
    struct sent sent = sent_make(HOST "/good.pem", &leaf);
    sent.message.type = SNS_SUBSCRIBE;
    sent.message.subscribe_url = BYTES(CONFIRM "1234");
    assert_int_equal(status_of(sent), 0);
    assert_int_equal(seen("/?Action=ConfirmSubscription&TopicArn=" TOPIC "&Token=1234"), 1);
    sent.message.subscribe_url = BYTES(CONFIRM "bad");
    assert_int_equal(status_of(sent), 503);
    assert_int_equal(seen("/?Action=ConfirmSubscription&TopicArn=" TOPIC "&Token=bad"), 1);
    sent.message.subscribe_url = BYTES("https://evil.example/?Action=ConfirmSubscription&Token=1234");
    assert_int_equal(status_of(sent), 403);
    sent.message.subscribe_url = (struct bytes){0};
    assert_int_equal(status_of(sent), 403);
    sent.message.subscribe_url = BYTES(CONFIRM "5678");
    sent.message.type = SNS_UNSUBSCRIBE;
    assert_int_equal(status_of(sent), 0);
    sent.message.type = SNS_SUBSCRIBE;
    sent.message.signed_text = BYTES("");
    assert_int_equal(status_of(sent), 403);
    assert_int_equal(seen(NULL), 3);
}

static void stopped_meanwhile(void **state)
{
    (void)state;
    struct sent sent = sent_make(HOST "/held0.pem", &leaf), late = sent_make(HOST "/good.pem", &leaf);
    send_it(&sent);
    wait_until_seen("/held0.pem", 1);
    stop();
    assert_int_equal(sent.dones, 1);
    assert_int_equal(sent.request.status, 503);
    send_it(&late);
    assert_int_equal(late.dones, 1);
    assert_int_equal(late.request.status, 503);
    write_file("go", "");
}

/* By the system's roots neither the host nor the signer is believed: nothing of the test's is built in. */
static void by_the_systems_roots(void **state)
{
    (void)state;
    static const char *const topics[] = {TOPIC};
    struct sns *own = sns;
    struct sns_parts parts = {.loop = loop,
        .log = events_log,
        .topics = topics,
        .topic_count = 1,
        .patience = 10,
        .endpoint = endpoint};
    bool gone = false;
    assert_int_equal(sns_create(&sns, &parts), 0);
    assert_int_equal(status_of(sent_make(HOST "/good.pem", &leaf)), 503);
    assert_int_equal(seen(NULL), 0);
    if (!sns_stop(sns, has_stopped, &gone))
        for (unsigned i = 0; i < 3000 && !gone; i++)
            io_loop_turn(loop, 10 * NS_PER_MS);
    sns_destroy(sns);
    parts.endpoint = NULL;
    parts.intermediates = BYTES("nothing");
    assert_int_equal(sns_create(&sns, &parts), E_SYNTAX);
    sns = own;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_key_is_fetched_once, setup, teardown),
        cmocka_unit_test_setup_teardown(strangers, setup, teardown),
        cmocka_unit_test_setup_teardown(refused_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(no_certificate, setup, teardown),
        cmocka_unit_test_setup_teardown(one_fetch_for_all, setup, teardown),
        cmocka_unit_test_setup_teardown(few_fetches_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(kept_until_it_ends, setup, teardown),
        cmocka_unit_test_setup_teardown(many_keys, setup, teardown),
        cmocka_unit_test_setup_teardown(subscriptions, setup, teardown),
        cmocka_unit_test_setup_teardown(stopped_meanwhile, setup, teardown),
        cmocka_unit_test_setup_teardown(by_the_systems_roots, setup, teardown),
    };
    return cmocka_run_group_tests(tests, setup_all, teardown_all);
}
