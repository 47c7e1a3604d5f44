/* Request targets, S3 queries and routing: what is accepted keeps the promises of the headers. */
#include <stdlib.h>

#include "base/error.h"
#include "base/utf8.h"
#include "http/target.h"
#include "proxy/route.h"
#include "proxy/s3_query.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct route_table *table;

static void check_path(struct bytes raw)
{
    uint8_t *buf = malloc(raw.len + 1); /* exact, so that a byte too many is seen */
    struct bytes path, key;
    if (buf && target_decode_path(raw, buf, &path) == 0) {
        CHECK(path.len >= 1 && path.len <= raw.len && path.ptr[0] == '/');
        CHECK(utf8_valid(path) && !memchr(path.ptr, 0, path.len));
        CHECK(!memmem(path.ptr, path.len, "/../", 4) && !memmem(path.ptr, path.len, "/./", 3));
        int bucket = route_find(table, path, &key);
        CHECK(bucket >= 0); /* one prefix is the root */
        CHECK(key.ptr >= path.ptr && key.ptr + key.len == path.ptr + path.len);
    }
    free(buf);
}

static void check_query(struct bytes raw)
{
    uint8_t *buf = malloc(raw.len + 1);
    struct s3_query query;
    if (buf && s3_query_parse(raw, buf, &query) == 0) {
        CHECK(query.version_id.len <= raw.len && utf8_valid(query.version_id));
        CHECK(!query.refused.ptr);
    }
    free(buf);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct target target;
    if (!table) {
        const struct bytes prefixes[] = {BYTES("/"), BYTES("/a"), BYTES("/a/b"), BYTES("/a-"), BYTES("/%")};
        table = route_table_create(prefixes, 5);
    }
    if (!table || target_split(bytes_of(data, size), &target) < 0)
        return 0;
    if (target.form != TARGET_ASTERISK)
        check_path(target.path);
    check_query(target.query);
    return 0;
}
