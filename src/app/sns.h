/*
 * Whether a message is Amazon SNS's, and of a topic that the configuration names; and the answer to its
 * question whether we want the topic's messages.
 *
 * Signed messages come without a token, so each step costs a stranger more than us: the topic is on the list,
 * the time is about now, the addresses are SNS's own of the topic's region (sns_topic.h), and only then may a
 * certificate be fetched. It is fetched once for all that wait for it, kept for SNS_KEY_KEPT_S or until it
 * ends, and believed by sns_key.h; then the signature decides. At most SNS_PAGES_MAX fetches run; beyond
 * that, and where a fetch fails, the message is answered 503, which SNS repeats. Pages come by origin/, so
 * that the loop never waits: https with the system's store, no redirects, deadlines of seconds.
 *
 * A message can be sent again by whoever saw it, for an hour (sns_message.h): it purges the same once more,
 * which costs one fetch. Rejected: to remember the ids of messages, a table that grows with their rate for no
 * more than that.
 *
 *             | born by           | owned by    | dies by                | threads
 * sns         | sns_create        | admin       | sns_destroy, stopped   | its loop's
 * sns_request | its caller        | its caller  | its done               | its loop's
 */
#pragma once

#include "app/sns_message.h"
#include "base/list.h"
#include "base/log.h"
#include "io/io.h"

#define SNS_PAGES_MAX 4
#define SNS_PAGE_BYTES ((size_t)16 << 10)
#define SNS_KEYS_MAX 16
#define SNS_KEY_KEPT_S (24 * 3600)

struct sns;

struct sns_parts {
    struct io_loop *loop;
    struct log *log;
    const char *const *topics; /* ARNs; at least one */
    unsigned topic_count;
    struct bytes intermediates; /* more of what may stand between (sns_key.h), or nothing */
    /* A test's, which no configuration reaches: where every SNS host is found, what vouches for it, and for
     * the signer (NULL: at itself; the system's store), and how many times longer it is waited for (0: 1). */
    const char *endpoint, *ca_file, *anchors;
    unsigned patience;
};

/* Reads the system's roots. -ENOMEM; E_SYNTAX: a topic or the intermediates. Copies nothing: topics outlive
 * it. */
MUST_CHECK int sns_create(struct sns **sns, const struct sns_parts *parts);
/* Fetches end, what waits is answered 503. True: nothing was under way; else done comes, from the loop. */
bool sns_stop(struct sns *sns, void (*done)(void *context), void *context);
void sns_destroy(struct sns *sns);

struct sns_request {
    /* The caller's, valid until done. */
    const struct sns_message *message;
    int64_t now_s;
    void (*done)(struct sns_request *request);

    /* At done. 0: it is SNS's, and a subscription is confirmed. 403: it is not; 503: could not be said. */
    unsigned status;
    const char *why; /* static, with a status */

    /* The call's own. */
    struct sns *sns;
    struct sns_host *host;
    struct bytes certificate; /* request target */
    struct list_node node;
};

/* done comes once, perhaps inside the call. */
void sns_request_start(struct sns *sns, struct sns_request *request);
