#include "app/admin_rules.h"

#include "http/target.h"

static struct admin_decision refuse(unsigned status, const char *message)
{
    return (struct admin_decision){.status = status, .message = message};
}

/* ---- access ---- */

/* Takes the same time wherever they differ. */
static bool same_secret(struct bytes a, struct bytes b)
{
    volatile uint8_t difference = a.len != b.len;
    for (size_t i = 0; i < a.len && i < b.len; i++)
        difference = (uint8_t)(difference | (a.ptr[i] ^ b.ptr[i]));
    return difference == 0;
}

static bool has_token(const struct http_request *request, const char *token)
{
    struct bytes value = http_fields_value(&request->fields, BYTES("authorization"));
    struct bytes scheme = BYTES("Bearer ");
    if (http_fields_count(&request->fields, BYTES("authorization")) != 1 || value.len <= scheme.len)
        return false;
    return bytes_equal_nocase(bytes_of(value.ptr, scheme.len), scheme) &&
           same_secret(bytes_trim(bytes_from(value, scheme.len)), bytes_of_string(token));
}

static bool is_loopback_v4(struct bytes host)
{
    if (!bytes_start_with(host, BYTES("127.")))
        return false;
    for (size_t i = 0; i < host.len; i++)
        if ((host.ptr[i] < '0' || host.ptr[i] > '9') && host.ptr[i] != '.')
            return false;
    return true;
}

/* host[:port] */
static bool is_loopback_host(struct bytes host)
{
    size_t len = host.len;
    while (len > 0 && host.ptr[len - 1] >= '0' && host.ptr[len - 1] <= '9')
        len--;
    if (len > 0 && host.ptr[len - 1] == ':')
        host.len = len - 1;
    return bytes_equal_nocase(host, BYTES("localhost")) || bytes_equal(host, BYTES("[::1]")) ||
           is_loopback_v4(host);
}

static bool is_json(const struct http_request *request)
{
    struct bytes type = http_fields_value(&request->fields, BYTES("content-type"));
    const uint8_t *semicolon = type.len ? memchr(type.ptr, ';', type.len) : NULL;
    if (semicolon)
        type.len = (size_t)(semicolon - type.ptr);
    return bytes_equal_nocase(bytes_trim(type), BYTES("application/json"));
}

/* status 0: may. */
static struct admin_decision check_access(const struct admin_rules *rules, const struct http_request *request)
{
    if (rules->token) {
        struct admin_decision decision = refuse(401, "the admin token is required");
        decision.authenticate = true;
        return has_token(request, rules->token) ? (struct admin_decision){0} : decision;
    }
    if (!rules->loopback)
        return refuse(403, "admin.token is not configured and the address is not a loopback one");
    if (!is_loopback_host(request->host))
        return refuse(403, "without admin.token only a loopback Host is answered");
    if (request->method == HTTP_POST && !is_json(request))
        return refuse(415, "expected Content-Type: application/json");
    return (struct admin_decision){0};
}

/* ---- endpoints ---- */

struct endpoint {
    const char *path; /* with a trailing "/" and more behind it where `below` */
    bool below;
    enum http_method method;
    const char *allow;        /* all methods of the path, which has a row for each */
    enum admin_action action; /* NONE: not built yet */
};

static const struct endpoint endpoints[] = {
    {"/admin/reload", false, HTTP_POST, "POST", ADMIN_ACTION_NONE},
    {"/admin/cache/purge", false, HTTP_POST, "POST", ADMIN_ACTION_PURGE},
    {"/admin/cache/purge/", true, HTTP_POST, "POST", ADMIN_ACTION_PURGE},
    {"/admin/events/s3", false, HTTP_POST, "POST", ADMIN_ACTION_EVENTS},
    {"/admin/cache/stats", false, HTTP_GET, "GET", ADMIN_ACTION_STATS},
    {"/admin/cache/stats/", true, HTTP_GET, "GET", ADMIN_ACTION_STATS},
    {"/admin/cache/info", false, HTTP_GET, "GET", ADMIN_ACTION_INFO},
    {"/admin/cache/prewarm", false, HTTP_GET, "GET, POST", ADMIN_ACTION_PREWARM},
    {"/admin/cache/prewarm", false, HTTP_POST, "GET, POST", ADMIN_ACTION_PREWARM},
    {"/admin/cache/prewarm/", true, HTTP_GET, "GET, DELETE", ADMIN_ACTION_PREWARM},
    {"/admin/cache/prewarm/", true, HTTP_DELETE, "GET, DELETE", ADMIN_ACTION_PREWARM},
};

static struct admin_decision find_endpoint(struct bytes path, enum http_method method)
{
    struct admin_decision refused = refuse(404, "no such endpoint");
    for (size_t i = 0; i < sizeof endpoints / sizeof *endpoints; i++) {
        const struct endpoint *endpoint = &endpoints[i];
        struct bytes own = bytes_of_string(endpoint->path);
        bool found =
            endpoint->below ? bytes_start_with(path, own) && path.len > own.len : bytes_equal(path, own);
        if (!found)
            continue;
        if (method != endpoint->method) {
            refused = refuse(405, "method not allowed");
            refused.allow = endpoint->allow;
            continue;
        }
        if (endpoint->action == ADMIN_ACTION_NONE)
            return refuse(501, "not built yet");
        size_t len = own.len - endpoint->below; /* with its "/" */
        return (struct admin_decision){.action = endpoint->action, .below = bytes_from(path, len)};
    }
    return refused;
}

static enum admin_page find_page(struct bytes path)
{
    if (bytes_equal(path, BYTES("/health")))
        return ADMIN_PAGE_HEALTH;
    if (bytes_equal(path, BYTES("/ready")))
        return ADMIN_PAGE_READY;
    return bytes_equal(path, BYTES("/metrics")) ? ADMIN_PAGE_METRICS : ADMIN_PAGE_NONE;
}

struct admin_decision admin_decide(
    const struct admin_rules *rules, const struct http_request *request, uint8_t buf[ADMIN_PATH_MAX])
{
    struct target target;
    struct bytes path;
    if (request->target.len > ADMIN_PATH_MAX || target_split(request->target, &target) < 0 ||
        target_decode_path(target.path, buf, &path) < 0)
        return refuse(400, "malformed path");
    struct admin_decision decision = {.page = find_page(path)};
    if (decision.page != ADMIN_PAGE_NONE) {
        if (request->method == HTTP_GET || request->method == HTTP_HEAD)
            return decision;
        return (struct admin_decision){.status = 405, .message = "method not allowed", .allow = "GET, HEAD"};
    }
    if (!bytes_equal(path, BYTES("/admin")) && !bytes_start_with(path, BYTES("/admin/")))
        return refuse(404, "no such endpoint");
    struct admin_decision refusal = check_access(rules, request);
    if (refusal.status && !rules->sns)
        return refusal;
    decision = find_endpoint(path, request->method);
    if (refusal.status == 0)
        return decision;
    refusal.action = decision.action == ADMIN_ACTION_EVENTS ? ADMIN_ACTION_EVENTS : ADMIN_ACTION_NONE;
    return refusal;
}
