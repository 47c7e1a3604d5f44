/*
 * A request to an HTTP origin: the caller's target and field lines as they are, with the lines that belong to
 * this connection. Bytes of a client that can't stand in a request are refused, since what they would make of
 * it is another request.
 */
#pragma once

#include "origin/outgoing.h"

/* -ENOMEM, E_TOO_LARGE, E_SYNTAX. */
MUST_CHECK int http_request_build(
    const struct origin *origin, const struct origin_request *request, struct outgoing *built);
