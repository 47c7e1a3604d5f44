#include "origin/answer.h"

#include <errno.h>
#include <time.h>

#include "base/error.h"

static bool is_weak(struct bytes tag)
{
    return bytes_start_with(tag, BYTES("W/"));
}

/* The next tag of a list, with its quotes; the text up to the next comma where it has none. */
static struct bytes next_tag(struct bytes *list)
{
    size_t at = 0;
    while (at < list->len && (list->ptr[at] == ' ' || list->ptr[at] == '\t' || list->ptr[at] == ','))
        at++;
    *list = bytes_from(*list, at);
    size_t len = 0;
    bool quoted = false;
    while (len < list->len && (quoted || list->ptr[len] != ','))
        quoted ^= list->ptr[len++] == '"';
    struct bytes tag = bytes_trim(bytes_of(list->ptr, len));
    *list = bytes_from(*list, len);
    return tag;
}

bool answer_tags_match(struct bytes list, struct bytes etag, bool strongly)
{
    if (bytes_equal(bytes_trim(list), BYTES("*")))
        return true;
    if (strongly && is_weak(etag))
        return false;
    while (list.len > 0) {
        struct bytes tag = next_tag(&list);
        if (tag.len == 0 || (strongly && is_weak(tag)))
            continue;
        if (bytes_equal(is_weak(tag) ? bytes_from(tag, 2) : tag, is_weak(etag) ? bytes_from(etag, 2) : etag))
            return true;
    }
    return false;
}

int answer_decide(
    const struct origin_request *request, struct bytes etag, uint64_t total, struct origin_head *head)
{
    *head = (struct origin_head){.status = 200, .content_length = total, .total = total, .etag = etag};
    if (total > ORIGIN_LENGTH_MAX)
        return E_PROTOCOL;
    if (request->if_match.len > 0 && !answer_tags_match(request->if_match, etag, true))
        return E_CHANGED;
    if (request->if_none_match.len > 0 && answer_tags_match(request->if_none_match, etag, false)) {
        head->status = 304;
        head->content_length = UINT64_MAX;
        return 0;
    }
    if (!request->ranged)
        return 0;
    if (request->first >= total || request->first > request->last)
        return -ERANGE;
    head->status = 206;
    head->first = request->first;
    head->last = request->last < total ? request->last : total - 1;
    head->content_length = head->last - head->first + 1;
    return 0;
}

void answer_write_content_range(const struct origin_head *head, struct writer *w)
{
    write_bytes(w, BYTES("bytes "));
    write_decimal(w, head->first);
    write_u8(w, '-');
    write_decimal(w, head->last);
    write_u8(w, '/');
    write_decimal(w, head->total);
}

void answer_write_date(int64_t seconds, struct writer *w)
{
    static const char days[7][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char months[12][4] = {
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    time_t time = (time_t)seconds;
    struct tm tm;
    if (gmtime_r(&time, &tm) == NULL) {
        w->failed = true;
        return;
    }
    write_format(w, "%s, %02d %s %04d %02d:%02d:%02d GMT", days[tm.tm_wday], tm.tm_mday, months[tm.tm_mon],
        tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
}
