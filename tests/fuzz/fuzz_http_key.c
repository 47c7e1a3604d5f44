/* Targets to keys: the key is a fixed point, fits its room, and is what the asked target's key is. */
#include <stdlib.h>

#include "base/check.h"
#include "http/target.h"
#include "proxy/http_key.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static const char *const drop[] = {"utm_*", "s"};
    struct target target, again;
    if (len == 0)
        return 0;
    struct query_rules rules = {.sort = data[0] & 1, .drop = drop, .drop_count = data[0] & 2 ? 2 : 0};
    data++, len--;
    if (target_split(bytes_of(data, len), &target) < 0 || target.form != TARGET_ORIGIN)
        return 0;
    uint8_t *buf = malloc(3 * len + 9);
    CHECK(buf);
    struct bytes decoded;
    if (target_decode_path(target.path, buf, &decoded) < 0) {
        free(buf);
        return 0;
    }
    struct writer key = writer_of(buf, len + 2), second = writer_of(buf + len + 2, len + 2),
                  asked = writer_of(buf + 2 * len + 4, len + 2);
    http_key_write(target.path, target.query, &rules, &key);
    http_key_write_target(target.path, target.query, &rules, &asked);
    CHECK(!key.failed && !asked.failed);
    CHECK(target_split(writer_bytes(&key), &again) == 0);
    http_key_write(again.path, again.query, &rules, &second);
    CHECK(!second.failed && bytes_equal(writer_bytes(&key), writer_bytes(&second)));
    CHECK(target_split(writer_bytes(&asked), &again) == 0);
    second = writer_of(buf + len + 2, len + 2);
    http_key_write(again.path, again.query, &rules, &second);
    CHECK(bytes_equal(writer_bytes(&key), writer_bytes(&second)));
    free(buf);
    return 0;
}
