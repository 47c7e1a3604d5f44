/*
 * Which fields of a message end here: those of one connection, by name or named by Connection (RFC 9110
 * 7.6.1), and those that frame a message, which whoever sends it on makes anew. Pure.
 *
 * Passing framing on as it was received is how requests are smuggled: there is no way to do it here.
 */
#pragma once

#include "http/fields.h"

/* Of a request's fields: also Host and Expect, which the next request says for itself, and
 * Proxy-Authorization, which is for us. */
bool hop_by_hop(const struct http_fields *fields, struct bytes name);
/* Of the fields behind a body: not what frames, routes, vouches or steers (RFC 9110 6.5.1). */
bool hop_by_hop_trailer(struct bytes name);
