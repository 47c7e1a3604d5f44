/* The answer to ListObjectsV2, in two pieces: keys stay within the bound and hold no NUL, and pieces make no
 * difference. */
#include "origin/s3_list.h"

#include <stdlib.h>

#include "base/error.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int parse(struct s3_list *list, struct bytes first, struct bytes second)
{
    if (s3_list_init(list) < 0)
        abort();
    int error = s3_list_feed(list, first);
    if (error == 0 && second.len > 0)
        error = s3_list_feed(list, second);
    return error != 0 ? error : s3_list_end(list);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct s3_list whole, halves;
    struct bytes key, other, body = bytes_of(data, size);
    size_t half = size > 0 ? data[0] % size : 0;
    int error = parse(&whole, body, (struct bytes){0});
    int again = parse(&halves, bytes_of(data, half), bytes_from(body, half));
    CHECK((error == 0) == (again == 0));
    size_t sum = 0;
    while (error == 0 && s3_list_take(&whole, &key)) {
        CHECK(s3_list_take(&halves, &other) && bytes_equal(key, other));
        sum += key.len;
    }
    CHECK(error != 0 || (sum <= size && !s3_list_take(&halves, &other)));
    CHECK(error != 0 || bytes_equal(s3_list_token(&whole), s3_list_token(&halves)));
    s3_list_deinit(&whole);
    s3_list_deinit(&halves);
    return 0;
}
