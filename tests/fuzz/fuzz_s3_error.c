/* S3's error bodies: any bytes give bounded texts without controls, and a verdict with a status. */
#include "origin/s3_error.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_text(const char *text, size_t capacity)
{
    size_t len = strnlen(text, capacity);
    CHECK(len < capacity);
    for (size_t i = 0; i < len; i++)
        CHECK((unsigned char)text[i] >= ' ' && text[i] != 0x7F);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct s3_error error;
    s3_error_parse(bytes_of(data, size), &error);
    check_text(error.code, sizeof error.code);
    check_text(error.message, sizeof error.message);
    check_text(error.region, sizeof error.region);
    check_text(error.request_id, sizeof error.request_id);
    check_text(error.host_id, sizeof error.host_id);
    for (unsigned status = 300; status < 600; status++)
        CHECK(s3_verdict_status(s3_error_verdict(status, &error)) >= 400);
    return 0;
}
