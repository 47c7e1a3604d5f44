/*
 * Who may have what on the admin listener. Pure.
 *
 * /health, /ready and /metrics are GET and open. /admin/ needs the token where one is configured; without one
 * it answers only on a loopback address, to a loopback Host (a name that a stranger's DNS points to us is
 * none) and, for POST, a JSON content type (a browser's form can't send one). On any other address it answers
 * 403. These rules come before it is said whether an endpoint exists.
 */
#pragma once

#include "http/parser.h"

struct admin_rules {
    const char *token; /* or NULL */
    bool loopback;     /* of the listener's address */
};

enum admin_page { ADMIN_PAGE_NONE, ADMIN_PAGE_HEALTH, ADMIN_PAGE_READY, ADMIN_PAGE_METRICS };

struct admin_decision {
    enum admin_page page; /* to be made; or NONE: status and message */
    unsigned status;
    const char *message;
    const char *allow; /* with 405 */
    bool authenticate; /* with 401: WWW-Authenticate: Bearer */
};

struct admin_decision admin_decide(const struct admin_rules *rules, const struct http_request *request);
