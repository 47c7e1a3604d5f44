/* Heads of answers, split at line ends as libcurl does, held against a few requests. What is taken must be
 * consistent. */
#include "base/check.h"
#include "origin/response.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void judge(const struct response *response, const struct origin_request *request)
{
    struct origin_head head;
    if (response_judge(response, request, &head) != 0)
        return;
    CHECK(head.status == 200 || head.status == 206 || head.status == 304);
    if (head.status == 206) {
        CHECK(request->ranged && head.first == request->first && head.last <= request->last);
        CHECK(head.content_length == head.last - head.first + 1);
        CHECK(head.total == UINT64_MAX || head.last < head.total);
    }
    CHECK(head.field_count <= RESPONSE_FIELDS_MAX);
    for (unsigned i = 0; i < head.field_count; i++) {
        CHECK(head.fields[i].name.len > 0);
        struct bytes value = head.fields[i].value;
        CHECK(memchr(value.ptr, '\n', value.len) == NULL && memchr(value.ptr, '\0', value.len) == NULL);
    }
}

static void judge_any(const struct response *response, const struct origin_request *request)
{
    struct origin_head head;
    if (response_judge_any(response, request, &head) != 0)
        return;
    CHECK(head.status >= 200 && head.status <= 599);
    CHECK(head.status != 206 || request->verbatim || request->ranged);
    CHECK(response->told_count + response->trailer_count <= RESPONSE_FIELDS_MAX);
    for (unsigned i = 0; i < response->trailer_count; i++) {
        struct origin_field field = response_trailers(response)[i];
        CHECK(field.name.len > 0 && memchr(field.value.ptr, '\n', field.value.len) == NULL);
        CHECK(!bytes_equal_nocase(field.name, BYTES("content-length")));
    }
}

static void feed_any(const uint8_t *data, size_t len)
{
    static struct response response = {.any_server = true};
    int result = 0;
    bool final = false;
    response_reset(&response);
    while (len > 0 && result >= 0) {
        const uint8_t *end = memchr(data, '\n', len);
        size_t line = end == NULL ? len : (size_t)(end + 1 - data);
        result = response_line(&response, bytes_of(data, line));
        final |= result == RESPONSE_FINAL;
        data += line;
        len -= line;
    }
    if (result < 0 || !final)
        return;
    judge_any(&response, &(struct origin_request){0});
    judge_any(&response, &(struct origin_request){.verbatim = true});
    judge_any(&response,
        &(struct origin_request){.ranged = true, .first = 0, .last = 9, .if_match = BYTES("\"a\"")});
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static struct response response;
    int result = 0;
    feed_any(data, len);
    response_reset(&response);
    while (len > 0 && (result == RESPONSE_MORE || result == RESPONSE_INTERIM)) {
        const uint8_t *end = memchr(data, '\n', len);
        size_t line = end == NULL ? len : (size_t)(end + 1 - data);
        result = response_line(&response, bytes_of(data, line));
        data += line;
        len -= line;
    }
    if (result != 1)
        return 0;
    judge(&response, &(struct origin_request){0});
    judge(&response, &(struct origin_request){.head_only = true});
    judge(&response, &(struct origin_request){.ranged = true, .first = 0, .last = 9});
    judge(&response, &(struct origin_request){.ranged = true, .first = 5, .last = ORIGIN_TO_END});
    judge(&response, &(struct origin_request){.if_match = BYTES("\"a\""), .if_none_match = BYTES("\"b\"")});
    return 0;
}
