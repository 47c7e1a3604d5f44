/*
 * Whose messages are taken, by itself and through the admin listener, with certificates and confirmations
 * fetched over https from a host of the test's own (sns_host.py). Driver by YATA_IO ("portable" or "uring").
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <jansson.h>
#include <netinet/in.h>
#include <openssl/evp.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "app/admin.h"
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

static int create_io(void)
{
    const char *driver = getenv("YATA_IO");
    struct io_config config = {.choice = driver && strcmp(driver, "uring") == 0 ? IO_URING : IO_PORTABLE};
    struct io_report report;
    return io_create(&io, &config, &report);
}

static int setup(void **state)
{
    (void)state;
    static const char *const topics[] = {TOPIC, OTHER};
    if (create_io() < 0 || io_loop_create(io, &loop) < 0)
        return -1;
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
    for (unsigned i = 0; i < 12000 && !stopped && !idle; i++)
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
    assert_int_equal(io_loop_destroy(loop, 20 * NS_PER_S), 0);
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
    for (unsigned i = 0; i < 12000 && sent->dones == 0; i++)
        io_loop_turn(loop, 10 * NS_PER_MS);
    assert_int_equal(sent->dones, 1);
}

static void wait_until_seen(const char *target, unsigned count)
{
    for (unsigned i = 0; i < 12000 && seen(target) < count; i++)
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
        for (unsigned i = 0; i < 12000 && !gone; i++)
            io_loop_turn(loop, 10 * NS_PER_MS);
    sns_destroy(sns);
    parts.endpoint = NULL;
    parts.intermediates = BYTES("nothing");
    assert_int_equal(sns_create(&sns, &parts), E_SYNTAX);
    sns = own;
}

/* ---- the admin listener ---- */

struct stage {
    struct memory *memory;
    struct cache *cache;
    struct proxy *proxy;
    struct bucket_settings bucket;
    struct settings settings;
    struct event_stats stats;
    struct io_handle listener;
    struct admin *admin;
    struct io_address address;
};

static void stage_up(struct stage *stage)
{
    static const char *const topics[] = {TOPIC};
    const char *why;
    stage->bucket = (struct bucket_settings){.name = "b",
        .path_prefix = "/b",
        .origin = {.name = "b", .endpoint = "file:///nonexistent", .bucket = "photos"},
        .caching = {.enabled = true, .ttl_s = 3600},
        .max_item_bytes = UINT64_MAX};
    stage->settings = (struct settings){
        .server = {.first_byte_timeout_ns = NS_PER_S, .max_concurrent_requests = 10},
        .buckets = &stage->bucket,
        .bucket_count = 1,
        .cache = {.enabled = true, .memory = true, .memory_item_bytes = UINT64_MAX, .chunk_bytes = 262144}};
    struct memory_config memory = {.budget_bytes = 16u << 20};
    assert_int_equal(memory_create(&stage->memory, &memory), 0);
    assert_int_equal(cache_create(&stage->cache, stage->memory, NULL), 0);
    assert_int_equal(cache_join(stage->cache, loop), 0);
    struct proxy_parts parts = {.settings = &stage->settings, .io = io, .cache = stage->cache};
    assert_int_equal(proxy_create(&stage->proxy, &parts, &why), 0);
    struct io_listen_options options = {0};
    assert_int_equal(io_address_parse(&stage->address, "127.0.0.1", 0), 0);
    assert_int_equal(io_listen(io, &stage->address, &options, &stage->listener), 0);
    assert_int_equal(io_local_address(loop, stage->listener, &stage->address), 0);
    struct admin_parts admin = {.io = io,
        .loop = loop,
        .listener = stage->listener,
        .rules = {.token = "secret-token"},
        .proxy = stage->proxy,
        .event_stats = &stage->stats,
        .log = events_log,
        .sns = {.topics = topics,
            .topic_count = 1,
            .endpoint = endpoint,
            .ca_file = ca_file,
            .anchors = root_pem,
            .patience = 10}};
    assert_int_equal(admin_create(&stage->admin, &admin), 0);
}

static void turn_until(const bool *done)
{
    for (unsigned i = 0; i < 6000 && !*done; i++)
        io_loop_turn(loop, 10 * NS_PER_MS);
    assert_true(*done);
}

static void stage_down(struct stage *stage)
{
    bool admin_gone = false, cache_gone = false;
    admin_stop(stage->admin, has_stopped, &admin_gone);
    turn_until(&admin_gone);
    admin_destroy(stage->admin);
    cache_leave(stage->cache, loop, has_stopped, &cache_gone);
    turn_until(&cache_gone);
    proxy_destroy(stage->proxy);
    cache_destroy(stage->cache);
    memory_destroy(stage->memory);
    io_listener_close(io, stage->listener);
}

/* As SNS posts it: no token, its own Host, text/plain. The whole answer, static. */
static const char *post(const struct stage *stage, const char *body)
{
    static char answer[4096];
    char head[256];
    size_t len = 0;
    ssize_t got = -1;
    int client = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    (void)connect(client, (const struct sockaddr *)&stage->address.storage, stage->address.len);
    (void)snprintf(head, sizeof head,
        "POST /admin/events/s3 HTTP/1.0\r\nHost: cache.example\r\nContent-Type: text/plain; charset=UTF-8\r\n"
        "Content-Length: %zu\r\n\r\n",
        strlen(body));
    const struct iovec iov[2] = {{head, strlen(head)}, {(void *)(uintptr_t)body, strlen(body)}};
    while (writev(client, iov, 2) != (ssize_t)(iov[0].iov_len + iov[1].iov_len))
        io_loop_turn(loop, NS_PER_MS);
    for (unsigned i = 0; i < 60000 && got != 0 && len < sizeof answer - 1; i++) {
        io_loop_turn(loop, NS_PER_MS);
        got = read(client, answer + len, sizeof answer - 1 - len);
        len += got > 0 ? (size_t)got : 0;
    }
    answer[len] = 0;
    (void)close(client);
    return answer;
}

/* A message in JSON, signed over what is written here; static. */
static const char *signed_json(const char *type, const char *text, const char *subscribe_url)
{
    static char body[8192];
    char stamp[32], to_sign[4096], base64[800] = "";
    uint8_t signature[512];
    time_t now = (time_t)now_s;
    struct tm tm;
    (void)strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S.000Z", gmtime_r(&now, &tm));
    if (subscribe_url)
        (void)snprintf(to_sign, sizeof to_sign,
            "Message\n%s\nMessageId\n1\nSubscribeURL\n%s\nTimestamp\n%s\nToken\n2\nTopicArn\n" TOPIC
            "\nType\n%s\n",
            text, subscribe_url, stamp, type);
    else
        (void)snprintf(to_sign, sizeof to_sign,
            "Message\n%s\nMessageId\n1\nTimestamp\n%s\nTopicArn\n" TOPIC "\nType\n%s\n", text, stamp, type);
    (void)EVP_EncodeBlock((unsigned char *)base64, signature, (int)signer_sign(&leaf, 2, to_sign, signature));
    json_t *json = json_pack("{ss, ss, ss, ss, ss, ss, ss, ss}", "Type", type, "MessageId", "1", "TopicArn",
        TOPIC, "Message", text, "Timestamp", stamp, "SignatureVersion", "2", "Signature", base64,
        "SigningCertURL", HOST "/good.pem");
    assert_non_null(json);
    if (subscribe_url) {
        json_object_set_new(json, "SubscribeURL", json_string(subscribe_url));
        json_object_set_new(json, "Token", json_string("2"));
    }
    size_t len = json_dumpb(json, body, sizeof body - 1, JSON_COMPACT);
    assert_true(len < sizeof body);
    body[len] = 0;
    json_decref(json);
    return body;
}

static void through_the_admin_listener(void **state)
{
    (void)state;
    static struct stage stage;
    static const char records[] =
        "{\"Records\":[{\"eventName\":\"ObjectCreated:Put\",\"s3\":{\"bucket\":{\"name\":"
        "\"photos\"},\"object\":{\"key\":\"red+cat.jpg\"}}}]}";
    char changed[8192];
    stage_up(&stage);
    const char *answer = post(&stage, signed_json("Notification", records, NULL));
    if (!strstr(answer, " 200 ") ||
        !strstr(answer, "{\"purged\":1,\"ignored\":0,\"unknown_bucket\":0,\"durable\":true}"))
        fail_msg("%s", answer);
    (void)snprintf(changed, sizeof changed, "%s", signed_json("Notification", records, NULL));
    memcpy(strstr(changed, "red+cat"), "red+dog", 7);
    assert_non_null(strstr(post(&stage, changed), " 403 "));
    assert_non_null(strstr(post(&stage, signed_json("Notification", "hello", NULL)), " 400 "));
    assert_non_null(strstr(post(&stage, records), " 401 "));
    assert_non_null(
        strstr(post(&stage, signed_json("SubscriptionConfirmation", "m", CONFIRM "77")), " 200 "));
    assert_int_equal(seen("/?Action=ConfirmSubscription&TopicArn=" TOPIC "&Token=77"), 1);
    assert_non_null(strstr(post(&stage, signed_json("UnsubscribeConfirmation", "m", CONFIRM "78")), " 200 "));
    assert_int_equal(seen(NULL), 2);
    assert_int_equal(counter_get(&proxy_stats(stage.proxy)->purges[0]), 1);
    assert_int_equal(counter_get(&stage.stats.events[EVENT_CREATED][EVENT_PURGED]), 1);
    assert_int_equal(counter_get(&stage.stats.messages[EVENT_ENVELOPE_SNS][EVENT_ACCEPTED]), 3);
    assert_int_equal(counter_get(&stage.stats.messages[EVENT_ENVELOPE_SNS][EVENT_REFUSED]), 1);
    assert_int_equal(counter_get(&stage.stats.messages[EVENT_ENVELOPE_SNS][EVENT_MALFORMED]), 1);
    stage_down(&stage);
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
        cmocka_unit_test_setup_teardown(through_the_admin_listener, setup, teardown),
    };
    if (create_io() < 0)
        return 77; /* no such driver here: skipped */
    (void)io_destroy(io);
    return cmocka_run_group_tests(tests, setup_all, teardown_all);
}
