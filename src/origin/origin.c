/* An origin's making: its configuration checked, copied and given defaults; immutable afterwards but for its
 * counters. */
#include "origin/origin.h"

#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/error.h"
#include "origin/backend.h"

#define FOLDER_MAX 4000
#define TOKEN_MAX 4096

static bool absent(const char *text)
{
    return text == NULL || text[0] == '\0';
}

static bool copy(char **to, const char *from)
{
    if (absent(from))
        return true;
    *to = strdup(from);
    return *to != NULL;
}

static uint64_t or_else(uint64_t value, uint64_t otherwise)
{
    return value != 0 ? value : otherwise;
}

static void set_times(struct origin *origin, const struct origin_config *config)
{
    origin->connect_timeout_ns = or_else(config->connect_timeout_ns, 5 * NS_PER_S);
    origin->first_byte_timeout_ns = or_else(config->first_byte_timeout_ns, 20 * NS_PER_S);
    origin->stall_timeout_ns = or_else(config->stall_timeout_ns, 20 * NS_PER_S);
    origin->pool_size = (unsigned)or_else(config->connection_pool_size, 50);
    struct retry_policy *retry = &origin->retry;
    retry->max_attempts = (unsigned)or_else(config->max_attempts, 3);
    retry->initial_backoff_ns = or_else(config->initial_backoff_ns, 100 * NS_PER_MS);
    retry->max_backoff_ns = or_else(config->max_backoff_ns, NS_PER_S);
    if (retry->max_backoff_ns < retry->initial_backoff_ns)
        retry->max_backoff_ns = retry->initial_backoff_ns;
    retry->budget_ns = origin->connect_timeout_ns + origin->first_byte_timeout_ns +
                       retry->max_attempts * retry->max_backoff_ns;
}

/* The folder of file:///folder, without its trailing slashes, or NULL with *why. */
static const char *create_file(struct origin *origin, const struct origin_config *config)
{
    const char *folder = config->endpoint + strlen("file://");
    size_t len = strlen(folder);
    if (folder[0] != '/')
        return "a file origin is file:// and an absolute path";
    if (len > FOLDER_MAX)
        return "the folder's path is too long";
    while (len > 1 && folder[len - 1] == '/')
        len--;
    origin->kind = ORIGIN_FILE;
    origin->folder = strndup(folder, len);
    memcpy(origin->identity, "file", sizeof "file");
    return origin->folder == NULL ? "no memory" : NULL;
}

static const char *choose_style(
    struct origin *origin, const struct origin_config *config, struct bytes bucket)
{
    bool possible = endpoint_can_be_virtual(&origin->endpoint, bucket);
    switch (config->addressing) {
    case ORIGIN_ADDRESS_PATH:
        origin->path_style = true;
        return NULL;
    case ORIGIN_ADDRESS_VIRTUAL:
        return possible ? NULL : "this bucket and endpoint can't be addressed in virtual-host style";
    case ORIGIN_ADDRESS_AUTO:
        origin->path_style = !absent(config->endpoint) || !possible;
        return NULL;
    }
    return "unknown addressing";
}

static const char *check_credentials(const struct origin_config *config)
{
    if (absent(config->access_key))
        return absent(config->secret_key) ? NULL : "a secret key without an access key";
    if (absent(config->secret_key))
        return "an access key without a secret key";
    if (absent(config->region))
        return "credentials without a region";
    if (strlen(config->access_key) > 256 || strlen(config->secret_key) > 256)
        return "the credentials are too long";
    if (!absent(config->session_token) && strlen(config->session_token) > TOKEN_MAX)
        return "the session token is too long";
    for (int i = 0; i < 2; i++) {
        const char *text = i == 0 ? config->access_key : config->session_token;
        for (; text != NULL && *text != '\0'; text++) {
            if (*text <= ' ' || *text > '~')
                return "the credentials have a character that a header can't carry";
        }
    }
    return NULL;
}

static const char *create_s3(struct origin *origin, const struct origin_config *config)
{
    origin->kind = ORIGIN_S3;
    if (absent(config->bucket) || !endpoint_bucket_valid(bytes_of_string(config->bucket)))
        return "the bucket's name is missing or malformed";
    const char *why = check_credentials(config);
    if (why != NULL)
        return why;
    why = absent(config->endpoint) ? endpoint_of_region(&origin->endpoint,
                                         bytes_of_string(absent(config->region) ? "" : config->region))
                                   : endpoint_parse(&origin->endpoint, bytes_of_string(config->endpoint));
    if (why == NULL)
        why = choose_style(origin, config, bytes_of_string(config->bucket));
    if (why != NULL)
        return why;
    struct writer w = writer_of(origin->identity, sizeof origin->identity - 1);
    endpoint_write(&origin->endpoint, &w);
    CHECK(!w.failed);
    *w.at = '\0';
    return NULL;
}

static const char *create_http(struct origin *origin, const struct origin_config *config)
{
    struct bytes before, base;
    origin->kind = ORIGIN_HTTP;
    if (absent(config->endpoint))
        return "the endpoint is missing";
    if (!absent(config->bucket) || !absent(config->access_key) || !absent(config->secret_key))
        return "an HTTP origin has no bucket and no credentials";
    const char *why = endpoint_find_base(bytes_of_string(config->endpoint), &before, &base);
    if (why == NULL)
        why = endpoint_parse(&origin->endpoint, before);
    if (why != NULL)
        return why;
    origin->base = strndup((const char *)base.ptr, base.len);
    struct writer w = writer_of(origin->identity, sizeof origin->identity - 1);
    endpoint_write(&origin->endpoint, &w);
    write_bytes(&w, base);
    CHECK(!w.failed);
    *w.at = '\0';
    return origin->base == NULL ? "no memory" : NULL;
}

static const char *create_kind(struct origin *origin, const struct origin_config *config)
{
    if (config->protocol == ORIGIN_PROTOCOL_HTTP)
        return create_http(origin, config);
    bool file =
        !absent(config->endpoint) && bytes_start_with(bytes_of_string(config->endpoint), BYTES("file://"));
    return file ? create_file(origin, config) : create_s3(origin, config);
}

static bool copy_texts(struct origin *origin, const struct origin_config *config)
{
    return copy(&origin->name, config->name) && copy(&origin->bucket, config->bucket) &&
           copy(&origin->region, config->region) && copy(&origin->access_key, config->access_key) &&
           copy(&origin->secret_key, config->secret_key) &&
           copy(&origin->session_token, config->session_token) && copy(&origin->ca_file, config->ca_file);
}

int origin_create(struct origin **origin_out, const struct origin_config *config, const char **why)
{
    *why = "no memory";
    struct origin *origin = calloc(1, sizeof *origin);
    if (origin == NULL)
        return -ENOMEM;
    set_times(origin, config);
    if (!copy_texts(origin, config)) {
        origin_destroy(origin);
        return -ENOMEM;
    }
    *why = create_kind(origin, config);
    if (*why != NULL) {
        origin_destroy(origin);
        return -EINVAL;
    }
    *origin_out = origin;
    return 0;
}

void origin_destroy(struct origin *origin)
{
    if (origin == NULL)
        return;
    CHECK(counter_get(&origin->stats.in_flight) == 0);
    if (origin->secret_key != NULL)
        explicit_bzero(origin->secret_key, strlen(origin->secret_key));
    free(origin->name);
    free(origin->folder);
    free(origin->bucket);
    free(origin->region);
    free(origin->access_key);
    free(origin->secret_key);
    free(origin->session_token);
    free(origin->base);
    free(origin->ca_file);
    fake_destroy(origin->fake);
    free(origin);
}

const struct origin_stats *origin_stats(const struct origin *origin)
{
    return &origin->stats;
}

const char *origin_kind(const struct origin *origin)
{
    static const char *const names[] = {
        [ORIGIN_S3] = "s3", [ORIGIN_HTTP] = "http", [ORIGIN_FILE] = "file", [ORIGIN_FAKE] = "fake"};
    return names[origin->kind];
}

struct bytes origin_identity_endpoint(const struct origin *origin)
{
    return bytes_of_string(origin->identity);
}

struct bytes origin_identity_bucket(const struct origin *origin)
{
    return bytes_of_string(origin->kind == ORIGIN_FILE   ? origin->folder
                           : origin->kind == ORIGIN_HTTP ? ""
                                                         : origin->bucket);
}
