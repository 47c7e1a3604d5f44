#include "http/multipart.h"

#include "http/content_range.h"

#define CONTENT_TYPE_LINE "Content-Type: "
#define CONTENT_RANGE_LINE "Content-Range: "
#define CRLF "\r\n"

void multipart_boundary(struct multipart *multipart, const uint8_t random[16])
{
    struct writer w = writer_of(multipart->boundary, sizeof multipart->boundary);
    static_assert(sizeof multipart->boundary == 2 * 16, "two digits a byte");
    write_hex(&w, bytes_of(random, 16));
    CHECK(!w.failed);
}

void multipart_write_content_type(const struct multipart *multipart, struct writer *w)
{
    write_bytes(w, BYTES("multipart/byteranges; boundary="));
    write_bytes(w, bytes_of(multipart->boundary, sizeof multipart->boundary));
}

static void write_delimiter(const struct multipart *multipart, struct writer *w)
{
    write_bytes(w, BYTES("--"));
    write_bytes(w, bytes_of(multipart->boundary, sizeof multipart->boundary));
}

void multipart_write_head(const struct multipart *multipart, unsigned at, struct writer *w)
{
    CHECK(at < multipart->list->count);
    struct range range = multipart->list->ranges[at];
    if (at > 0)
        write_bytes(w, BYTES(CRLF)); /* belongs to the delimiter, not to the part before */
    write_delimiter(multipart, w);
    write_bytes(w, BYTES(CRLF));
    if (multipart->content_type.len > 0) {
        write_bytes(w, BYTES(CONTENT_TYPE_LINE));
        write_bytes(w, multipart->content_type);
        write_bytes(w, BYTES(CRLF));
    }
    write_bytes(w, BYTES(CONTENT_RANGE_LINE));
    content_range_write(w, &(struct content_range){.has_range = true,
                               .first = range.first,
                               .last = range.last,
                               .has_length = true,
                               .length = multipart->length});
    write_bytes(w, BYTES(CRLF CRLF));
}

size_t multipart_head_max(const struct multipart *multipart)
{
    return sizeof(CRLF) + sizeof("--" CRLF CONTENT_TYPE_LINE CRLF CONTENT_RANGE_LINE CRLF CRLF) +
           MULTIPART_BOUNDARY_LEN + multipart->content_type.len + CONTENT_RANGE_MAX;
}

void multipart_write_end(const struct multipart *multipart, struct writer *w)
{
    write_bytes(w, BYTES(CRLF));
    write_delimiter(multipart, w);
    write_bytes(w, BYTES("--" CRLF));
}

static unsigned digits_of(uint64_t value)
{
    unsigned count = 1;
    while (value >= 10) {
        value /= 10;
        count++;
    }
    return count;
}

/* Counted, not written: the content type may be long, and this needs no buffer. */
static uint64_t head_length(const struct multipart *multipart, unsigned at)
{
    struct range range = multipart->list->ranges[at];
    uint64_t len = (at > 0 ? 2 : 0) + 2 + MULTIPART_BOUNDARY_LEN + 2;
    if (multipart->content_type.len > 0)
        len += sizeof(CONTENT_TYPE_LINE) - 1 + multipart->content_type.len + 2;
    len += sizeof(CONTENT_RANGE_LINE "bytes -/" CRLF CRLF) - 1;
    return len + digits_of(range.first) + digits_of(range.last) + digits_of(multipart->length);
}

uint64_t multipart_length(const struct multipart *multipart)
{
    uint64_t len = MULTIPART_END_LEN;
    for (unsigned i = 0; i < multipart->list->count; i++)
        len += head_length(multipart, i) + range_length(multipart->list->ranges[i]);
    return len;
}
