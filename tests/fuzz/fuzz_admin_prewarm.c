/* The body of a prewarm: what is taken stays within its bounds, and what is wrong is told as well-formed
 * text. */
#include <jansson.h>

#include "app/admin_prewarm.h"
#include "base/utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct admin_prewarm asked;
    static uint8_t body[1 << 16];
    if (size > sizeof body)
        return 0;
    memcpy(body, data, size);
    const char *why = admin_prewarm_parse(&asked, body, size);
    const struct prewarm_order *order = &asked.order;
    if (why != NULL) {
        CHECK(strlen(why) < sizeof asked.message);
        return 0;
    }
    CHECK(order->bucket.len > 0 && order->concurrency > 0 && order->concurrency <= PREWARM_CONCURRENCY_MAX);
    CHECK(order->rate > 0 && order->rate <= PREWARM_RATE_MAX && order->prefix.len <= PREWARM_KEY_MAX);
    CHECK(order->listed == (order->key_count == 0));
    unsigned count = 0;
    for (size_t at = 0; at < order->keys.len; count++) {
        size_t len = strnlen((const char *)order->keys.ptr + at, order->keys.len - at);
        CHECK(len > 0 && at + len < order->keys.len && utf8_valid(bytes_of(order->keys.ptr + at, len)));
        at += len + 1;
    }
    CHECK(count == order->key_count);
    return 0;
}
