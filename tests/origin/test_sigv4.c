/* SigV4 against what AWS publishes: the examples of the S3 documents, and the vector suite beside the
 * project. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <jansson.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/error.h"
#include "origin/sigv4.h"

/* "Examples: Signature calculations", Amazon S3 API reference, sig-v4-header-based-auth. */
static const struct sigv4_credentials example = {{(const uint8_t *)"AKIAIOSFODNN7EXAMPLE", 20},
    {(const uint8_t *)"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", 40}};

#define MAY_24 "20130524T000000Z"
#define HOST                                                                                                 \
    {                                                                                                        \
        BYTES("Host"), BYTES("examplebucket.s3.amazonaws.com")                                               \
    }
#define DATE                                                                                                 \
    {                                                                                                        \
        BYTES("x-amz-date"), BYTES(MAY_24)                                                                   \
    }
#define EMPTY                                                                                                \
    {                                                                                                        \
        BYTES("x-amz-content-sha256"), BYTES(SIGV4_EMPTY_HASH)                                               \
    }

static struct sigv4_scope scope_of(const char *timestamp, const char *service)
{
    struct sigv4_scope scope = {.region = BYTES("us-east-1"), .service = bytes_of_string(service)};
    memcpy(scope.timestamp, timestamp, SIGV4_TIMESTAMP_LEN);
    return scope;
}

static struct bytes authorize(const struct sigv4_request *request, const struct sigv4_scope *scope,
    const struct sigv4_credentials *credentials)
{
    static char text[16384], scratch[16384];
    struct writer w = writer_of(text, sizeof text);
    assert_int_equal(sigv4_authorize(request, scope, credentials, writer_of(scratch, sizeof scratch), &w), 0);
    return writer_bytes(&w);
}

static void assert_ends_with(struct bytes text, const char *end)
{
    size_t len = strlen(end);
    if (text.len < len || memcmp(text.ptr + text.len - len, end, len) != 0)
        fail_msg("%.*s\ndoes not end with %s", (int)text.len, (const char *)text.ptr, end);
}

static void test_published_examples(void **state)
{
    const struct {
        const char *method, *path, *query;
        struct sigv4_field fields[6];
        size_t field_count;
        const char *hash, *signed_fields, *signature;
    } cases[] = {
        {"GET", "/test.txt", "", {HOST, {BYTES("Range"), BYTES("bytes=0-9")}, EMPTY, DATE}, 4,
            SIGV4_EMPTY_HASH, "host;range;x-amz-content-sha256;x-amz-date",
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"},
        {"PUT", "/test%24file.text", "",
            {{BYTES("Date"), BYTES("Fri, 24 May 2013 00:00:00 GMT")}, HOST,
                {BYTES("x-amz-content-sha256"),
                    BYTES("44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072")},
                DATE, {BYTES("x-amz-storage-class"), BYTES("REDUCED_REDUNDANCY")}},
            5, "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072",
            "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"},
        {"GET", "/", "lifecycle", {HOST, EMPTY, DATE}, 3, SIGV4_EMPTY_HASH,
            "host;x-amz-content-sha256;x-amz-date",
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"},
        {"GET", "/", "max-keys=2&prefix=J", {HOST, EMPTY, DATE}, 3, SIGV4_EMPTY_HASH,
            "host;x-amz-content-sha256;x-amz-date",
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"},
    };
    struct sigv4_scope scope = scope_of(MAY_24, "s3");
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct sigv4_request request = {.method = bytes_of_string(cases[i].method),
            .path = bytes_of_string(cases[i].path),
            .query = bytes_of_string(cases[i].query),
            .fields = cases[i].fields,
            .field_count = cases[i].field_count,
            .payload_hash = bytes_of_string(cases[i].hash)};
        char want[512];
        snprintf(want, sizeof want,
            "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, "
            "SignedHeaders=%s, "
            "Signature=%s",
            cases[i].signed_fields, cases[i].signature);
        struct bytes got = authorize(&request, &scope, &example);
        assert_int_equal(got.len, strlen(want));
        assert_ends_with(got, want);
    }
}

/* "Authenticating Requests: Using Query Parameters", the same documents. */
static void test_published_presigned(void **state)
{
    static const struct sigv4_field fields[] = {HOST};
    struct sigv4_request request = {.method = BYTES("GET"),
        .path = BYTES("/test.txt"),
        .query = BYTES(
            "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2F"
            "s3%2Faws4_request&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host"),
        .fields = fields,
        .field_count = 1,
        .payload_hash = BYTES(SIGV4_UNSIGNED_PAYLOAD)};
    struct sigv4_scope scope = scope_of(MAY_24, "s3");
    (void)state;
    assert_ends_with(authorize(&request, &scope, &example),
        "Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404");
}

static void assert_encodes(void (*encode)(struct writer *, struct bytes), const char *text, const char *want)
{
    char out[256];
    struct writer w = writer_of(out, sizeof out);
    encode(&w, bytes_of_string(text));
    if (w.failed || !bytes_equal(writer_bytes(&w), bytes_of_string(want)))
        fail_msg("'%s': '%.*s'", text, (int)(w.at - w.start), out);
}

static void test_encode(void **state)
{
    (void)state;
    assert_encodes(sigv4_encode_path, "a/b", "a/b");
    assert_encodes(sigv4_encode_path, "/lead//trail/", "/lead//trail/");
    assert_encodes(sigv4_encode_path, "AZaz09-._~", "AZaz09-._~");
    assert_encodes(sigv4_encode_path, " +%&=;*'\"()!$,:@?#[]<>{}|\\^`",
        "%20%2B%25%26%3D%3B%2A%27%22%28%29%21%24%2C%3A%40%3F%23%5B%5D%3C%3E%7B%7D%7C%5C%5E%60");
    assert_encodes(sigv4_encode_path, "\xC3\xA9\x01\x7F", "%C3%A9%01%7F");
    assert_encodes(sigv4_encode_path, "a%2Fb", "a%252Fb");
    assert_encodes(sigv4_encode, "a/b", "a%2Fb");
}

static void test_timestamp(void **state)
{
    uint8_t text[SIGV4_TIMESTAMP_LEN];
    (void)state;
    sigv4_timestamp(1369353600, text);
    assert_memory_equal(text, MAY_24, SIGV4_TIMESTAMP_LEN);
    sigv4_timestamp(0, text);
    assert_memory_equal(text, "19700101T000000Z", SIGV4_TIMESTAMP_LEN);
}

/* What does not fit is a result, never a wrong signature. */
static void test_limits(void **state)
{
    static const struct sigv4_field fields[] = {HOST, DATE};
    struct sigv4_request request = {.method = BYTES("GET"),
        .path = BYTES("/a"),
        .fields = fields,
        .field_count = 2,
        .payload_hash = BYTES(SIGV4_EMPTY_HASH)};
    struct sigv4_scope scope = scope_of(MAY_24, "s3");
    char scratch[1024], out[1024], query[256] = "";
    struct writer w = writer_of(out, sizeof out), tight = writer_of(out, 100);
    static const uint8_t long_secret[SIGV4_SECRET_MAX + 1];
    struct sigv4_credentials wrong = {example.access_key, bytes_of(long_secret, sizeof long_secret)};
    (void)state;
    assert_int_equal(sigv4_authorize(&request, &scope, &example, writer_of(scratch, 100), &w), E_TOO_LARGE);
    assert_int_equal(
        sigv4_authorize(&request, &scope, &example, writer_of(scratch, 1024), &tight), E_TOO_LARGE);
    assert_int_equal(sigv4_authorize(&request, &scope, &wrong, writer_of(scratch, 1024), &w), E_TOO_LARGE);
    wrong.secret_key.len--;
    assert_int_equal(sigv4_authorize(&request, &scope, &wrong, writer_of(scratch, 1024), &w), 0);
    for (int i = 0; i < SIGV4_PARAMETERS_MAX; i++)
        memcpy(query + strlen(query), "a&", 3);
    request.query = bytes_of_string(query);
    w = writer_of(out, sizeof out);
    assert_int_equal(sigv4_authorize(&request, &scope, &example, writer_of(scratch, 1024), &w), 0);
    memcpy(query + strlen(query), "a&", 3);
    request.query = bytes_of_string(query);
    assert_int_equal(sigv4_authorize(&request, &scope, &example, writer_of(scratch, 1024), &w), E_TOO_LARGE);
}

/* ---- the vector suite ---- */

static const char *vectors_folder(void)
{
    static char path[1024];
    const char *root = getenv("YATA_VECTORS");
    if (root)
        snprintf(path, sizeof path, "%s/sigv4", root);
    else
        snprintf(path, sizeof path, "%s/../shared/vectors/sigv4", SOURCE_ROOT);
    return path;
}

struct file {
    char text[8192];
    size_t len;
};

static void load(const char *name, const char *file, struct file *out)
{
    char path[2048];
    snprintf(path, sizeof path, "%s/%s/%s", vectors_folder(), name, file);
    FILE *stream = fopen(path, "rb");
    if (!stream)
        fail_msg("no %s", path);
    out->len = fread(out->text, 1, sizeof out->text - 1, stream);
    fclose(stream);
    out->text[out->len] = 0;
}

static void assert_file(const char *name, const char *file, struct bytes got)
{
    struct file want;
    load(name, file, &want);
    if (!bytes_equal(got, bytes_of(want.text, want.len)))
        fail_msg("%s/%s:\n%.*s\n--- want\n%s", name, file, (int)got.len, (const char *)got.ptr, want.text);
}

/* One case, taken apart. Texts are borrowed from `file` and `context`. */
struct vector {
    const char *name;
    struct file file;
    json_t *context;
    struct sigv4_field fields[SIGV4_FIELDS_MAX];
    struct sigv4_request request;
    struct sigv4_scope scope;
    struct sigv4_credentials credentials;
    struct bytes token;
    bool omit_token, sign_body;
    char hash[SIGV4_HASH_HEX_LEN], query[4096];
};

static struct bytes take_line(struct bytes *rest)
{
    const uint8_t *end = rest->len > 0 ? memchr(rest->ptr, '\n', rest->len) : NULL;
    size_t len = end ? (size_t)(end - rest->ptr) : rest->len;
    struct bytes line = bytes_of(rest->ptr, len);
    *rest = bytes_from(*rest, end ? len + 1 : len);
    return line;
}

static void parse_request_line(struct vector *v, struct bytes line)
{
    const uint8_t *space = memchr(line.ptr, ' ', line.len);
    const uint8_t *last = memrchr(line.ptr, ' ', line.len);
    const uint8_t *mark = memchr(line.ptr, '?', line.len);
    const uint8_t *path_end = mark ? mark : last;
    v->request.method = bytes_of(line.ptr, (size_t)(space - line.ptr));
    v->request.path = bytes_of(space + 1, (size_t)(path_end - space - 1));
    v->request.query = mark ? bytes_of(mark + 1, (size_t)(last - mark - 1)) : bytes_of("", 0);
}

static void add_field(struct vector *v, struct bytes name, struct bytes value)
{
    assert_true(v->request.field_count < SIGV4_FIELDS_MAX);
    v->fields[v->request.field_count++] = (struct sigv4_field){name, value};
}

/* A line that begins with a blank continues the field before. */
static void parse_fields(struct vector *v, struct bytes *rest)
{
    for (struct bytes line = take_line(rest); line.len > 0; line = take_line(rest)) {
        if (line.ptr[0] == ' ') {
            struct bytes *value = &v->fields[v->request.field_count - 1].value;
            value->len = (size_t)(line.ptr + line.len - value->ptr);
            continue;
        }
        const uint8_t *colon = memchr(line.ptr, ':', line.len);
        size_t len = (size_t)(colon - line.ptr);
        add_field(v, bytes_of(line.ptr, len), bytes_from(line, len + 1));
    }
}

static struct bytes context_text(const struct vector *v, const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    if (!text)
        fail_msg("%s: no %s", v->name, key);
    return bytes_of_string(text);
}

static void load_context(struct vector *v)
{
    static struct file file;
    json_error_t error;
    load(v->name, "context.json", &file);
    v->context = json_loads(file.text, 0, &error);
    const json_t *credentials = json_object_get(v->context, "credentials");
    v->credentials.access_key = context_text(v, credentials, "access_key_id");
    v->credentials.secret_key = context_text(v, credentials, "secret_access_key");
    if (json_object_get(credentials, "token"))
        v->token = context_text(v, credentials, "token");
    v->scope.region = context_text(v, v->context, "region");
    v->scope.service = context_text(v, v->context, "service");
    v->omit_token = json_is_true(json_object_get(v->context, "omit_session_token"));
    v->sign_body = json_is_true(json_object_get(v->context, "sign_body"));
    v->request.normalize_path = json_is_true(json_object_get(v->context, "normalize"));
    v->request.encode_path = true;
    assert_string_equal(json_string_value(json_object_get(v->context, "timestamp")), "2015-08-30T12:36:00Z");
    sigv4_timestamp(1440938160, v->scope.timestamp);
    assert_memory_equal(v->scope.timestamp, "20150830T123600Z", SIGV4_TIMESTAMP_LEN);
}

static void load_vector(const char *name, struct vector *v)
{
    uint8_t hash[SHA256_DIGEST_LENGTH];
    *v = (struct vector){.name = name};
    load(name, "request.txt", &v->file);
    struct bytes rest = bytes_of(v->file.text, v->file.len);
    parse_request_line(v, take_line(&rest));
    parse_fields(v, &rest);
    SHA256(rest.ptr, rest.len, hash);
    struct writer w = writer_of(v->hash, sizeof v->hash);
    write_hex(&w, bytes_of(hash, sizeof hash));
    v->request.payload_hash = bytes_of(v->hash, sizeof v->hash);
    v->request.fields = v->fields;
    load_context(v);
}

/* The three steps against the three files of one form. */
static void assert_steps(struct vector *v, const char *form)
{
    char canonical[8192], to_sign[1024], file[64];
    uint8_t signature[SIGV4_HASH_HEX_LEN];
    struct writer w = writer_of(canonical, sizeof canonical), s = writer_of(to_sign, sizeof to_sign);
    sigv4_canonical_request(&v->request, &w);
    assert_false(w.failed);
    snprintf(file, sizeof file, "%s-canonical-request.txt", form);
    assert_file(v->name, file, writer_bytes(&w));
    sigv4_string_to_sign(&v->scope, writer_bytes(&w), &s);
    assert_false(s.failed);
    snprintf(file, sizeof file, "%s-string-to-sign.txt", form);
    assert_file(v->name, file, writer_bytes(&s));
    assert_int_equal(sigv4_signature(&v->scope, v->credentials.secret_key, writer_bytes(&s), signature), 0);
    snprintf(file, sizeof file, "%s-signature.txt", form);
    assert_file(v->name, file, bytes_of(signature, sizeof signature));
}

static void check_header_form(const char *name)
{
    struct vector v;
    struct file want;
    load_vector(name, &v);
    add_field(&v, BYTES("X-Amz-Date"), bytes_of(v.scope.timestamp, SIGV4_TIMESTAMP_LEN));
    if (v.token.len > 0 && !v.omit_token)
        add_field(&v, BYTES("X-Amz-Security-Token"), v.token);
    if (v.sign_body)
        add_field(&v, BYTES("x-amz-content-sha256"), v.request.payload_hash);
    assert_steps(&v, "header");
    struct bytes got = authorize(&v.request, &v.scope, &v.credentials);
    load(name, "header-signed-request.txt", &want);
    if (!memmem(want.text, want.len, got.ptr, got.len))
        fail_msg("%s: %.*s is not in\n%s", name, (int)got.len, (const char *)got.ptr, want.text);
    json_decref(v.context);
}

static void check_query_form(const char *name)
{
    struct vector v;
    char signed_fields[512];
    load_vector(name, &v);
    struct writer w = writer_of(v.query, sizeof v.query),
                  names = writer_of(signed_fields, sizeof signed_fields);
    write_bytes(&w, v.request.query);
    write_bytes(&w, BYTES("&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential="));
    sigv4_encode(&w, v.credentials.access_key);
    write_bytes(&w, BYTES("%2F20150830%2Fus-east-1%2Fservice%2Faws4_request&X-Amz-Date=20150830T123600Z"));
    write_bytes(&w, BYTES("&X-Amz-Expires=3600&X-Amz-SignedHeaders="));
    sigv4_signed_fields(&v.request, &names);
    sigv4_encode(&w, writer_bytes(&names));
    if (v.token.len > 0 && !v.omit_token) {
        write_bytes(&w, BYTES("&X-Amz-Security-Token="));
        sigv4_encode(&w, v.token);
    }
    assert_false(w.failed || names.failed);
    v.request.query = writer_bytes(&w);
    assert_steps(&v, "query");
    json_decref(v.context);
}

static void test_vectors(void **state)
{
    DIR *folder = opendir(vectors_folder());
    unsigned count = 0;
    (void)state;
    if (!folder) {
        print_message("no vectors in %s: skipped\n", vectors_folder());
        skip();
    }
    for (struct dirent *entry = readdir(folder); entry; entry = readdir(folder)) {
        if (entry->d_name[0] == '.')
            continue;
        check_header_form(entry->d_name);
        check_query_form(entry->d_name);
        count++;
    }
    closedir(folder);
    assert_int_equal(count, 38);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_published_examples),
        cmocka_unit_test(test_published_presigned),
        cmocka_unit_test(test_encode),
        cmocka_unit_test(test_timestamp),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_vectors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
