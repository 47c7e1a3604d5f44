#include "http/hop_by_hop.h"

static bool is_among(const struct bytes *names, size_t count, struct bytes name)
{
    for (size_t i = 0; i < count; i++)
        if (bytes_equal_nocase(name, names[i]))
            return true;
    return false;
}

bool hop_by_hop(const struct http_fields *fields, struct bytes name)
{
    static const struct bytes names[] = {
        BYTES("connection"),
        BYTES("content-length"),
        BYTES("expect"),
        BYTES("host"),
        BYTES("http2-settings"),
        BYTES("keep-alive"),
        BYTES("proxy-authenticate"),
        BYTES("proxy-authorization"),
        BYTES("proxy-connection"),
        BYTES("te"),
        BYTES("trailer"),
        BYTES("transfer-encoding"),
        BYTES("upgrade"),
    };
    return is_among(names, sizeof names / sizeof *names, name) ||
           http_list_has(http_list_of(fields, BYTES("connection")), name);
}

bool hop_by_hop_trailer(struct bytes name)
{
    static const struct bytes names[] = {
        BYTES("accept-ranges"),
        BYTES("age"),
        BYTES("authorization"),
        BYTES("cache-control"),
        BYTES("connection"),
        BYTES("content-encoding"),
        BYTES("content-length"),
        BYTES("content-range"),
        BYTES("content-type"),
        BYTES("cookie"),
        BYTES("date"),
        BYTES("etag"),
        BYTES("expect"),
        BYTES("expires"),
        BYTES("forwarded"),
        BYTES("host"),
        BYTES("if-match"),
        BYTES("if-modified-since"),
        BYTES("if-none-match"),
        BYTES("if-range"),
        BYTES("if-unmodified-since"),
        BYTES("keep-alive"),
        BYTES("last-modified"),
        BYTES("location"),
        BYTES("max-forwards"),
        BYTES("pragma"),
        BYTES("proxy-authenticate"),
        BYTES("proxy-authorization"),
        BYTES("proxy-connection"),
        BYTES("range"),
        BYTES("retry-after"),
        BYTES("set-cookie"),
        BYTES("te"),
        BYTES("trailer"),
        BYTES("transfer-encoding"),
        BYTES("upgrade"),
        BYTES("vary"),
        BYTES("via"),
        BYTES("warning"),
        BYTES("www-authenticate"),
        BYTES("x-forwarded-for"),
        BYTES("x-forwarded-host"),
        BYTES("x-forwarded-proto"),
    };
    return is_among(names, sizeof names / sizeof *names, name);
}
