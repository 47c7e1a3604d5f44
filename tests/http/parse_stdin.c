/*
 * Reads frames "length\n" + bytes from standard input and tells what the parser makes of each, once whole and
 * once byte by byte: the text of describe.h, then "---". For vectors.py.
 */
#include <stdio.h>
#include <stdlib.h>

#include "describe.h"

static char *told(const uint8_t *bytes, size_t len, size_t step)
{
    static struct describe describe;
    describe_begin(&describe, &(struct http_limits){0});
    for (size_t at = 0; at < len; at += step)
        describe_feed(&describe, bytes_of(bytes + at, len - at < step ? len - at : step));
    return strdup(describe_end(&describe));
}

int main(void)
{
    size_t len;
    while (scanf("%zu", &len) == 1 && getchar() == '\n') {
        uint8_t *bytes = malloc(len + 1);
        if (fread(bytes, 1, len, stdin) != len)
            return 1;
        char *whole = told(bytes, len, len + 1), *single = told(bytes, len, 1);
        if (strcmp(whole, single) != 0)
            printf("SPLITS DIFFER\n%s", single);
        printf("%s---\n", whole);
        free(whole);
        free(single);
        free(bytes);
    }
    return 0;
}
