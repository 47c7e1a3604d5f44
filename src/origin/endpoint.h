/*
 * Where an origin is: the endpoint's text as scheme, host and port, and the URL and Host of an object
 * there.
 *
 * Pure. Strict, since a misread endpoint sends credentials to a stranger: no user, path, query or fragment,
 * no characters that a host can't have. The host is kept in lower case, without the brackets of an IPv6
 * literal. Host (which is signed) carries the port unless it is the scheme's own. Sources: RFC 3986 3.2;
 * Amazon S3 user guide, "Virtual hosting of buckets".
 */
#pragma once

#include "base/bytes.h"

#define ENDPOINT_HOST_MAX 253
/* "https://[host]:65535" */
#define ENDPOINT_TEXT_MAX (ENDPOINT_HOST_MAX + 16)
/* scheme, bucket, host, port, and a path of 1,024 bytes encoded, with the bucket once more */
#define ENDPOINT_URL_MAX 4096

struct endpoint {
    bool https, ipv6;
    uint16_t port;
    char host[ENDPOINT_HOST_MAX + 1];
};

/* Splits "http(s)://host[:port][/path]" before the path, whose slashes at the end are dropped. The path is
 * visible ASCII without `?`, `#`, `\` and dot segments. NULL, or what is wrong with it (static). */
#define ENDPOINT_BASE_MAX 1024
MUST_CHECK const char *endpoint_find_base(struct bytes text, struct bytes *before, struct bytes *base);
/* "http(s)://host[:port][/]". NULL, or what is wrong with it (static). */
MUST_CHECK const char *endpoint_parse(struct endpoint *endpoint, struct bytes text);
/* https://s3.REGION.amazonaws.com, or its name in the regions of China. */
MUST_CHECK const char *endpoint_of_region(struct endpoint *endpoint, struct bytes region);
/* Whether a bucket's name can be put before the host: DNS labels, and not with dots under TLS (the
 * certificate's wildcard covers one label), and the host is a name. */
bool endpoint_can_be_virtual(const struct endpoint *endpoint, struct bytes bucket);
/* Bucket names are one path segment of unreserved characters. */
bool endpoint_bucket_valid(struct bytes bucket);

/* "https://host:443", with the port always: for identities. */
void endpoint_write(const struct endpoint *endpoint, struct writer *w);
/* "host" or "host:port": what Host says of a server. */
void endpoint_write_authority(const struct endpoint *endpoint, struct writer *w);
/* What Host says of a bucket. */
void endpoint_write_host(
    const struct endpoint *endpoint, struct bytes bucket, bool path_style, struct writer *w);
/* What the request line says: "/key" or "/bucket/key", encoded. */
void endpoint_write_path(struct bytes bucket, struct bytes key, bool path_style, struct writer *w);
/* The whole for libcurl; path and query as sent. */
void endpoint_write_url(const struct endpoint *endpoint, struct bytes bucket, bool path_style,
    struct bytes path, struct bytes query, struct writer *w);
