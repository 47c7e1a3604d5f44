#include "origin/outgoing.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdlib.h>

#include "base/error.h"

/* A target of 8 KiB, quoted in a field, and some. */
#define LINE_MAX_BYTES (64 * 1024)

/* libcurl leaves out a line that ends with the colon; one with a semicolon instead it sends with an empty
 * value. */
static void write_line(struct writer *w, struct bytes name, struct bytes value)
{
    write_bytes(w, name);
    if (value.len == 0) {
        write_u8(w, ';');
    } else {
        write_bytes(w, BYTES(": "));
        write_bytes(w, value);
    }
    write_u8(w, '\0');
}

int outgoing_add(struct outgoing *built, struct bytes name, struct bytes value)
{
    size_t room = name.len + value.len + 3;
    if (room > LINE_MAX_BYTES)
        return E_TOO_LARGE;
    char *line = malloc(room);
    if (line == NULL)
        return -ENOMEM;
    struct writer w = writer_of(line, room);
    write_line(&w, name, value);
    CHECK(!w.failed);
    struct curl_slist *longer = curl_slist_append(built->lines, line); /* copies */
    free(line);
    if (longer == NULL)
        return -ENOMEM;
    built->lines = longer;
    return 0;
}

struct bytes outgoing_range(const struct origin_request *request, char *text, size_t capacity)
{
    struct writer w = writer_of(text, capacity);
    write_bytes(&w, BYTES("bytes="));
    write_decimal(&w, request->first);
    write_u8(&w, '-');
    if (request->last != ORIGIN_TO_END)
        write_decimal(&w, request->last);
    CHECK(!w.failed);
    return writer_bytes(&w);
}

void outgoing_free(struct outgoing *built)
{
    curl_slist_free_all(built->lines);
    free(built->target);
    built->lines = NULL;
    built->target = NULL;
}
