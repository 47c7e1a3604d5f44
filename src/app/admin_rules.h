/*
 * Who may have what on the admin listener. Pure.
 *
 * /health, /ready and /metrics are GET and open. /admin/ needs the token where one is configured; without one
 * it answers only on a loopback address, to a loopback Host (a name that a stranger's DNS points to us is
 * none) and, for POST, a JSON content type (a browser's form can't send one). On any other address it answers
 * 403. These rules come before it is said whether an endpoint exists. What SNS signed needs none of this: SNS
 * sends no token, its own idea of a Host and text/plain.
 */
#pragma once

#include "http/parser.h"

struct admin_rules {
    const char *token; /* or NULL */
    bool loopback;     /* of the listener's address */
    bool sns;          /* /admin/events/s3 takes what SNS signed from anybody */
};

enum admin_page {
    ADMIN_PAGE_NONE,
    ADMIN_PAGE_HEALTH,
    ADMIN_PAGE_READY,
    ADMIN_PAGE_METRICS,
    ADMIN_PAGE_CACHE
};
enum admin_action {
    ADMIN_ACTION_NONE,
    ADMIN_ACTION_PURGE,
    ADMIN_ACTION_EVENTS,
    ADMIN_ACTION_STATS,
    ADMIN_ACTION_INFO,
    ADMIN_ACTION_PREWARM
};

#define ADMIN_PATH_MAX 8192

struct admin_decision {
    enum admin_page page;     /* to be made */
    enum admin_action action; /* or to be done; or neither: status and message */
    struct bytes below;       /* what follows the action's path, in the buffer */
    unsigned status;          /* also with ADMIN_ACTION_EVENTS: the answer to all but what SNS signed */
    const char *message;
    const char *allow; /* with 405 */
    bool authenticate; /* with 401: WWW-Authenticate: Bearer */
};

/* The buffer is for the decoded path. */
struct admin_decision admin_decide(
    const struct admin_rules *rules, const struct http_request *request, uint8_t path[ADMIN_PATH_MAX]);
