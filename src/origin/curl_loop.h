/*
 * libcurl's multi interface driven by an io loop.
 *
 * curl asks for readiness of descriptors and for one timer by callbacks; both become io ops, whose
 * completions call curl_multi_socket_action. Rules that keep curl and the loop apart:
 *  - nothing here is called from inside one of curl's callbacks (CHECKed), since curl must not be re-entered;
 *  - curl's sockets are opened and closed through io_foreign_*, so a descriptor is not reused while a poll is
 *    in flight. Those that curl closes without telling us (7.88 does, where a connect is given up) are found
 *    after each call by asking whether they still are what was opened. The resolver's own descriptors are
 * closed by curl right after it told us to forget them: their poll is cancelled then, and a new watch of the
 * same number waits until the old poll has come back. Rejected: polling from libcurl's side (curl_multi_poll)
 * on a thread, which costs a hand-over per chunk.
 *
 *           | born by          | owned by      | dies by           | threads
 * curl_loop | curl_loop_create | origin_client | curl_loop_destroy | its loop's
 */
#pragma once

#include <curl/curl.h>

#include "io/io.h"

struct curl_loop;

/* finished(easy, code) is called once for each transfer that ended by itself, outside of curl; it must call
 * curl_loop_remove. NULL when memory is short. */
struct curl_loop *curl_loop_create(struct io_loop *io, void (*finished)(CURL *easy, CURLcode code));
/* An easy handle with what holds for every transfer set: sockets through io, no proxy, no redirects, no
 * signals. NULL when memory is short. */
CURL *curl_loop_easy(struct curl_loop *loop);
/* Raises the number of connections kept, running and idle, to at least this (at most 1,024). */
void curl_loop_keep(struct curl_loop *loop, unsigned connections);
MUST_CHECK int curl_loop_add(struct curl_loop *loop, CURL *easy);
/* Ends the transfer, if it still runs. No callback of it comes any more. */
void curl_loop_remove(struct curl_loop *loop, CURL *easy);
/* Which directions of a transfer stay paused; the others go on: their callbacks may run inside. */
CURLcode curl_loop_pause(struct curl_loop *loop, CURL *easy, bool receiving, bool sending);
/* Closes all connections, with no transfer left. True when no op is in flight any more; else idle() is called
 * once, when that is so. */
bool curl_loop_stop(struct curl_loop *loop, void (*idle)(void *context), void *context);
/* After the stop. */
void curl_loop_destroy(struct curl_loop *loop);
