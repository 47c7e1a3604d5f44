/*
 * A request that passes: its body goes to a generic HTTP origin as it comes, the answer goes to the client as
 * it comes, and nothing is looked up or stored.
 *
 *             | born by      | owned by    | dies by
 * struct pass | request_pass | its request | request_release, after its fetch is done
 *
 * Bounded memory: of the body one piece of the front's, of the answer two buffers of PASS_BUFFER_BYTES; when
 * they are full, the side that sends is paused.
 */
#pragma once

#include "proxy/request.h"

#define PASS_BUFFER_BYTES (64u << 10)

/* pass_head.c: the field lines for the origin into `to`, from the arena. False: exhausted. */
MUST_CHECK bool pass_fields(struct request *request, struct origin_request *to);
/* The same for a fetch that others share, into request->shared_fields, once: without preconditions and Range,
 * which are answered here. */
MUST_CHECK bool pass_shared_fields(struct request *request);
/* The field lines of a reply from the origin's; whether a Date is among them. ptr NULL: the arena is
 * exhausted. */
struct bytes pass_lines(struct request *request, const struct origin_head *head, bool *dated);
/* Field lines of a 1xx reply or behind a body, of which the origin layer has dropped what steers. ptr NULL:
 * none, or the arena is exhausted. */
struct bytes pass_plain_lines(struct request *request, const struct origin_field *fields, unsigned count);
