#include "proxy/s3_query.h"

#include "base/error.h"
#include "http/target.h"

#define REFUSED_MAX 64

/* Sub-resources of buckets and objects in the Amazon S3 API reference, and parameters that change what
 * GetObject answers. */
static const char *const refused_names[] = {
    "abac",
    "accelerate",
    "acl",
    "analytics",
    "attributes",
    "cors",
    "delete",
    "encryption",
    "intelligent-tiering",
    "inventory",
    "legal-hold",
    "lifecycle",
    "list-type",
    "location",
    "logging",
    "metadataConfiguration",
    "metadataInventoryTable",
    "metadataJournalTable",
    "metadataTable",
    "metrics",
    "notification",
    "object-lock",
    "ownershipControls",
    "partNumber",
    "policy",
    "policyStatus",
    "publicAccessBlock",
    "renameObject",
    "replication",
    "requestPayment",
    "restore",
    "retention",
    "select",
    "select-type",
    "session",
    "tagging",
    "torrent",
    "uploadId",
    "uploads",
    "versioning",
    "versions",
    "website",
};

static bool is_refused(struct bytes name)
{
    if (bytes_start_with(name, BYTES("response-")))
        return true;
    for (size_t i = 0; i < sizeof refused_names / sizeof *refused_names; i++)
        if (bytes_equal(name, bytes_of_string(refused_names[i])))
            return true;
    return false;
}

/* `buf` begins after what was kept before. */
static int take_version(struct bytes value, uint8_t *buf, struct s3_query *out)
{
    struct bytes version;
    if (target_decode(value, buf, &version) < 0 || version.len == 0)
        return E_SYNTAX;
    if (out->version_id.ptr && !bytes_equal(version, out->version_id))
        return E_SYNTAX;
    out->version_id = version;
    return 0;
}

static int refuse(struct bytes name, struct s3_query *out)
{
    out->refused = bytes_of(name.ptr, name.len < REFUSED_MAX ? name.len : REFUSED_MAX);
    return E_UNSUPPORTED;
}

/* All names are looked at, so that one error does not depend on the order: malformed first, then refused. */
int s3_query_parse(struct bytes query, uint8_t *buf, struct s3_query *out)
{
    struct bytes name, value, decoded;
    int result = 0;
    *out = (struct s3_query){0};
    while (target_next_parameter(&query, &name, &value)) {
        if (target_decode(name, buf, &decoded) < 0)
            return E_SYNTAX;
        if (is_refused(decoded)) {
            result = result < 0 ? result : refuse(name, out);
            continue;
        }
        if (!bytes_equal(decoded, BYTES("versionId")))
            continue;
        if (take_version(value, buf, out) < 0)
            return E_SYNTAX;
        buf += out->version_id.len;
    }
    return result;
}
