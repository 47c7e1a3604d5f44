#include "describe.h"

#include <stdlib.h>

void describe_begin(struct describe *describe, const struct http_limits *limits)
{
    describe->limits = *limits;
    http_parser_init(&describe->parser, limits);
    describe->body = (struct http_body){.done = true};
    describe->state = DESCRIBE_HEAD;
    describe->head = NULL;
    describe->len = 0;
    describe->w = writer_of(describe->text, sizeof describe->text - 1);
}

static void end_with(struct describe *describe, enum http_refusal refusal)
{
    write_format(&describe->w, "refused %s %u\n", http_refusal_name(refusal), http_refusal_status(refusal));
    describe->state = DESCRIBE_OVER;
}

static void drop(struct describe *describe, size_t len)
{
    size_t left = describe->len - len;
    uint8_t *rest = left ? malloc(left) : NULL;
    if (left)
        memcpy(rest, describe->head + len, left);
    free(describe->head);
    describe->head = rest;
    describe->len = left;
}

static void tell_request(struct describe *describe)
{
    const struct http_request *request = &describe->request;
    struct writer *w = &describe->w;
    write_bytes(w, request->method_text);
    write_u8(w, ' ');
    write_bytes(w, request->target);
    write_format(w, " 1.%u %s host=", request->minor, request->keep_alive ? "keep" : "close");
    write_bytes(w, request->host);
    write_bytes(w, request->expect_continue ? BYTES(" expect\n") : BYTES("\n"));
    for (unsigned i = 0; i < request->fields.count; i++) {
        write_bytes(w, BYTES("  "));
        write_bytes(w, request->fields.fields[i].name);
        write_u8(w, '=');
        write_bytes(w, request->fields.fields[i].value);
        write_u8(w, '\n');
    }
}

/* Each returns whether to go on. */
static bool step_head(struct describe *describe)
{
    if (describe->len == 0)
        return false;
    enum http_parse parse =
        http_parser_feed(&describe->parser, bytes_of(describe->head, describe->len), &describe->request);
    if (parse == HTTP_PARSE_REFUSAL)
        end_with(describe, describe->parser.refusal);
    if (parse != HTTP_PARSE_REQUEST)
        return false;
    tell_request(describe);
    http_body_init(&describe->body, &describe->request, describe->parser.limits.max_body_bytes);
    drop(describe, describe->request.head_bytes);
    http_parser_reset(&describe->parser);
    describe->state = DESCRIBE_BODY;
    describe->hash = UINT64_C(14695981039346656037);
    return true;
}

static bool step_body(struct describe *describe)
{
    struct http_body *body = &describe->body;
    struct bytes piece;
    size_t taken = http_body_feed(body, bytes_of(describe->head, describe->len), &piece);
    CHECK(taken <= describe->len && piece.len <= taken);
    CHECK(taken > 0 || describe->len == 0 || body->done || body->refusal != HTTP_ACCEPTED);
    for (size_t i = 0; i < piece.len; i++)
        describe->hash = (describe->hash ^ piece.ptr[i]) * UINT64_C(1099511628211);
    drop(describe, taken);
    if (body->refusal != HTTP_ACCEPTED) {
        end_with(describe, body->refusal);
        return false;
    }
    if (!body->done)
        return taken > 0;
    if (body->framing != HTTP_BODY_NONE)
        write_format(&describe->w, "body %llu %016llx\n", (unsigned long long)body->body_bytes,
            (unsigned long long)describe->hash);
    describe->state = DESCRIBE_HEAD;
    if (!describe->request.keep_alive)
        describe->state = DESCRIBE_OVER;
    return describe->request.keep_alive;
}

void describe_feed(struct describe *describe, struct bytes piece)
{
    uint8_t *joined = malloc(describe->len + piece.len + !piece.len);
    if (describe->len > 0)
        memcpy(joined, describe->head, describe->len);
    if (piece.len > 0)
        memcpy(joined + describe->len, piece.ptr, piece.len);
    free(describe->head);
    describe->head = joined;
    describe->len += piece.len;
    while (describe->state == DESCRIBE_HEAD ? step_head(describe)
                                            : describe->state == DESCRIBE_BODY && step_body(describe))
        ;
}

const char *describe_end(struct describe *describe)
{
    struct writer *w = &describe->w;
    bool refused = describe->parser.refusal != HTTP_ACCEPTED || describe->body.refusal != HTTP_ACCEPTED;
    if (describe->state == DESCRIBE_OVER && !refused)
        write_format(w, "closed %zu\n", describe->len);
    else if (describe->state != DESCRIBE_OVER)
        write_bytes(
            w, describe->state == DESCRIBE_HEAD && describe->len == 0 ? BYTES("end\n") : BYTES("more\n"));
    free(describe->head);
    describe->head = NULL;
    *w->at = 0; /* one byte is kept free for it */
    return describe->text;
}
