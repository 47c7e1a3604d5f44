#include "http/reference.h"

static size_t find(struct bytes text, uint8_t c)
{
    const uint8_t *at = text.len > 0 ? memchr(text.ptr, c, text.len) : NULL;
    return at ? (size_t)(at - text.ptr) : text.len;
}

bool reference_leaves(struct bytes reference)
{
    for (size_t i = 0; i < reference.len; i++) {
        uint8_t c = reference.ptr[i];
        if (c == ':')
            return true;
        if (c == '/' || c == '?' || c == '#')
            break;
    }
    return bytes_start_with(reference, BYTES("//"));
}

/* Takes back the last `/` and what follows it. */
static void leave_segment(struct writer *w, const uint8_t *start)
{
    while (!w->failed && w->at > start && *--w->at != '/')
        ;
}

/* 5.2.4. Segments with the `/` before them; what comes to nothing is the root. */
static void write_segments(struct writer *w, const uint8_t *start, struct bytes path)
{
    while (path.len > 0) {
        struct bytes segment = bytes_of(path.ptr, 1 + find(bytes_from(path, 1), '/'));
        bool up = bytes_equal(segment, BYTES("/..")), dot = up || bytes_equal(segment, BYTES("/."));
        path = bytes_from(path, segment.len);
        if (up)
            leave_segment(w, start);
        if (!dot)
            write_bytes(w, segment);
        else if (path.len == 0)
            write_u8(w, '/');
    }
}

/* 5.2.3, behind the folder of the base. The first segment lacks its slash. */
static void write_relative(struct writer *w, const uint8_t *start, struct bytes path)
{
    struct bytes first = bytes_of(path.ptr, find(path, '/'));
    bool up = bytes_equal(first, BYTES("..")), dot = up || bytes_equal(first, BYTES("."));
    path = bytes_from(path, first.len);
    if (up)
        leave_segment(w, start);
    if (!dot || path.len == 0)
        write_u8(w, '/');
    if (!dot)
        write_bytes(w, first);
    write_segments(w, start, path);
}

void reference_resolve(struct bytes base_path, struct bytes reference, struct writer *w)
{
    const uint8_t *start = w->at;
    struct bytes rest = bytes_of(reference.ptr, find(reference, '#'));
    struct bytes path = bytes_of(rest.ptr, find(rest, '?'));
    CHECK(base_path.len > 0 && base_path.ptr[0] == '/' && !reference_leaves(reference));
    size_t folder = base_path.len;
    while (base_path.ptr[folder - 1] != '/')
        folder--;
    if (path.len == 0) {
        write_bytes(w, base_path);
    } else if (path.ptr[0] == '/') {
        write_segments(w, start, path);
    } else {
        write_segments(w, start, bytes_of(base_path.ptr, folder - 1));
        write_relative(w, start, path);
    }
    write_bytes(w, bytes_from(rest, path.len));
}
