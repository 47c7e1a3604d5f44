#include "origin/endpoint.h"

#include "origin/sigv4.h"

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}
static bool is_lower(uint8_t c)
{
    return c >= 'a' && c <= 'z';
}
static bool is_hex(uint8_t c)
{
    return is_digit(c) || (c >= 'a' && c <= 'f');
}

static uint8_t to_lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c + 32) : c;
}

static bool take_scheme(struct endpoint *endpoint, struct bytes *text)
{
    static const struct bytes http = BYTES("http://"), https = BYTES("https://");
    struct bytes scheme = https;
    endpoint->https = true;
    if (text->len < https.len || !bytes_equal_nocase(bytes_of(text->ptr, https.len), https)) {
        scheme = http;
        endpoint->https = false;
        if (text->len < http.len || !bytes_equal_nocase(bytes_of(text->ptr, http.len), http))
            return false;
    }
    *text = bytes_from(*text, scheme.len);
    return true;
}

/* Letters, digits, hyphens and underscores in labels of 1 to 63; a final dot is not taken. */
static bool host_name_valid(struct bytes host)
{
    size_t label = 0;
    for (size_t i = 0; i < host.len; i++) {
        uint8_t c = host.ptr[i];
        if (c == '.') {
            if (label == 0)
                return false;
            label = 0;
        } else if (!is_lower(c) && !is_digit(c) && c != '-' && c != '_') {
            return false;
        } else if (++label > 63) {
            return false;
        }
    }
    return label > 0;
}

static bool host_ipv6_valid(struct bytes host)
{
    size_t colons = 0;
    for (size_t i = 0; i < host.len; i++) {
        colons += host.ptr[i] == ':';
        if (!is_hex(host.ptr[i]) && host.ptr[i] != ':' && host.ptr[i] != '.')
            return false;
    }
    return colons >= 2;
}

static const char *take_host(struct endpoint *endpoint, struct bytes *text)
{
    endpoint->ipv6 = text->len > 0 && text->ptr[0] == '[';
    if (endpoint->ipv6)
        *text = bytes_from(*text, 1);
    size_t len = 0;
    while (len < text->len && (endpoint->ipv6 ? text->ptr[len] != ']' : text->ptr[len] != ':')) {
        if (len == ENDPOINT_HOST_MAX)
            return "the host is too long";
        endpoint->host[len] = (char)to_lower(text->ptr[len]);
        len++;
    }
    endpoint->host[len] = '\0';
    struct bytes host = bytes_of(endpoint->host, len);
    if (len == 0)
        return "the host is missing";
    if (endpoint->ipv6 && (len == text->len || !host_ipv6_valid(host)))
        return "the IPv6 address is malformed";
    if (!endpoint->ipv6 && !host_name_valid(host))
        return "the host has a character that a host can't have";
    *text = bytes_from(*text, len + endpoint->ipv6);
    return NULL;
}

static const char *take_port(struct endpoint *endpoint, struct bytes text)
{
    uint64_t port;
    endpoint->port = endpoint->https ? 443 : 80;
    if (text.len == 0)
        return NULL;
    if (text.ptr[0] != ':' || !bytes_to_u64(bytes_from(text, 1), &port) || port == 0 || port > 65535)
        return "the port is not a number from 1 to 65535";
    endpoint->port = (uint16_t)port;
    return NULL;
}

const char *endpoint_parse(struct endpoint *endpoint, struct bytes text)
{
    *endpoint = (struct endpoint){0};
    if (!take_scheme(endpoint, &text))
        return "the endpoint does not begin with http:// or https://";
    if (text.len > 0 && text.ptr[text.len - 1] == '/')
        text.len--;
    if (memchr(text.ptr, '/', text.len) != NULL)
        return "the endpoint has a path";
    if (memchr(text.ptr, '@', text.len) != NULL)
        return "the endpoint has a user";
    const char *why = take_host(endpoint, &text);
    return why != NULL ? why : take_port(endpoint, text);
}

/* "." or "..", also encoded: two servers would read them in two ways. */
static bool is_dot_segment(struct bytes segment)
{
    unsigned dots = 0;
    while (segment.len > 0) {
        bool encoded = segment.len >= 3 && bytes_equal_nocase(bytes_of(segment.ptr, 3), BYTES("%2e"));
        if (!encoded && segment.ptr[0] != '.')
            return false;
        segment = bytes_from(segment, encoded ? 3 : 1);
        dots++;
    }
    return dots == 1 || dots == 2;
}

static const char *check_base(struct bytes base)
{
    size_t start = 0;
    if (base.len > ENDPOINT_BASE_MAX)
        return "the endpoint's path is too long";
    for (size_t i = 0; i <= base.len; i++) {
        uint8_t c = i < base.len ? base.ptr[i] : '/';
        if (c <= ' ' || c >= 0x7f || c == '?' || c == '#' || c == '\\' || c == '"')
            return "the endpoint's path has a character that a path can't have";
        if (c != '/')
            continue;
        if (is_dot_segment(bytes_of(base.ptr + start, i - start)))
            return "the endpoint's path has a dot segment";
        start = i + 1;
    }
    return NULL;
}

const char *endpoint_find_base(struct bytes text, struct bytes *before, struct bytes *base)
{
    static const char mark[] = "://";
    const uint8_t *scheme = memmem(text.ptr, text.len, mark, sizeof mark - 1);
    size_t host = scheme == NULL ? text.len : (size_t)(scheme - text.ptr) + sizeof mark - 1;
    const uint8_t *slash = host < text.len ? memchr(text.ptr + host, '/', text.len - host) : NULL;
    size_t len = slash == NULL ? text.len : (size_t)(slash - text.ptr);
    *before = bytes_of(text.ptr, len);
    *base = bytes_from(text, len);
    while (base->len > 0 && base->ptr[base->len - 1] == '/')
        base->len--;
    return check_base(*base);
}

const char *endpoint_of_region(struct endpoint *endpoint, struct bytes region)
{
    char text[ENDPOINT_TEXT_MAX];
    for (size_t i = 0; i < region.len; i++) {
        if (!is_lower(region.ptr[i]) && !is_digit(region.ptr[i]) && region.ptr[i] != '-')
            return "the region has a character that a region can't have";
    }
    if (region.len == 0)
        return "neither an endpoint nor a region";
    struct writer w = writer_of(text, sizeof text);
    bool china = bytes_start_with(region, BYTES("cn-"));
    write_bytes(&w, BYTES("https://s3."));
    write_bytes(&w, region);
    write_bytes(&w, china ? BYTES(".amazonaws.com.cn") : BYTES(".amazonaws.com"));
    return w.failed ? "the region is too long" : endpoint_parse(endpoint, writer_bytes(&w));
}

bool endpoint_bucket_valid(struct bytes bucket)
{
    for (size_t i = 0; i < bucket.len; i++) {
        uint8_t c = to_lower(bucket.ptr[i]);
        if (!is_lower(c) && !is_digit(c) && c != '-' && c != '.' && c != '_')
            return false;
    }
    bool dots = bytes_equal(bucket, BYTES(".")) || bytes_equal(bucket, BYTES(".."));
    return bucket.len > 0 && bucket.len <= 255 && !dots;
}

static bool host_is_ipv4(const struct endpoint *endpoint)
{
    for (const char *c = endpoint->host; *c != '\0'; c++) {
        if (!is_digit((uint8_t)*c) && *c != '.')
            return false;
    }
    return true;
}

bool endpoint_can_be_virtual(const struct endpoint *endpoint, struct bytes bucket)
{
    if (endpoint->ipv6 || host_is_ipv4(endpoint))
        return false;
    if (!host_name_valid(bucket) || bucket.len + 1 + strlen(endpoint->host) > ENDPOINT_HOST_MAX)
        return false;
    return !endpoint->https || memchr(bucket.ptr, '.', bucket.len) == NULL;
}

static void write_scheme(const struct endpoint *endpoint, struct writer *w)
{
    write_bytes(w, endpoint->https ? BYTES("https://") : BYTES("http://"));
}

static void write_host(const struct endpoint *endpoint, struct writer *w)
{
    if (endpoint->ipv6)
        write_u8(w, '[');
    write_bytes(w, bytes_of_string(endpoint->host));
    if (endpoint->ipv6)
        write_u8(w, ']');
}

static void write_port(const struct endpoint *endpoint, struct writer *w)
{
    write_u8(w, ':');
    write_decimal(w, endpoint->port);
}

void endpoint_write(const struct endpoint *endpoint, struct writer *w)
{
    write_scheme(endpoint, w);
    write_host(endpoint, w);
    write_port(endpoint, w);
}

void endpoint_write_authority(const struct endpoint *endpoint, struct writer *w)
{
    write_host(endpoint, w);
    if (endpoint->port != (endpoint->https ? 443 : 80))
        write_port(endpoint, w);
}

void endpoint_write_host(
    const struct endpoint *endpoint, struct bytes bucket, bool path_style, struct writer *w)
{
    if (!path_style) {
        write_bytes(w, bucket);
        write_u8(w, '.');
    }
    endpoint_write_authority(endpoint, w);
}

void endpoint_write_path(struct bytes bucket, struct bytes key, bool path_style, struct writer *w)
{
    write_u8(w, '/');
    if (path_style) {
        write_bytes(w, bucket);
        write_u8(w, '/');
    }
    sigv4_encode_path(w, key);
}

void endpoint_write_url(const struct endpoint *endpoint, struct bytes bucket, bool path_style,
    struct bytes path, struct bytes query, struct writer *w)
{
    write_scheme(endpoint, w);
    endpoint_write_host(endpoint, bucket, path_style, w);
    write_bytes(w, path);
    if (query.len > 0) {
        write_u8(w, '?');
        write_bytes(w, query);
    }
}
