#include "origin/sigv4.h"

#include <openssl/hmac.h>
#include <openssl/sha.h>
#include <time.h>

#include "base/error.h"

#define ALGORITHM "AWS4-HMAC-SHA256"
#define TERMINATOR "aws4_request"
#define DATE_PART_LEN 8

static_assert(SHA256_DIGEST_LENGTH * 2 == SIGV4_HASH_HEX_LEN, "two digits a byte");

void sigv4_timestamp(int64_t seconds, uint8_t timestamp[SIGV4_TIMESTAMP_LEN])
{
    char text[SIGV4_TIMESTAMP_LEN + 1];
    time_t time = (time_t)seconds;
    struct tm civil;
    CHECK(gmtime_r(&time, &civil) && civil.tm_year >= 0 && civil.tm_year <= 8099);
    CHECK(strftime(text, sizeof text, "%Y%m%dT%H%M%SZ", &civil) == SIGV4_TIMESTAMP_LEN);
    memcpy(timestamp, text, SIGV4_TIMESTAMP_LEN);
}

static bool is_unreserved(uint8_t c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.' || c == '_' || c == '~';
}

static void encode_byte(struct writer *w, uint8_t c)
{
    if (is_unreserved(c))
        write_u8(w, c);
    else
        write_percent(w, c);
}

void sigv4_encode(struct writer *w, struct bytes text)
{
    for (size_t i = 0; i < text.len; i++)
        encode_byte(w, text.ptr[i]);
}

void sigv4_encode_path(struct writer *w, struct bytes key)
{
    for (size_t i = 0; i < key.len; i++) {
        if (key.ptr[i] == '/')
            write_u8(w, '/');
        else
            encode_byte(w, key.ptr[i]);
    }
}

/* What stands before `separator`; *rest is what stands after it. */
static struct bytes take_until(struct bytes *rest, uint8_t separator)
{
    const uint8_t *at = rest->len > 0 ? memchr(rest->ptr, separator, rest->len) : NULL;
    size_t len = at ? (size_t)(at - rest->ptr) : rest->len;
    struct bytes taken = bytes_of(rest->ptr, len);
    *rest = bytes_from(*rest, at ? len + 1 : len);
    return taken;
}

static void drop_last_segment(struct writer *w, const uint8_t *start)
{
    while (w->at > start && *--w->at != '/')
        ;
}

/* Dot segments of RFC 3986 5.2.4, and empty segments, removed. */
static void write_normal_path(const struct sigv4_request *request, struct writer *w)
{
    const uint8_t *start = w->at;
    struct bytes rest = request->path, segment = {0};
    bool folder = true;
    while (rest.len > 0) {
        segment = take_until(&rest, '/');
        folder = true;
        if (bytes_equal(segment, BYTES("..")))
            drop_last_segment(w, start);
        else if (segment.len > 0 && !bytes_equal(segment, BYTES("."))) {
            write_u8(w, '/');
            (request->encode_path ? sigv4_encode : write_bytes)(w, segment);
            folder = request->path.ptr[request->path.len - 1] == '/';
        }
    }
    if (w->at == start || folder)
        write_u8(w, '/');
}

static void write_path(const struct sigv4_request *request, struct writer *w)
{
    if (request->normalize_path)
        write_normal_path(request, w);
    else if (request->path.len == 0)
        write_u8(w, '/');
    else if (request->encode_path)
        sigv4_encode_path(w, request->path);
    else
        write_bytes(w, request->path);
}

struct parameter {
    struct bytes name, value; /* as sent */
};

static int hex_value(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Takes one decoded byte off *text, which is not empty. A `%` that encodes nothing stands for itself. */
static uint8_t take_decoded(struct bytes *text)
{
    uint8_t c = text->ptr[0];
    size_t taken = 1;
    if (c == '%' && text->len >= 3) {
        int high = hex_value(text->ptr[1]), low = hex_value(text->ptr[2]);
        if (high >= 0 && low >= 0) {
            c = (uint8_t)(high << 4 | low);
            taken = 3;
        }
    }
    *text = bytes_from(*text, taken);
    return c;
}

/* The canonical order is that of the encoded text. `%` sorts before all unreserved bytes, so encoded bytes
 * come first. */
static unsigned rank(uint8_t c)
{
    return is_unreserved(c) ? 256u + c : c;
}

static int compare_encoded(struct bytes a, struct bytes b)
{
    while (a.len > 0 && b.len > 0) {
        unsigned left = rank(take_decoded(&a)), right = rank(take_decoded(&b));
        if (left != right)
            return left < right ? -1 : 1;
    }
    return (a.len > 0) - (b.len > 0);
}

static bool parameter_before(const struct parameter *a, const struct parameter *b)
{
    int order = compare_encoded(a->name, b->name);
    return order ? order < 0 : compare_encoded(a->value, b->value) < 0;
}

/* Number of parameters; more than fit is SIZE_MAX. Inserted in order. */
static size_t sort_parameters(struct bytes query, struct parameter sorted[SIGV4_PARAMETERS_MAX])
{
    size_t count = 0;
    while (query.len > 0) {
        struct bytes piece = take_until(&query, '&');
        if (piece.len == 0)
            continue;
        if (count == SIGV4_PARAMETERS_MAX)
            return SIZE_MAX;
        struct parameter parameter = {.name = take_until(&piece, '=')};
        parameter.value = piece;
        size_t at = count++;
        for (; at > 0 && parameter_before(&parameter, &sorted[at - 1]); at--)
            sorted[at] = sorted[at - 1];
        sorted[at] = parameter;
    }
    return count;
}

static void write_reencoded(struct writer *w, struct bytes text)
{
    while (text.len > 0)
        encode_byte(w, take_decoded(&text));
}

static void write_query(const struct sigv4_request *request, struct writer *w)
{
    struct parameter sorted[SIGV4_PARAMETERS_MAX];
    size_t count = sort_parameters(request->query, sorted);
    if (count == SIZE_MAX) {
        w->failed = true;
        return;
    }
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            write_u8(w, '&');
        write_reencoded(w, sorted[i].name);
        write_u8(w, '=');
        write_reencoded(w, sorted[i].value);
    }
}

static uint8_t lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c | 0x20) : c;
}

static int compare_names(struct bytes a, struct bytes b)
{
    for (size_t i = 0; i < a.len && i < b.len; i++) {
        uint8_t left = lower(a.ptr[i]), right = lower(b.ptr[i]);
        if (left != right)
            return left < right ? -1 : 1;
    }
    return (a.len > b.len) - (a.len < b.len);
}

/* Stable: repeated fields keep their order. */
static void sort_fields(
    const struct sigv4_request *request, const struct sigv4_field *sorted[SIGV4_FIELDS_MAX])
{
    CHECK(request->field_count <= SIGV4_FIELDS_MAX);
    for (size_t i = 0; i < request->field_count; i++) {
        const struct sigv4_field *field = &request->fields[i];
        size_t at = i;
        for (; at > 0 && compare_names(field->name, sorted[at - 1]->name) < 0; at--)
            sorted[at] = sorted[at - 1];
        sorted[at] = field;
    }
}

static void write_name(struct writer *w, struct bytes name)
{
    for (size_t i = 0; i < name.len; i++)
        write_u8(w, lower(name.ptr[i]));
}

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Trimmed, runs of blanks become one space. */
static void write_value(struct writer *w, struct bytes value)
{
    bool pending = false, any = false;
    for (size_t i = 0; i < value.len; i++) {
        if (is_blank(value.ptr[i])) {
            pending = any;
            continue;
        }
        if (pending)
            write_u8(w, ' ');
        write_u8(w, value.ptr[i]);
        pending = false;
        any = true;
    }
}

static void write_fields(const struct sigv4_request *request, struct writer *w)
{
    const struct sigv4_field *sorted[SIGV4_FIELDS_MAX];
    sort_fields(request, sorted);
    for (size_t i = 0; i < request->field_count; i++) {
        bool repeated = i > 0 && compare_names(sorted[i]->name, sorted[i - 1]->name) == 0;
        if (i > 0 && !repeated)
            write_u8(w, '\n');
        if (!repeated)
            write_name(w, sorted[i]->name);
        write_u8(w, repeated ? ',' : ':');
        write_value(w, sorted[i]->value);
    }
    if (request->field_count > 0)
        write_u8(w, '\n');
}

void sigv4_signed_fields(const struct sigv4_request *request, struct writer *w)
{
    const struct sigv4_field *sorted[SIGV4_FIELDS_MAX];
    sort_fields(request, sorted);
    for (size_t i = 0; i < request->field_count; i++) {
        if (i > 0 && compare_names(sorted[i]->name, sorted[i - 1]->name) == 0)
            continue;
        if (i > 0)
            write_u8(w, ';');
        write_name(w, sorted[i]->name);
    }
}

void sigv4_canonical_request(const struct sigv4_request *request, struct writer *w)
{
    write_bytes(w, request->method);
    write_u8(w, '\n');
    write_path(request, w);
    write_u8(w, '\n');
    write_query(request, w);
    write_u8(w, '\n');
    write_fields(request, w);
    write_u8(w, '\n');
    sigv4_signed_fields(request, w);
    write_u8(w, '\n');
    write_bytes(w, request->payload_hash);
}

static void write_scope(const struct sigv4_scope *scope, struct writer *w)
{
    write_bytes(w, bytes_of(scope->timestamp, DATE_PART_LEN));
    write_u8(w, '/');
    write_bytes(w, scope->region);
    write_u8(w, '/');
    write_bytes(w, scope->service);
    write_bytes(w, BYTES("/" TERMINATOR));
}

void sigv4_string_to_sign(const struct sigv4_scope *scope, struct bytes canonical_request, struct writer *w)
{
    uint8_t hash[SHA256_DIGEST_LENGTH];
    if (!SHA256(canonical_request.ptr, canonical_request.len, hash)) {
        w->failed = true;
        return;
    }
    write_bytes(w, BYTES(ALGORITHM "\n"));
    write_bytes(w, bytes_of(scope->timestamp, SIGV4_TIMESTAMP_LEN));
    write_u8(w, '\n');
    write_scope(scope, w);
    write_u8(w, '\n');
    write_hex(w, bytes_of(hash, sizeof hash));
}

/* key = HMAC(key, text), in place. */
static bool chain(uint8_t key[SHA256_DIGEST_LENGTH], struct bytes text)
{
    uint8_t mac[SHA256_DIGEST_LENGTH];
    if (!HMAC(EVP_sha256(), key, SHA256_DIGEST_LENGTH, text.ptr, text.len, mac, NULL))
        return false;
    memcpy(key, mac, sizeof mac);
    return true;
}

static int first_key(struct bytes secret_key, struct bytes date, uint8_t key[SHA256_DIGEST_LENGTH])
{
    uint8_t secret[4 + SIGV4_SECRET_MAX] = "AWS4";
    if (secret_key.len > SIGV4_SECRET_MAX)
        return E_TOO_LARGE;
    if (secret_key.len > 0)
        memcpy(secret + 4, secret_key.ptr, secret_key.len);
    bool done = HMAC(EVP_sha256(), secret, (int)(4 + secret_key.len), date.ptr, date.len, key, NULL);
    OPENSSL_cleanse(secret, sizeof secret);
    return done ? 0 : E_EXHAUSTED;
}

int sigv4_signature(const struct sigv4_scope *scope, struct bytes secret_key, struct bytes string_to_sign,
    uint8_t hex[SIGV4_HASH_HEX_LEN])
{
    uint8_t key[SHA256_DIGEST_LENGTH];
    int result = first_key(secret_key, bytes_of(scope->timestamp, DATE_PART_LEN), key);
    if (result < 0)
        return result;
    bool done = chain(key, scope->region) && chain(key, scope->service) && chain(key, BYTES(TERMINATOR)) &&
                chain(key, string_to_sign);
    struct writer w = writer_of(hex, SIGV4_HASH_HEX_LEN);
    write_hex(&w, bytes_of(key, sizeof key));
    CHECK(!w.failed);
    OPENSSL_cleanse(key, sizeof key);
    return done ? 0 : E_EXHAUSTED;
}

/* Also the 64 hex digits of the hash and the algorithm's name; the scope is what varies. */
#define STRING_TO_SIGN_MAX 1024

int sigv4_authorize(const struct sigv4_request *request, const struct sigv4_scope *scope,
    const struct sigv4_credentials *credentials, struct writer scratch, struct writer *w)
{
    uint8_t text[STRING_TO_SIGN_MAX], signature[SIGV4_HASH_HEX_LEN];
    struct writer string_to_sign = writer_of(text, sizeof text);
    sigv4_canonical_request(request, &scratch);
    sigv4_string_to_sign(scope, writer_bytes(&scratch), &string_to_sign);
    if (scratch.failed || string_to_sign.failed)
        return E_TOO_LARGE;
    int result = sigv4_signature(scope, credentials->secret_key, writer_bytes(&string_to_sign), signature);
    if (result < 0)
        return result;
    write_bytes(w, BYTES(ALGORITHM " Credential="));
    write_bytes(w, credentials->access_key);
    write_u8(w, '/');
    write_scope(scope, w);
    write_bytes(w, BYTES(", SignedHeaders="));
    sigv4_signed_fields(request, w);
    write_bytes(w, BYTES(", Signature="));
    write_bytes(w, bytes_of(signature, sizeof signature));
    return w->failed ? E_TOO_LARGE : 0;
}
