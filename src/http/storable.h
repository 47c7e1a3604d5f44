/*
 * May a shared cache store this answer (RFC 9111 3)? Pure.
 *
 * In the order in which it is judged: the method, a status that is final and understood, no-store (which
 * must-understand overrules where the status is understood, 5.2.2.3), private, Authorization (3.5), and at
 * last whether anything allows it: an explicit time, public, a configured time, or a status that may be
 * judged by heuristics (RFC 9110 15.1).
 */
#pragma once

#include "http/cache_control.h"

enum storable {
    STORABLE,
    STORABLE_NOT_METHOD,
    STORABLE_NOT_STATUS,
    STORABLE_NOT_NO_STORE,
    STORABLE_NOT_PRIVATE,
    STORABLE_NOT_AUTHORIZED,
    STORABLE_NOT_ALLOWED, /* nothing speaks for it */
};

struct storable_input {
    const struct cache_control *control;
    unsigned status;
    bool reads;         /* GET or HEAD */
    bool authorization; /* the origin was sent Authorization of the client */
    bool has_expires;
    bool has_ttl;    /* a time is configured for it */
    bool heuristics; /* may be used */
};

/* 3.5: whether the answer to a request with Authorization may be stored, as far as that goes. */
bool storable_by_authorized(const struct cache_control *control);
enum storable storable_judge(const struct storable_input *input);

/* RFC 9110 15.1: 200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 501. */
bool status_is_heuristic(unsigned status);
/* Statuses whose caching rules this cache keeps: those, and 302, 303, 307, 400, 403, 500, 502, 503, 504. */
bool status_is_understood(unsigned status);
