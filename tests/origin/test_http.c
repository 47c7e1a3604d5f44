/*
 * The HTTP origin against a server that sends exactly what a row says: what goes out, byte for byte, and what
 * is made of every kind of answer: statuses, framings, interim answers, trailers, breaks. Sockets are real.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>
#include <errno.h>

#include "base/clock.h"
#include "base/error.h"
#include "rig.h"

/* ---- the server: one thread, one connection after the other ---- */

/* What it does with a connection, in order. */
struct act {
    enum { END, HEAD, UNTIL, SEND, WAIT, RESET } kind; /* END: closes */
    const char *text;                                  /* UNTIL: received; SEND: sent */
    unsigned ms;
};

#define ACTS 12
struct server {
    int listener;
    _Atomic int connection; /* being served; -1: none */
    _Atomic bool stopping;
    unsigned port, connections;
    pthread_t thread;
    struct act acts[4][ACTS]; /* of the first, second ... connection; the last repeats */
    unsigned scripts;
    char got[64 * 1024]; /* of all connections */
    size_t got_len;
};

static struct server server;

static bool receive_until(int fd, size_t from, const char *text)
{
    while (memmem(server.got + from, server.got_len - from, text, strlen(text)) == NULL) {
        ssize_t got = recv(fd, server.got + server.got_len, sizeof server.got - 1 - server.got_len, 0);
        if (got <= 0)
            return false;
        server.got_len += (size_t)got;
    }
    return true;
}

static void serve(int fd, const struct act *acts)
{
    size_t from = server.got_len;
    for (; acts->kind != END; acts++) {
        if (acts->kind == HEAD || acts->kind == UNTIL) {
            const char *text = acts->kind == HEAD ? "\r\n\r\n" : acts->text;
            if (!receive_until(fd, from, text))
                return;
            from = (size_t)((char *)memmem(server.got + from, server.got_len - from, text, strlen(text)) -
                            server.got) +
                   strlen(text);
        } else if (acts->kind == SEND) {
            if (send(fd, acts->text, strlen(acts->text), MSG_NOSIGNAL) < 0)
                return;
        } else if (acts->kind == WAIT) {
            usleep(acts->ms * 1000);
        } else {
            struct linger linger = {1, 0};
            setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
            return;
        }
    }
}

static void *server_run(void *context)
{
    (void)context;
    for (int fd; (fd = accept(server.listener, NULL, NULL)) >= 0; close(fd)) {
        unsigned n = server.connections < server.scripts ? server.connections : server.scripts - 1;
        server.connections++;
        server.connection = fd;
        if (!server.stopping) /* else server_stop may not have seen this connection */
            serve(fd, server.acts[n]);
        server.connection = -1;
    }
    return NULL;
}

static void server_start(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t len = sizeof address;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    server = (struct server){.connection = -1, .listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    assert_int_equal(bind(server.listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(server.listener, 8), 0);
    assert_int_equal(getsockname(server.listener, (struct sockaddr *)&address, &len), 0);
    server.port = ntohs(address.sin_port);
}

static void server_go(void)
{
    assert_int_equal(pthread_create(&server.thread, NULL, server_run, NULL), 0);
}

static void server_stop(void)
{
    server.stopping = true;
    int connection = server.connection;
    shutdown(server.listener, SHUT_RDWR);
    if (connection >= 0) /* its other end is closed by turns of the loop, which has none now */
        shutdown(connection, SHUT_RDWR);
    pthread_join(server.thread, NULL);
    close(server.listener);
    server.got[server.got_len] = '\0';
}

/* ---- the fetch ---- */

struct ask {
    struct caught caught;
    struct origin *origin;
    struct origin_upload upload;
    const char *pieces[8]; /* of the upload; "" waits for 50 ms */
    unsigned piece, interims;
    uint64_t feed_ns;
    unsigned interim_status;
    char interim_field[64], trailers[256];
    bool broken;
};

static struct ask *ask_of(struct origin_fetch *fetch)
{
    return CONTAINER_OF(CONTAINER_OF(fetch, struct caught, fetch), struct ask, caught);
}

static ssize_t on_upload(struct origin_fetch *fetch, void *to, size_t capacity)
{
    struct ask *ask = ask_of(fetch);
    const char *piece = ask->pieces[ask->piece];
    if (ask->broken)
        return ORIGIN_UPLOAD_BROKEN;
    if (piece == NULL)
        return ORIGIN_UPLOAD_END;
    ask->piece++;
    if (piece[0] == '\0') {
        ask->feed_ns = clock_monotonic_ns() + 50 * NS_PER_MS;
        return 0;
    }
    assert_true(strlen(piece) <= capacity);
    memcpy(to, piece, strlen(piece));
    return (ssize_t)strlen(piece);
}

static void on_interim(struct origin_fetch *fetch, const struct origin_head *head)
{
    struct ask *ask = ask_of(fetch);
    ask->interims++;
    ask->interim_status = head->status;
    if (head->field_count > 0)
        snprintf(ask->interim_field, sizeof ask->interim_field, "%.*s=%.*s", (int)head->fields[0].name.len,
            (const char *)head->fields[0].name.ptr, (int)head->fields[0].value.len,
            (const char *)head->fields[0].value.ptr);
}

static void (*caught_done)(struct origin_fetch *fetch);

static void on_done(struct origin_fetch *fetch)
{
    struct ask *ask = ask_of(fetch);
    struct writer w = writer_of(ask->trailers, sizeof ask->trailers - 1);
    for (unsigned i = 0; i < fetch->trailer_count; i++) {
        write_bytes(&w, fetch->trailers[i].name);
        write_u8(&w, '=');
        write_bytes(&w, fetch->trailers[i].value);
        write_u8(&w, ' ');
    }
    caught_done(fetch);
}

static void ask_run(struct ask *ask, struct rig *rig, const struct origin_config *base)
{
    char endpoint[64];
    const char *why;
    struct origin_config config = base ? *base : (struct origin_config){0};
    snprintf(endpoint, sizeof endpoint, "http://127.0.0.1:%u/base", server.port);
    config.protocol = ORIGIN_PROTOCOL_HTTP;
    config.endpoint = endpoint;
    config.initial_backoff_ns = 10 * NS_PER_MS;
    assert_int_equal(origin_create(&ask->origin, &config, &why), 0);
    struct origin_fetch *fetch = &ask->caught.fetch;
    if (ask->upload.read == NULL && (ask->upload.length > 0 || ask->pieces[0] != NULL)) {
        ask->upload.read = on_upload;
        fetch->request.upload = &ask->upload;
    }
    if (fetch->request.target.len == 0)
        fetch->request.target = BYTES("/t?q=1");
    fetch->interim = on_interim;
    caught_start(&ask->caught, rig, ask->origin, "");
    caught_done = fetch->done;
    fetch->done = on_done;
    uint64_t end_ns = clock_monotonic_ns() + 30 * NS_PER_S;
    while (ask->caught.dones == 0) {
        io_loop_turn(rig->loop, NS_PER_MS);
        uint64_t now_ns = clock_monotonic_ns();
        if (ask->feed_ns != 0 && now_ns >= ask->feed_ns && ask->caught.dones == 0) {
            ask->feed_ns = 0;
            origin_fetch_feed(fetch);
        }
        if (ask->caught.paused && now_ns >= ask->caught.resume_ns && ask->caught.dones == 0) {
            ask->caught.paused = false;
            origin_fetch_resume(fetch);
        }
        assert_true(now_ns < end_ns);
    }
}

static void ask_end(struct ask *ask)
{
    caught_free(&ask->caught);
    origin_destroy(ask->origin);
}

#define OK "HTTP/1.1 200 OK\r\n"
#define CHUNKED "Transfer-Encoding: chunked\r\n"

/* ---- what is made of an answer ---- */

struct row {
    const char *answer; /* then the connection is closed */
    int error;
    unsigned status;
    const char *body, *trailers;
    unsigned interims;
    bool head_only, resets;
};

static void test_answers(void **state)
{
    static const struct row rows[] = {
        {OK "Content-Length: 5\r\n\r\nhello", 0, 200, "hello", "", 0, false, false},
        {OK "Content-Length: 0\r\n\r\n", 0, 200, "", "", 0, false, false},
        {OK CHUNKED "\r\n5\r\nhello\r\n0\r\n\r\n", 0, 200, "hello", "", 0, false, false},
        {OK CHUNKED "\r\n5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n", 0, 200, "hello", "X-Sum=1 ", 0, false, false},
        {OK CHUNKED "\r\n5\r\nhello\r\n0\r\nContent-Length: 9\r\nY: 2\r\n\r\n", 0, 200, "hello", "Y=2 ", 0,
            false, false},
        {OK "\r\nup to the end", 0, 200, "up to the end", "", 0, false, false},
        {"HTTP/1.0 200 OK\r\n\r\nold", 0, 200, "old", "", 0, false, false},
        {"HTTP/1.1 404 Gone\r\nContent-Length: 2\r\n\r\nno", 0, 404, "no", "", 0, false, false},
        {"HTTP/1.1 503 Busy\r\nContent-Length: 2\r\n\r\nno", 0, 503, "no", "", 0, false, false},
        {"HTTP/1.1 302 There\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n", 0, 302, "", "", 0, false, false},
        {"HTTP/1.1 204 None\r\n\r\n", 0, 204, "", "", 0, false, false},
        {"HTTP/1.1 304 Same\r\nContent-Length: 9\r\n\r\n", 0, 304, "", "", 0, false, false},
        {"HTTP/1.1 103 Hints\r\nLink: a\r\n\r\n" OK "Content-Length: 1\r\n\r\nx", 0, 200, "x", "", 1, false,
            false},
        {"HTTP/1.1 102 P\r\n\r\nHTTP/1.1 103 Hints\r\nLink: a\r\n\r\n" OK "Content-Length: 1\r\n\r\nx", 0,
            200, "x", "", 2, false, false},
        {OK "Content-Length: 5\r\n\r\n", 0, 200, "", "", 0, true, false},
        {OK CHUNKED "\r\n", 0, 200, "", "", 0, true, false},
        /* cut */
        {OK "Content-Length: 5\r\n\r\nhel", E_TRUNCATED, 200, "hel", "", 0, false, false},
        {OK CHUNKED "\r\n5\r\nhello\r\n", E_TRUNCATED, 200, "hello", "", 0, false, false},
        {OK CHUNKED "\r\n9\r\nhello", E_TRUNCATED, 200, "hello", "", 0, false, false},
        {OK CHUNKED "\r\n5\r\nhello\r\n0\r\n", E_TRUNCATED, 200, "hello", "", 0, false, false},
        {OK "\r\ncut off", E_TRUNCATED, 200, NULL, "", 0, false, true},
        {OK "Content-Len", E_PROTOCOL, 0, "", "", 0, false, false},
        {"", E_TRUNCATED, 0, "", "", 0, false, false},
        /* nonsense */
        {OK CHUNKED "Content-Length: 5\r\n\r\n5\r\nhello\r\n0\r\n\r\n", E_PROTOCOL, 0, "", "", 0, false,
            false},
        {OK "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!", E_PROTOCOL, 0, "", "", 0, false, false},
        {OK "Transfer-Encoding: gzip\r\n\r\nx", E_PROTOCOL, 0, "", "", 0, false, false},
        {OK CHUNKED "\r\nx\r\nhello\r\n0\r\n\r\n", E_TRUNCATED, 200, "", "", 0, false, false},
        {OK CHUNKED "\r\n5\r\nhello\r\n0\r\nno trailer\r\n\r\n", E_PROTOCOL, 200, "hello", "", 0, false,
            false},
        {"HTTP/1.1 101 Switch\r\nUpgrade: x\r\n\r\n", E_PROTOCOL, 0, "", "", 0, false, false},
        {"nonsense\r\n\r\n", E_PROTOCOL, 0, "", "", 0, false, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct ask ask = {.caught.fetch.request = {.verbatim = true, .head_only = rows[i].head_only}};
        server_start();
        server.scripts = 1;
        server.acts[0][0] = (struct act){.kind = HEAD};
        server.acts[0][1] = (struct act){.kind = SEND, .text = rows[i].answer};
        if (rows[i].resets) {
            server.acts[0][2] = (struct act){.kind = WAIT, .ms = 50};
            server.acts[0][3] = (struct act){.kind = RESET};
        }
        server_go();
        ask_run(&ask, *state, &(struct origin_config){.max_attempts = 1});
        server_stop();
        const struct caught *caught = &ask.caught;
        if (caught->fetch.error != rows[i].error || caught->status != rows[i].status ||
            ask.interims != rows[i].interims || strcmp(ask.trailers, rows[i].trailers) != 0)
            fail_msg("row %zu: error %d, status %u, %u interim, trailers %s", i, caught->fetch.error,
                caught->status, ask.interims, ask.trailers);
        if (rows[i].body != NULL &&
            !bytes_equal(bytes_of(caught->bytes, caught->len), bytes_of_string(rows[i].body)))
            fail_msg("row %zu: body of %zu bytes", i, caught->len);
        ask_end(&ask);
    }
}

/* ---- what goes out ---- */

static void expect_sent(struct rig *rig, struct ask *ask, const char *until, const char *expected)
{
    server_start();
    server.scripts = 1;
    server.acts[0][0] = (struct act){.kind = UNTIL, .text = until};
    server.acts[0][1] = (struct act){.kind = SEND, .text = OK "Content-Length: 2\r\n\r\nok"};
    server_go();
    ask_run(ask, rig, NULL);
    server_stop();
    char text[4096];
    const char *hole = strstr(expected, "PORT");
    snprintf(text, sizeof text, "%.*s%u%s", (int)(hole - expected), expected, server.port, hole + 4);
    assert_int_equal(ask->caught.fetch.error, 0);
    assert_string_equal(server.got, text);
    ask_end(ask);
}

static void test_request_is_sent_as_it_is(void **state)
{
    static const struct origin_field fields[] = {
        {BYTES("x-FIRST"), BYTES("1")},
        {BYTES("Cookie"), BYTES("a=b")},
        {BYTES("X-Twice"), BYTES("1")},
        {BYTES("accept"), BYTES("text/*")},
        {BYTES("X-Twice"), BYTES("2")},
        {BYTES("X-Empty"), BYTES("")},
    };
    struct ask ask = {.caught.fetch.request = {
                          .method = BYTES("Report"),
                          .target = BYTES("/a%2fb//c?b=2&a=%31&&"),
                          .fields = fields,
                          .field_count = 6,
                          .verbatim = true,
                          .says_empty = true,
                          .wants_trailers = true,
                      }};
    expect_sent(*state, &ask, "\r\n\r\n",
        "Report /base/a%2fb//c?b=2&a=%31&& HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nx-FIRST: 1\r\nCookie: "
        "a=b\r\nX-Twice: 1\r\naccept: text/*\r\nX-Twice: 2\r\nX-Empty:\r\nTE: trailers\r\nConnection: "
        "TE\r\nContent-Length: 0\r\n\r\n");
}

static void test_wishes_of_a_cache(void **state)
{
    struct ask ask = {.caught.fetch.request = {
                          .ranged = true,
                          .first = 5,
                          .last = 9,
                          .if_none_match = BYTES("\"a\""),
                      }};
    server_start();
    server.scripts = 1;
    server.acts[0][0] = (struct act){.kind = HEAD};
    server.acts[0][1] = (struct act){.kind = SEND,
        .text = "HTTP/1.1 206 P\r\nContent-Range: bytes 5-9/20\r\nContent-Length: 5\r\n\r\n56789"};
    server_go();
    ask_run(&ask, *state, NULL);
    server_stop();
    assert_int_equal(ask.caught.fetch.error, 0);
    assert_int_equal(ask.caught.total, 20);
    assert_non_null(strstr(server.got, "\r\nRange: bytes=5-9\r\nIf-None-Match: \"a\"\r\n\r\n"));
    ask_end(&ask);
}

static void test_other_host(void **state)
{
    struct ask ask = {.caught.fetch.request = {.verbatim = true, .host = BYTES("shop.example:PORT")}};
    server_start();
    server.scripts = 1;
    server.acts[0][0] = (struct act){.kind = HEAD};
    server.acts[0][1] = (struct act){.kind = SEND, .text = OK "Content-Length: 0\r\n\r\n"};
    server_go();
    ask_run(&ask, *state, NULL);
    server_stop();
    assert_string_equal(server.got, "GET /base/t?q=1 HTTP/1.1\r\nHost: shop.example:PORT\r\n\r\n");
    ask_end(&ask);
}

static void test_upload_with_length(void **state)
{
    struct ask ask = {.caught.fetch.request = {.verbatim = true, .method = BYTES("PUT")},
        .upload = {.length = 10},
        .pieces = {"hello", "", "world"}};
    expect_sent(*state, &ask, "world",
        "PUT /base/t?q=1 HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nContent-Length: 10\r\n\r\nhelloworld");
}

static void test_get_with_a_body(void **state)
{
    struct ask ask = {
        .caught.fetch.request = {.verbatim = true}, .upload = {.length = 5}, .pieces = {"hello"}};
    expect_sent(*state, &ask, "hello",
        "GET /base/t?q=1 HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nContent-Length: 5\r\n\r\nhello");
}

static void test_upload_in_chunks_with_trailers(void **state)
{
    static const struct origin_field trailers[] = {{BYTES("X-Sum"), BYTES("5")}, {BYTES("Y"), BYTES("a b")}};
    struct ask ask = {.caught.fetch.request = {.verbatim = true, .method = BYTES("POST")},
        .upload = {.length = ORIGIN_UPLOAD_CHUNKED, .trailers = trailers, .trailer_count = 2},
        .pieces = {"hello", "", "world!"}};
    expect_sent(*state, &ask, "Y: a b\r\n\r\n",
        "POST /base/t?q=1 HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nTransfer-Encoding: chunked\r\n\r\n"
        "5\r\nhello\r\n6\r\nworld!\r\n0\r\nX-Sum: 5\r\nY: a b\r\n\r\n");
}

/* The body is not asked for before the origin wants it. */
static void test_expectation(void **state)
{
    struct ask ask = {.caught.fetch.request = {.verbatim = true, .method = BYTES("PUT")},
        .upload = {.length = 5, .expect = true},
        .pieces = {"hello"}};
    server_start();
    server.scripts = 1;
    server.acts[0][0] = (struct act){.kind = HEAD};
    server.acts[0][1] = (struct act){.kind = SEND, .text = "HTTP/1.1 100 Continue\r\n\r\n"};
    server.acts[0][2] = (struct act){.kind = UNTIL, .text = "hello"};
    server.acts[0][3] = (struct act){.kind = SEND, .text = OK "Content-Length: 0\r\n\r\n"};
    server_go();
    ask_run(&ask, *state, NULL);
    server_stop();
    assert_int_equal(ask.caught.fetch.error, 0);
    assert_int_equal(ask.interims, 0);
    assert_non_null(strstr(server.got, "\r\nExpect: 100-continue\r\n"));
    ask_end(&ask);
}

/* False: it took so long that libcurl may no longer have waited for the origin's word; it does for 1 s. */
static bool refused_in_time(struct rig *rig, const char *answer, unsigned status)
{
    struct ask ask = {.caught.fetch.request = {.verbatim = true, .method = BYTES("PUT")},
        .upload = {.length = 5, .expect = true},
        .pieces = {"hello"}};
    uint64_t begun_ns = clock_monotonic_ns();
    server_start();
    server.scripts = 1;
    server.acts[0][0] = (struct act){.kind = HEAD};
    server.acts[0][1] = (struct act){.kind = SEND, .text = answer};
    server_go();
    ask_run(&ask, rig, NULL);
    server_stop();
    bool in_time = clock_monotonic_ns() - begun_ns < 900 * NS_PER_MS;
    if (in_time) {
        assert_int_equal(ask.caught.fetch.error, 0);
        assert_int_equal(ask.caught.status, status);
        assert_int_equal(ask.piece, 0);
        assert_int_equal(server.connections, 1);
    }
    ask_end(&ask);
    return in_time;
}

static void test_expectation_refused(void **state)
{
    static const char *const answers[] = {
        "HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno", "HTTP/1.1 417 No\r\nContent-Length: 2\r\n\r\nno"};
    for (int i = 0; i < 2; i++) {
        unsigned tries = 1;
        while (!refused_in_time(*state, answers[i], i == 0 ? 403 : 417))
            assert_true(tries++ < 20);
    }
}

/* ---- never twice ---- */

static void check_connections(struct rig *rig, struct ask *ask, unsigned connections, int error)
{
    server_start();
    server.scripts = 2;
    server.acts[0][0] = (struct act){.kind = HEAD};
    server.acts[1][0] = (struct act){.kind = HEAD};
    server.acts[1][1] = (struct act){.kind = SEND, .text = OK "Content-Length: 0\r\n\r\n"};
    server_go();
    ask_run(ask, rig, NULL);
    server_stop();
    assert_int_equal(ask->caught.fetch.error, error);
    assert_int_equal(server.connections, connections);
    ask_end(ask);
}

static void test_only_what_is_safe_is_sent_again(void **state)
{
    struct ask get = {.caught.fetch.request = {.verbatim = true}};
    check_connections(*state, &get, 2, 0);
    struct ask options = {.caught.fetch.request = {.verbatim = true, .method = BYTES("OPTIONS")}};
    check_connections(*state, &options, 2, 0);
    struct ask post = {.caught.fetch.request = {.verbatim = true, .method = BYTES("POST")}};
    check_connections(*state, &post, 1, E_TRUNCATED);
    struct ask remove = {.caught.fetch.request = {.verbatim = true, .method = BYTES("DELETE")}};
    check_connections(*state, &remove, 1, E_TRUNCATED);
    struct ask put = {.caught.fetch.request = {.verbatim = true, .method = BYTES("PUT")},
        .upload = {.length = 5},
        .pieces = {"hello"}};
    check_connections(*state, &put, 1, E_TRUNCATED);
}

/* A kept connection that dies before it answers says nothing of what was done: libcurl would send again. */
static void test_a_kept_connection_is_not_for_what_has_effects(void **state)
{
    struct rig *rig = *state;
    struct ask get = {.caught.fetch.request = {.verbatim = true}},
               post = {
                   .caught.fetch.request = {.verbatim = true, .method = BYTES("POST"), .says_empty = true}};
    server_start();
    server.scripts = 1;
    server.acts[0][0] = (struct act){.kind = HEAD};
    server.acts[0][1] = (struct act){.kind = SEND, .text = OK "Content-Length: 0\r\n\r\n"};
    server.acts[0][2] = (struct act){.kind = WAIT, .ms = 200};
    server_go();
    ask_run(&get, rig, NULL);
    assert_int_equal(get.caught.fetch.error, 0);
    ask_run(&post, rig, NULL);
    server_stop();
    assert_int_equal(post.caught.fetch.error, 0);
    assert_int_equal(server.connections, 2);
    ask_end(&get);
    ask_end(&post);
}

static void test_a_broken_body_is_taken_up(void **state)
{
    struct ask ask = {.caught.fetch.request = {.method = (struct bytes){0}}};
    server_start();
    server.scripts = 2;
    server.acts[0][0] = (struct act){.kind = HEAD};
    server.acts[0][1] =
        (struct act){.kind = SEND, .text = OK "ETag: \"a\"\r\nContent-Length: 10\r\n\r\n01234"};
    server.acts[1][0] = (struct act){.kind = HEAD};
    server.acts[1][1] = (struct act){.kind = SEND,
        .text = "HTTP/1.1 206 P\r\nETag: \"a\"\r\nContent-Range: bytes 5-9/10\r\nContent-Length: "
                "5\r\n\r\n56789"};
    server_go();
    ask_run(&ask, *state, NULL);
    server_stop();
    assert_int_equal(ask.caught.fetch.error, 0);
    assert_true(bytes_equal(bytes_of(ask.caught.bytes, ask.caught.len), BYTES("0123456789")));
    assert_non_null(strstr(server.got, "Range: bytes=5-9\r\nIf-Match: \"a\"\r\n"));
    ask_end(&ask);
}

/* ---- pace, ends, refusals ---- */

static void test_reader_and_writer_pause(void **state)
{
    struct ask ask = {.caught = {.take_max = 1,
                          .pause_ns = 5 * NS_PER_MS,
                          .fetch.request = {.verbatim = true, .method = BYTES("POST")}},
        .upload = {.length = ORIGIN_UPLOAD_CHUNKED},
        .pieces = {"a", "", "b", "", "c"}};
    server_start();
    server.scripts = 1;
    server.acts[0][0] = (struct act){.kind = HEAD};
    server.acts[0][1] = (struct act){.kind = SEND, .text = OK "Content-Length: 8\r\n\r\n0123"};
    server.acts[0][2] = (struct act){.kind = UNTIL, .text = "0\r\n\r\n"};
    server.acts[0][3] = (struct act){.kind = SEND, .text = "4567"};
    server_go();
    ask_run(&ask, *state, NULL);
    server_stop();
    assert_int_equal(ask.caught.fetch.error, 0);
    assert_true(bytes_equal(bytes_of(ask.caught.bytes, ask.caught.len), BYTES("01234567")));
    ask_end(&ask);
}

static void test_broken_upload(void **state)
{
    struct ask ask = {.caught.fetch.request = {.verbatim = true, .method = BYTES("PUT")},
        .upload = {.length = 5},
        .broken = true};
    server_start();
    server.scripts = 1;
    server.acts[0][0] = (struct act){.kind = UNTIL, .text = "never"};
    server_go();
    ask_run(&ask, *state, NULL);
    server_stop();
    assert_int_equal(ask.caught.fetch.error, E_CANCELED);
    ask_end(&ask);
}

static void test_silent_origin(void **state)
{
    struct ask ask = {.caught.fetch.request = {.verbatim = true, .method = BYTES("PUT")},
        .upload = {.length = 5},
        .pieces = {"hello"}};
    server_start();
    server.scripts = 1;
    server.acts[0][0] = (struct act){.kind = UNTIL, .text = "never"};
    server_go();
    ask_run(&ask, *state,
        &(struct origin_config){
            .first_byte_timeout_ns = 200 * NS_PER_MS, .stall_timeout_ns = 200 * NS_PER_MS});
    server_stop();
    assert_int_equal(ask.caught.fetch.error, E_TIMEOUT);
    ask_end(&ask);
}

static void test_what_can_t_stand_in_a_request(void **state)
{
    static const struct origin_field splits[] = {{BYTES("A"), BYTES("b\r\nC: d")}},
                                     odd[] = {{BYTES("A b"), BYTES("c")}};
    static const struct origin_request rows[] = {
        {.target = BYTES("/a b")},
        {.target = BYTES("/a\r\nX: y")},
        {.target = BYTES("/a\t")},
        {.target = BYTES("a")},
        {.target = BYTES("/a"), .method = BYTES("GE T")},
        {.target = BYTES("/a"), .method = BYTES("GET\r\n")},
        {.target = BYTES("/a"), .host = BYTES("h\r\nX: y")},
        {.target = BYTES("/a"), .fields = splits, .field_count = 1},
        {.target = BYTES("/a"), .fields = odd, .field_count = 1},
        {.target = BYTES("/a"), .if_match = BYTES("\"a\"\r\nX: y")},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct ask ask = {.caught.fetch.request = rows[i]};
        server_start();
        server.scripts = 1;
        server.acts[0][0] = (struct act){.kind = HEAD};
        server_go();
        ask_run(&ask, *state, NULL);
        server_stop();
        if (ask.caught.fetch.error != E_SYNTAX || server.connections != 0)
            fail_msg("row %zu: %d", i, ask.caught.fetch.error);
        ask_end(&ask);
    }
}

static int setup(void **state)
{
    static struct rig rig;
    rig_init(&rig);
    *state = &rig;
    return 0;
}

static int teardown(void **state)
{
    rig_deinit(*state);
    return 0;
}

#define STORY(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(test_answers),
        STORY(test_request_is_sent_as_it_is),
        STORY(test_wishes_of_a_cache),
        STORY(test_other_host),
        STORY(test_upload_with_length),
        STORY(test_get_with_a_body),
        STORY(test_upload_in_chunks_with_trailers),
        STORY(test_expectation),
        STORY(test_expectation_refused),
        STORY(test_only_what_is_safe_is_sent_again),
        STORY(test_a_kept_connection_is_not_for_what_has_effects),
        STORY(test_a_broken_body_is_taken_up),
        STORY(test_reader_and_writer_pause),
        STORY(test_broken_upload),
        STORY(test_silent_origin),
        STORY(test_what_can_t_stand_in_a_request),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
