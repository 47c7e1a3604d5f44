#include "app/sns.h"

#include <errno.h>
#include <stdlib.h>

#include "app/sns_key.h"
#include "base/clock.h"
#include "base/error.h"
#include "origin/origin.h"

/* SNS waits 15 s for an answer. */
#define CONNECT_NS (3 * NS_PER_S)
#define FIRST_BYTE_NS (5 * NS_PER_S)
#define STALL_NS (2 * NS_PER_S)

/* Of a region: what its topics share. */
struct sns_host {
    struct sns_topic topic;
    struct origin *origin;
};

struct kept_key {
    struct sns_key *key; /* NULL: free */
    struct sns_host *host;
    int64_t until_s;
    size_t target_len;
    uint8_t target[SNS_URL_MAX];
};

/* One fetch: of a certificate, for all that wait for it, or of a subscription's address. */
struct sns_page {
    struct origin_fetch fetch;
    struct sns *sns;
    struct sns_host *host;
    struct list_node node;     /* sns.pages */
    struct list_node requests; /* sns_request.node */
    bool subscribes, large;
    unsigned status;
    size_t target_len, len;
    uint8_t target[SNS_URL_MAX], bytes[SNS_PAGE_BYTES];
};

struct sns {
    struct sns_parts parts;
    struct sns_trust *trust;
    struct origin_client *client; /* from the first fetch on */
    struct sns_host *hosts;       /* one a topic; those of one region share the first's origin */
    struct kept_key keys[SNS_KEYS_MAX];
    struct list_node pages;
    unsigned page_count;
    bool stopping;
};

/* ---- requests ---- */

static void finish(struct sns_request *request, unsigned status, const char *why)
{
    request->status = status;
    request->why = why;
    if (status)
        log_text(request->sns->parts.log, LOG_WARN, "events", "SNS message of topic '%.*s': %s",
            (int)request->message->topic.len, (const char *)request->message->topic.ptr, why);
    request->done(request);
}

/* ---- pages ---- */

static void page_done(struct origin_fetch *fetch);

static void page_head(struct origin_fetch *fetch, const struct origin_head *head)
{
    CONTAINER_OF(fetch, struct sns_page, fetch)->status = head->status;
}

static size_t page_body(struct origin_fetch *fetch, struct bytes bytes)
{
    struct sns_page *page = CONTAINER_OF(fetch, struct sns_page, fetch);
    if (bytes.len > sizeof page->bytes - page->len) {
        page->large = true;
        origin_fetch_cancel(fetch);
    } else if (!page->large) {
        memcpy(page->bytes + page->len, bytes.ptr, bytes.len);
        page->len += bytes.len;
    }
    return bytes.len;
}

static bool may_fetch(struct sns *sns)
{
    if (sns->stopping || sns->page_count == SNS_PAGES_MAX)
        return false;
    return sns->client || origin_client_create(&sns->client, sns->parts.loop, sns->parts.log) == 0;
}

/* The request waits for the page that was started. False: it can't be. */
static bool page_start(struct sns_request *request, struct bytes target, bool subscribes)
{
    struct sns *sns = request->sns;
    struct sns_page *page = may_fetch(sns) ? malloc(sizeof *page) : NULL;
    if (page == NULL)
        return false;
    page->sns = sns;
    page->host = request->host;
    page->subscribes = subscribes;
    page->large = false;
    page->status = 0;
    page->len = 0;
    CHECK(target.len <= sizeof page->target);
    memcpy(page->target, target.ptr, target.len);
    page->target_len = target.len;
    page->fetch =
        (struct origin_fetch){.request = {.target = bytes_of(page->target, target.len), .verbatim = true},
            .head = page_head,
            .body = page_body,
            .done = page_done};
    page->node = (struct list_node){0};
    list_init(&page->requests);
    list_push_back(&page->requests, &request->node);
    list_push_back(&sns->pages, &page->node);
    sns->page_count++;
    origin_fetch_start(sns->client, page->host->origin, &page->fetch);
    return true;
}

static struct sns_page *page_of_certificate(struct sns_request *request)
{
    struct sns *sns = request->sns;
    for (struct list_node *at = sns->pages.next; at != &sns->pages; at = at->next) {
        struct sns_page *page = CONTAINER_OF(at, struct sns_page, node);
        if (!page->subscribes && page->host->origin == request->host->origin &&
            bytes_equal(bytes_of(page->target, page->target_len), request->certificate))
            return page;
    }
    return NULL;
}

/* ---- keys ---- */

static struct sns_key *key_find(struct sns_request *request)
{
    for (unsigned i = 0; i < SNS_KEYS_MAX; i++) {
        const struct kept_key *kept = &request->sns->keys[i];
        if (kept->key && kept->host->origin == request->host->origin && request->now_s < kept->until_s &&
            bytes_equal(bytes_of(kept->target, kept->target_len), request->certificate))
            return kept->key;
    }
    return NULL;
}

/* In place of the one that ends first. */
static void key_keep(struct sns_page *page, struct sns_key *key, int64_t now_s)
{
    struct kept_key *place = &page->sns->keys[0];
    for (unsigned i = 1; i < SNS_KEYS_MAX && place->key; i++) {
        struct kept_key *other = &page->sns->keys[i];
        if (other->key == NULL || other->until_s < place->until_s)
            place = other;
    }
    sns_key_destroy(place->key);
    place->key = key;
    place->host = page->host;
    place->until_s = now_s + SNS_KEY_KEPT_S;
    if (place->until_s > sns_key_expires_s(key))
        place->until_s = sns_key_expires_s(key);
    place->target_len = page->target_len;
    memcpy(place->target, page->target, page->target_len);
}

/* NULL: it is not to be believed, which was logged. */
static struct sns_key *key_of_page(struct sns_page *page, int64_t now_s)
{
    struct sns_key *key;
    const char *why =
        sns_key_read(&key, page->sns->trust, &page->host->topic, bytes_of(page->bytes, page->len), now_s);
    if (why == NULL) {
        key_keep(page, key, now_s);
        return key;
    }
    log_text(page->sns->parts.log, LOG_WARN, "events", "certificate %.*s: %s", (int)page->target_len,
        (const char *)page->target, why);
    return NULL;
}

/* ---- steps ---- */

static void judge(struct sns_request *request, const struct sns_key *key)
{
    const struct sns_message *message = request->message;
    struct bytes target;
    if (!sns_key_verifies(key, message->version, message->signed_text, message->signature)) {
        finish(request, 403, "the signature of the SNS message is wrong");
        return;
    }
    if (message->type != SNS_SUBSCRIBE) {
        finish(request, 0, NULL);
        return;
    }
    if (!sns_url_parse(message->subscribe_url, SNS_URL_SUBSCRIBE, &request->host->topic, &target))
        finish(request, 403, "the SNS message's \"SubscribeURL\" is none of SNS's");
    else if (!page_start(request, target, true))
        finish(request, 503, "too much is being fetched from SNS");
}

static struct sns_request *take_request(struct list_node *requests)
{
    struct list_node *node = list_pop_front(requests);
    return node ? CONTAINER_OF(node, struct sns_request, node) : NULL;
}

static void subscribed(struct sns_request *request, bool good)
{
    const struct sns_message *message = request->message;
    if (!good) {
        finish(request, 503, "the subscription could not be confirmed");
        return;
    }
    log_text(request->sns->parts.log, LOG_INFO, "events", "subscribed to SNS topic '%.*s'",
        (int)message->topic.len, (const char *)message->topic.ptr);
    finish(request, 0, NULL);
}

static void certified(struct sns_page *page, struct list_node *requests, bool good)
{
    struct sns_request *request = take_request(requests);
    struct sns_key *key = good ? key_of_page(page, request->now_s) : NULL;
    for (; request; request = take_request(requests)) {
        if (key)
            judge(request, key);
        else
            finish(request, 503,
                good ? "the signing certificate is not believed"
                     : "the signing certificate could not be fetched");
    }
}

static void page_done(struct origin_fetch *fetch)
{
    struct sns_page *page = CONTAINER_OF(fetch, struct sns_page, fetch);
    struct sns *sns = page->sns;
    bool good = fetch->error == 0 && !page->large && page->status == 200;
    if (!good)
        log_text(sns->parts.log, LOG_WARN, "events", "fetch from SNS: %s, status %u",
            page->large    ? error_text(E_TOO_LARGE)
            : fetch->error ? error_text(fetch->error)
                           : "answered",
            page->status);
    list_remove(&page->node);
    sns->page_count--;
    if (page->subscribes)
        subscribed(take_request(&page->requests), good);
    else
        certified(page, &page->requests, good);
    free(page);
}

static struct sns_host *host_of_topic(struct sns *sns, struct bytes topic)
{
    for (unsigned i = 0; i < sns->parts.topic_count; i++)
        if (bytes_equal(bytes_of_string(sns->parts.topics[i]), topic))
            return &sns->hosts[i];
    return NULL;
}

void sns_request_start(struct sns *sns, struct sns_request *request)
{
    const struct sns_message *message = request->message;
    request->sns = sns;
    request->node = (struct list_node){0};
    request->host = host_of_topic(sns, message->topic);
    if (request->host == NULL) {
        finish(request, 403, "the SNS topic is not one of admin.events.sns_topics");
        return;
    }
    if (!sns_message_is_fresh(message, request->now_s)) {
        finish(request, 403, "the SNS message is older than an hour, or of the future");
        return;
    }
    if (!sns_url_parse(
            message->certificate_url, SNS_URL_CERTIFICATE, &request->host->topic, &request->certificate)) {
        finish(request, 403, "the SNS message's \"SigningCertURL\" is none of SNS's");
        return;
    }
    struct sns_key *key = key_find(request);
    struct sns_page *page = key ? NULL : page_of_certificate(request);
    if (key)
        judge(request, key);
    else if (page)
        list_push_back(&page->requests, &request->node);
    else if (!page_start(request, request->certificate, false))
        finish(request, 503, "too much is being fetched from SNS");
}

/* ---- life ---- */

static int create_host(struct sns *sns, unsigned number)
{
    struct sns_host *host = &sns->hosts[number];
    char name[SNS_HOST_MAX], endpoint[SNS_HOST_MAX + 16];
    const char *why;
    if (!sns_topic_parse(bytes_of_string(sns->parts.topics[number]), &host->topic))
        return E_SYNTAX;
    for (unsigned i = 0; i < number; i++)
        if (bytes_equal(sns->hosts[i].topic.region, host->topic.region) &&
            bytes_equal(sns->hosts[i].topic.suffix, host->topic.suffix)) {
            host->origin = sns->hosts[i].origin;
            return 0;
        }
    struct bytes text = sns_topic_host(&host->topic, name);
    struct writer w = writer_of(endpoint, sizeof endpoint - 1);
    write_format(&w, "https://%.*s", (int)text.len, (const char *)text.ptr);
    CHECK(!w.failed);
    *w.at = 0;
    unsigned patience = sns->parts.patience ? sns->parts.patience : 1;
    struct origin_config config = {.name = "sns",
        .protocol = ORIGIN_PROTOCOL_HTTP,
        .endpoint = sns->parts.endpoint ? sns->parts.endpoint : endpoint,
        .ca_file = sns->parts.ca_file,
        .connect_timeout_ns = patience * CONNECT_NS,
        .first_byte_timeout_ns = patience * FIRST_BYTE_NS,
        .stall_timeout_ns = patience * STALL_NS,
        .max_attempts = 1,
        .connection_pool_size = SNS_PAGES_MAX};
    return origin_create(&host->origin, &config, &why);
}

int sns_create(struct sns **sns_out, const struct sns_parts *parts)
{
    CHECK(parts->topic_count > 0);
    struct sns *sns = calloc(1, sizeof *sns);
    if (sns == NULL)
        return -ENOMEM;
    sns->parts = *parts;
    list_init(&sns->pages);
    sns->hosts = calloc(parts->topic_count, sizeof *sns->hosts);
    int result = sns->hosts ? sns_trust_create(&sns->trust, parts->anchors) : -ENOMEM;
    if (result == 0 && parts->intermediates.len)
        result = sns_trust_add(sns->trust, parts->intermediates);
    for (unsigned i = 0; i < parts->topic_count && result == 0; i++)
        result = create_host(sns, i);
    if (result < 0) {
        sns_destroy(sns);
        return result;
    }
    *sns_out = sns;
    return 0;
}

bool sns_stop(struct sns *sns, void (*done)(void *context), void *context)
{
    sns->stopping = true;
    if (sns->client)
        origin_client_stop(sns->client, done, context);
    return sns->client == NULL;
}

static bool owns_origin(const struct sns *sns, unsigned number)
{
    for (unsigned i = 0; i < number; i++)
        if (sns->hosts[i].origin == sns->hosts[number].origin)
            return false;
    return sns->hosts[number].origin != NULL;
}

void sns_destroy(struct sns *sns)
{
    if (sns == NULL)
        return;
    CHECK(sns->page_count == 0);
    if (sns->client)
        origin_client_destroy(sns->client);
    /* From the last on, so that who owns is still to be seen. */
    for (unsigned i = sns->hosts ? sns->parts.topic_count : 0; i-- > 0;)
        if (owns_origin(sns, i))
            origin_destroy(sns->hosts[i].origin);
    for (unsigned i = 0; i < SNS_KEYS_MAX; i++)
        sns_key_destroy(sns->keys[i].key);
    sns_trust_destroy(sns->trust);
    free(sns->hosts);
    free(sns);
}
