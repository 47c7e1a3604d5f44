#include "origin/s3_error.h"

#define BODY_MAX 65536

/* Offset of `needle` in `a` from `from` on, or a.len. */
static size_t find(struct bytes a, size_t from, const char *needle)
{
    const uint8_t *at = memmem(a.ptr + from, a.len - from, needle, strlen(needle));
    return at ? (size_t)(at - a.ptr) : a.len;
}

/* The raw text of the first `<name>`; empty where there is none, or no end of it. */
static struct bytes element(struct bytes body, const char *name)
{
    char tag[32];
    struct writer w = writer_of(tag, sizeof tag);
    write_format(&w, "<%s>", name);
    write_u8(&w, 0);
    CHECK(!w.failed);
    size_t start = body.len > 0 ? find(body, 0, tag) : body.len;
    if (start == body.len)
        return bytes_of(NULL, 0);
    start += strlen(tag);
    size_t end = find(body, start, "<");
    return end == body.len ? bytes_of(NULL, 0) : bytes_of(body.ptr + start, end - start);
}

static void put_utf8(struct writer *w, uint32_t c)
{
    if (c >= 0x10000) {
        write_u8(w, (uint8_t)(0xF0 | c >> 18));
        write_u8(w, (uint8_t)(0x80 | (c >> 12 & 0x3F)));
        write_u8(w, (uint8_t)(0x80 | (c >> 6 & 0x3F)));
    } else if (c >= 0x800) {
        write_u8(w, (uint8_t)(0xE0 | c >> 12));
        write_u8(w, (uint8_t)(0x80 | (c >> 6 & 0x3F)));
    } else if (c >= 0x80) {
        write_u8(w, (uint8_t)(0xC0 | c >> 6));
    }
    write_u8(w, (uint8_t)(c < 0x80 ? c : 0x80 | (c & 0x3F)));
}

/* `#38` or `#x26` to a character. False for none, for surrogates and beyond U+10FFFF. */
static bool parse_reference(struct bytes name, uint32_t *c)
{
    bool hex = name.len > 1 && (name.ptr[1] | 0x20) == 'x';
    uint32_t value = 0;
    if (name.len < (hex ? 3u : 2u) || name.ptr[0] != '#')
        return false;
    for (size_t i = hex ? 2 : 1; i < name.len; i++) {
        uint8_t digit = name.ptr[i];
        if (digit >= '0' && digit <= '9')
            digit = (uint8_t)(digit - '0');
        else if (hex && (digit | 0x20) >= 'a' && (digit | 0x20) <= 'f')
            digit = (uint8_t)((digit | 0x20) - 'a' + 10);
        else
            return false;
        value = value * (hex ? 16 : 10) + digit;
        if (value > 0x10FFFF)
            return false;
    }
    if (value >= 0xD800 && value <= 0xDFFF)
        return false;
    *c = value;
    return true;
}

static bool parse_entity(struct bytes name, uint32_t *c)
{
    static const struct {
        const char *name;
        char c;
    } entities[] = {{"amp", '&'}, {"lt", '<'}, {"gt", '>'}, {"quot", '"'}, {"apos", '\''}};
    for (size_t i = 0; i < sizeof entities / sizeof *entities; i++) {
        if (bytes_equal(name, bytes_of_string(entities[i].name))) {
            *c = (uint32_t)entities[i].c;
            return true;
        }
    }
    return parse_reference(name, c);
}

/* The character at the start of *text, a reference decoded; what decodes to nothing stands for itself.
 * Controls become blanks: the texts go into line-oriented logs. */
static uint32_t take_character(struct bytes *text, bool *is_reference)
{
    const size_t longest = 10; /* &#x10FFFF; */
    struct bytes window = bytes_of(text->ptr, text->len < longest ? text->len : longest);
    size_t end = window.ptr[0] == '&' ? find(window, 0, ";") : window.len;
    uint32_t c = text->ptr[0];
    *is_reference = end < window.len && parse_entity(bytes_of(window.ptr + 1, end - 1), &c);
    *text = bytes_from(*text, *is_reference ? end + 1 : 1);
    return c < 0x20 || c == 0x7F ? ' ' : c;
}

static void copy_text(struct bytes text, char *out, size_t capacity)
{
    struct writer w = writer_of(out, capacity - 1);
    text = bytes_trim(text);
    while (text.len > 0 && !w.failed) {
        bool is_reference;
        uint8_t *before = w.at;
        uint32_t c = take_character(&text, &is_reference);
        if (is_reference)
            put_utf8(&w, c);
        else
            write_u8(&w, (uint8_t)c);
        if (w.failed)
            w.at = before;
    }
    *w.at = 0;
}

void s3_error_parse(struct bytes body, struct s3_error *error)
{
    *error = (struct s3_error){0};
    if (body.len > BODY_MAX)
        body.len = BODY_MAX;
    size_t start = body.len > 0 ? find(body, 0, "<Error") : 0;
    body = bytes_from(body, start);
    copy_text(element(body, "Code"), error->code, sizeof error->code);
    copy_text(element(body, "Message"), error->message, sizeof error->message);
    copy_text(element(body, "Region"), error->region, sizeof error->region);
    copy_text(element(body, "RequestId"), error->request_id, sizeof error->request_id);
    copy_text(element(body, "HostId"), error->host_id, sizeof error->host_id);
}

/* Codes that mean something else than their status. */
static const struct {
    const char *code;
    enum s3_verdict verdict;
} verdicts[] = {
    {"NoSuchKey", S3_NOT_FOUND},
    {"NoSuchVersion", S3_NOT_FOUND},
    {"NoSuchObject", S3_NOT_FOUND},
    {"NotFound", S3_NOT_FOUND},
    {"MethodNotAllowed", S3_NOT_FOUND},
    {"AccessDenied", S3_FORBIDDEN},
    {"InvalidObjectState", S3_FORBIDDEN}, /* archived: there, but not to be read */
    {"KeyTooLongError", S3_BAD_REQUEST},
    {"InvalidArgument", S3_BAD_REQUEST}, /* with our requests only a malformed version id */
    {"InvalidURI", S3_BAD_REQUEST},
    {"PreconditionFailed", S3_FAILED},
    {"InvalidRange", S3_UNSATISFIABLE},
    {"SlowDown", S3_UNAVAILABLE},
    {"ServiceUnavailable", S3_UNAVAILABLE},
    {"NoSuchBucket", S3_MISCONFIGURED},
    {"InvalidBucketName", S3_MISCONFIGURED},
    {"InvalidAccessKeyId", S3_MISCONFIGURED},
    {"SignatureDoesNotMatch", S3_MISCONFIGURED},
    {"RequestTimeTooSkewed", S3_MISCONFIGURED},
    {"ExpiredToken", S3_MISCONFIGURED},
    {"InvalidToken", S3_MISCONFIGURED},
    {"TokenRefreshRequired", S3_MISCONFIGURED},
    {"AuthorizationHeaderMalformed", S3_MISCONFIGURED},
    {"MissingSecurityHeader", S3_MISCONFIGURED},
    {"InvalidSecurity", S3_MISCONFIGURED},
    {"AccountProblem", S3_MISCONFIGURED},
    {"AllAccessDisabled", S3_MISCONFIGURED},
    {"NotSignedUp", S3_MISCONFIGURED},
    {"PermanentRedirect", S3_MISCONFIGURED},
    {"TemporaryRedirect", S3_MISCONFIGURED},
    {"Redirect", S3_MISCONFIGURED},
    {"IllegalLocationConstraintException", S3_MISCONFIGURED},
};

static enum s3_verdict verdict_of_status(unsigned status)
{
    switch (status) {
    case 403:
        return S3_FORBIDDEN;
    case 404:
    case 405: /* a version id that names a delete marker */
    case 410:
        return S3_NOT_FOUND;
    case 412:
        return S3_FAILED;
    case 416:
        return S3_UNSATISFIABLE;
    case 429:
    case 503:
        return S3_UNAVAILABLE;
    case 408:
    case 504:
        return S3_TIMEOUT;
    default:
        /* A redirect or another 4xx to a plain signed read is our own doing. */
        return status >= 300 && status < 500 ? S3_MISCONFIGURED : S3_BROKEN;
    }
}

/* The code counts only in an answer that is an error: a 500 with `NoSuchKey` in its body proves nothing. */
enum s3_verdict s3_error_verdict(unsigned status, const struct s3_error *error)
{
    if (status >= 300 && status < 500)
        for (size_t i = 0; i < sizeof verdicts / sizeof *verdicts; i++)
            if (strcmp(verdicts[i].code, error->code) == 0)
                return verdicts[i].verdict;
    /* Something else was not found, a user or an account: to call the object missing would hide it from
     * everybody. */
    if (status == 404 && error->code[0] != '\0')
        return S3_MISCONFIGURED;
    return verdict_of_status(status);
}

bool s3_error_retryable(unsigned status)
{
    return status == 500 || status == 502 || status == 503 || status == 504;
}

unsigned s3_verdict_status(enum s3_verdict verdict)
{
    switch (verdict) {
    case S3_NOT_FOUND:
        return 404;
    case S3_FORBIDDEN:
        return 403;
    case S3_BAD_REQUEST:
        return 400;
    case S3_FAILED:
        return 412;
    case S3_UNSATISFIABLE:
        return 416;
    case S3_UNAVAILABLE:
        return 503;
    case S3_TIMEOUT:
        return 504;
    case S3_MISCONFIGURED:
    case S3_BROKEN:
        return 502;
    }
    UNREACHABLE();
}
