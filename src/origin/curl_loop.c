#include "origin/curl_loop.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/error.h"
#include "origin/alarm.h"

#if LIBCURL_VERSION_NUM < 0x075700
#error "libcurl 7.87 or newer is needed (CURLOPT_QUICK_EXIT, CURLOPT_CA_CACHE_TIMEOUT)"
#endif

#define DNS_TTL_S 30L
#define CONNECTION_LIFE_S 300L
#define CONNECTION_IDLE_S 60L
#define KEEP_MAX 1024

struct curl_loop {
    struct io_loop *io;
    CURLM *multi;
    struct alarm alarm;
    struct list_node
        watches; /* of descriptors that curl uses, and of forgotten ones whose poll is still out */
    struct list_node openings;
    void (*finished)(CURL *easy, CURLcode code);
    bool inside, stopping;
    unsigned keep;
    void (*idle)(void *context);
    void *idle_context;
};

struct watch {
    struct list_node node;
    struct io_op poll;
    struct curl_loop *loop;
    curl_socket_t fd;
    int wanted;     /* IO_READABLE, IO_WRITABLE */
    int polled;     /* what the poll in flight waits for */
    bool changing;  /* that poll was cancelled, since something else is wanted */
    bool forgotten; /* by curl; lives only until its poll has come back */
    bool running;   /* in its own callback */
};

/* A socket that has never been waited for to become readable: it may not have connected yet. */
struct opening {
    struct list_node node;
    curl_socket_t fd;
};

static void enter(struct curl_loop *loop)
{
    CHECK(!loop->inside);
    loop->inside = true;
}

static void opening_end(struct opening *opening)
{
    list_remove(&opening->node);
    free(opening);
}

/* It has connected, or on_close has come for it. */
static void opening_over(struct curl_loop *loop, curl_socket_t fd)
{
    for (struct list_node *node = loop->openings.next; node != &loop->openings; node = node->next) {
        struct opening *opening = CONTAINER_OF(node, struct opening, node);
        if (opening->fd == fd) {
            opening_end(opening);
            return;
        }
    }
}

/* libcurl before 8.1 closes sockets that have not connected by itself, without on_close. Their numbers are
 * free from then on: the loop must know it before anything else has one of them, in this call or after it. */
static void end_lost(struct curl_loop *loop)
{
    for (struct list_node *node = loop->openings.next, *next; node != &loop->openings; node = next) {
        struct opening *opening = CONTAINER_OF(node, struct opening, node);
        next = node->next;
        if (io_foreign_lost(loop->io, opening->fd))
            opening_end(opening);
    }
}

static void leave(struct curl_loop *loop)
{
    CHECK(loop->inside);
    loop->inside = false;
    end_lost(loop);
}

/* ---- descriptors ---- */

static bool is_idle(const struct curl_loop *loop)
{
    return list_empty(&loop->watches) && !alarm_busy(&loop->alarm);
}

static void tell_idle(struct curl_loop *loop)
{
    if (!loop->stopping || loop->idle == NULL || !is_idle(loop))
        return;
    void (*idle)(void *context) = loop->idle;
    loop->idle = NULL;
    idle(loop->idle_context);
}

static struct watch *watch_of(struct curl_loop *loop, curl_socket_t fd, bool forgotten)
{
    for (struct list_node *node = loop->watches.next; node != &loop->watches; node = node->next) {
        struct watch *watch = CONTAINER_OF(node, struct watch, node);
        if (watch->fd == fd && watch->forgotten == forgotten)
            return watch;
    }
    return NULL;
}

static void watch_arm(struct watch *watch)
{
    CHECK(!io_op_busy(&watch->poll));
    if (watch->wanted == 0 || watch_of(watch->loop, watch->fd, true) != NULL)
        return;
    watch->polled = watch->wanted;
    io_poll(watch->loop->io, &watch->poll, watch->fd, watch->wanted);
}

static void watch_free(struct watch *watch)
{
    struct curl_loop *loop = watch->loop;
    curl_socket_t fd = watch->fd;
    list_remove(&watch->node);
    free(watch);
    struct watch *successor = watch_of(loop, fd, false);
    if (successor != NULL && !io_op_busy(&successor->poll) && !successor->running)
        watch_arm(successor);
    tell_idle(loop);
}

static void drain_finished(struct curl_loop *loop)
{
    CURLMsg *message;
    int left;
    while ((message = curl_multi_info_read(loop->multi, &left)) != NULL) {
        CURL *easy = message->easy_handle; /* the message dies with the handle's removal */
        CURLcode code = message->data.result;
        if (message->msg == CURLMSG_DONE)
            loop->finished(easy, code);
    }
}

static void act(struct curl_loop *loop, curl_socket_t fd, int mask)
{
    int running;
    enter(loop);
    curl_multi_socket_action(loop->multi, fd, mask, &running);
    leave(loop);
    drain_finished(loop);
}

static void watch_polled(struct io_op *op)
{
    struct watch *watch = CONTAINER_OF(op, struct watch, poll);
    if (watch->forgotten) {
        watch_free(watch);
        return;
    }
    bool changing = watch->changing;
    watch->changing = false;
    if (op->result == -ECANCELED) { /* by us; or the loop ends, and then nothing is wanted any more */
        if (changing)
            watch_arm(watch);
        return;
    }
    int mask = op->result < 0 ? CURL_CSELECT_ERR
                              : (op->result & IO_READABLE ? CURL_CSELECT_IN : 0) |
                                    (op->result & IO_WRITABLE ? CURL_CSELECT_OUT : 0);
    watch->running = true;
    act(watch->loop, watch->fd, mask);
    watch->running = false;
    if (watch->forgotten)
        watch_free(watch);
    else
        watch_arm(watch);
}

static void watch_forget(struct curl_loop *loop, struct watch *watch)
{
    watch->forgotten = true;
    watch->wanted = 0;
    if (io_op_busy(&watch->poll))
        io_cancel(loop->io, &watch->poll);
    else if (!watch->running)
        watch_free(watch);
}

static struct watch *watch_create(struct curl_loop *loop, curl_socket_t fd)
{
    struct watch *watch = calloc(1, sizeof *watch);
    if (watch == NULL)
        return NULL;
    watch->loop = loop;
    watch->fd = fd;
    io_op_init(&watch->poll, watch_polled);
    list_push_back(&loop->watches, &watch->node);
    return watch;
}

/* curl tells what it waits for. May be called while curl runs: only ops are submitted and cancelled. */
static int on_socket(CURL *easy, curl_socket_t fd, int what, void *context, void *attached)
{
    struct curl_loop *loop = context;
    struct watch *watch = watch_of(loop, fd, false);
    (void)easy;
    (void)attached;
    end_lost(loop);
    if (what == CURL_POLL_REMOVE) {
        if (watch != NULL)
            watch_forget(loop, watch);
        return 0;
    }
    if (watch == NULL && (watch = watch_create(loop, fd)) == NULL)
        return 0; /* not -1, after which curl would refuse all work for ever: this transfer runs into its
                     deadline */
    watch->wanted = (what & CURL_POLL_IN ? IO_READABLE : 0) | (what & CURL_POLL_OUT ? IO_WRITABLE : 0);
    if (what & CURL_POLL_IN)
        opening_over(loop, fd);
    if (!io_op_busy(&watch->poll) && !watch->running) {
        watch_arm(watch);
    } else if (io_op_busy(&watch->poll) && watch->polled != watch->wanted) {
        watch->changing = true;
        io_cancel(loop->io, &watch->poll);
    }
    return 0;
}

static curl_socket_t on_open(void *context, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct curl_loop *loop = context;
    (void)purpose;
    end_lost(loop);
    struct opening *opening = calloc(1, sizeof *opening);
    int fd = opening == NULL
                 ? -ENOMEM
                 : io_foreign_open(loop->io, address->family, address->socktype, address->protocol);
    if (fd < 0) {
        free(opening);
        return CURL_SOCKET_BAD;
    }
    opening->fd = fd;
    list_push_back(&loop->openings, &opening->node);
    return fd;
}

static int on_close(void *context, curl_socket_t fd)
{
    struct curl_loop *loop = context;
    opening_over(loop, fd);
    io_foreign_close(loop->io, fd);
    return 0;
}

/* ---- the timer ---- */

static int on_timer(CURLM *multi, long timeout_ms, void *context)
{
    struct curl_loop *loop = context;
    (void)multi;
    if (timeout_ms < 0 || loop->stopping)
        alarm_clear(&loop->alarm);
    else
        alarm_set(&loop->alarm, io_now_ns(loop->io) + (uint64_t)timeout_ms * NS_PER_MS);
    return 0;
}

static void on_alarm(struct alarm *alarm)
{
    struct curl_loop *loop = CONTAINER_OF(alarm, struct curl_loop, alarm);
    if (loop->stopping)
        tell_idle(loop);
    else
        act(loop, CURL_SOCKET_TIMEOUT, 0);
}

static void on_alarm_idle(struct alarm *alarm)
{
    tell_idle(CONTAINER_OF(alarm, struct curl_loop, alarm));
}

/* ---- the contract ---- */

static void global_init(void)
{
    curl_global_init(CURL_GLOBAL_DEFAULT);
}

struct curl_loop *curl_loop_create(struct io_loop *io, void (*finished)(CURL *easy, CURLcode code))
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, global_init);
    struct curl_loop *loop = calloc(1, sizeof *loop);
    if (loop == NULL)
        return NULL;
    loop->multi = curl_multi_init();
    if (loop->multi == NULL) {
        free(loop);
        return NULL;
    }
    loop->io = io;
    loop->finished = finished;
    list_init(&loop->watches);
    list_init(&loop->openings);
    alarm_init(&loop->alarm, io, on_alarm, on_alarm_idle);
    curl_multi_setopt(loop->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(loop->multi, CURLMOPT_SOCKETDATA, loop);
    curl_multi_setopt(loop->multi, CURLMOPT_TIMERFUNCTION, on_timer);
    curl_multi_setopt(loop->multi, CURLMOPT_TIMERDATA, loop);
    return loop;
}

void curl_loop_keep(struct curl_loop *loop, unsigned connections)
{
    if (connections <= loop->keep)
        return;
    loop->keep = connections < KEEP_MAX ? connections : KEEP_MAX;
    curl_multi_setopt(loop->multi, CURLMOPT_MAXCONNECTS, (long)loop->keep);
}

CURL *curl_loop_easy(struct curl_loop *loop)
{
    CURL *easy = curl_easy_init();
    if (easy == NULL)
        return NULL;
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L); /* else removing a transfer joins its resolver's thread */
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, on_open);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, loop);
    curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, on_close);
    curl_easy_setopt(easy, CURLOPT_CLOSESOCKETDATA, loop);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_REDIR_PROTOCOLS_STR, "");
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_PROXY, "");
    curl_easy_setopt(easy, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(easy, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L);
    curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    curl_easy_setopt(easy, CURLOPT_DNS_CACHE_TIMEOUT, DNS_TTL_S);
    curl_easy_setopt(easy, CURLOPT_MAXLIFETIME_CONN, CONNECTION_LIFE_S);
    curl_easy_setopt(easy, CURLOPT_MAXAGE_CONN, CONNECTION_IDLE_S);
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
    return easy;
}

int curl_loop_add(struct curl_loop *loop, CURL *easy)
{
    enter(loop);
    CURLMcode code = curl_multi_add_handle(loop->multi, easy);
    leave(loop);
    return code == CURLM_OK ? 0 : E_EXHAUSTED;
}

void curl_loop_remove(struct curl_loop *loop, CURL *easy)
{
    enter(loop);
    curl_multi_remove_handle(loop->multi, easy);
    leave(loop);
}

CURLcode curl_loop_pause(struct curl_loop *loop, CURL *easy, bool receiving, bool sending)
{
    enter(loop);
    CURLcode code = curl_easy_pause(easy, (receiving ? CURLPAUSE_RECV : 0) | (sending ? CURLPAUSE_SEND : 0));
    leave(loop);
    return code;
}

bool curl_loop_stop(struct curl_loop *loop, void (*idle)(void *context), void *context)
{
    CHECK(!loop->stopping);
    loop->stopping = true;
    enter(loop);
    curl_multi_cleanup(loop->multi);
    leave(loop);
    loop->multi = NULL;
    for (struct list_node *node = loop->watches.next, *next; node != &loop->watches; node = next) {
        struct watch *watch = CONTAINER_OF(node, struct watch, node);
        next = node->next;
        if (!watch->forgotten)
            watch_forget(loop, watch);
    }
    alarm_clear(&loop->alarm);
    if (is_idle(loop))
        return true;
    loop->idle = idle;
    loop->idle_context = context;
    return false;
}

void curl_loop_destroy(struct curl_loop *loop)
{
    CHECK(loop->stopping && is_idle(loop));
    while (!list_empty(&loop->openings))
        opening_end(CONTAINER_OF(loop->openings.next, struct opening, node));
    free(loop);
}
