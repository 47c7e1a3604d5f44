/*
 * Reads frames "item|list|dictionary length\n" + bytes from standard input and answers each by one line of
 * JSON: null where it is invalid, else what it says, keys in the order in which they come. For
 * structured_vectors.py.
 */
#include <stdio.h>
#include <stdlib.h>

#include "http/structured.h"

static const char *const type_names[] = {
    "integer", "decimal", "string", "token", "bytes", "boolean", "date", "display", "inner"};

static void print_member(const struct structured_member *member);

/* Text goes as hex, so that nothing has to be escaped. */
static void print_hex(struct bytes text)
{
    putchar('"');
    for (size_t i = 0; i < text.len; i++)
        printf("%02x", text.ptr[i]);
    putchar('"');
}

static void print_value(const struct structured_value *value)
{
    uint8_t *buf = malloc(value->text.len + 1);
    struct bytes rest = value->text;
    const char *comma = "";
    printf("[\"%s\",", type_names[value->type]);
    if (value->type == STRUCTURED_INNER) {
        printf("[");
        for (struct structured_member item; structured_next_inner(&rest, &item); comma = ",") {
            printf("%s", comma);
            print_member(&item);
        }
        printf("]");
    } else if (value->text.ptr) {
        print_hex(structured_decode(value, buf));
    } else {
        printf("%lld", (long long)value->number);
    }
    printf("]");
    free(buf);
}

static void print_member(const struct structured_member *member)
{
    struct bytes rest = member->parameters, key;
    const char *comma = "";
    printf("[");
    print_hex(member->key);
    printf(",");
    print_value(&member->value);
    printf(",[");
    for (struct structured_value value; structured_next_parameter(&rest, &key, &value); comma = ",") {
        printf("%s[", comma);
        print_hex(key);
        printf(",");
        print_value(&value);
        printf("]");
    }
    printf("]]");
}

static void print_field(enum structured_kind kind, struct bytes field)
{
    const char *comma = "";
    if (!structured_check(kind, field)) {
        printf("null\n");
        return;
    }
    printf("[");
    for (struct structured_member member; structured_next_member(kind, &field, &member); comma = ",") {
        printf("%s", comma);
        print_member(&member);
    }
    printf("]\n");
}

int main(void)
{
    char name[16];
    size_t len;
    while (scanf("%15s %zu", name, &len) == 2 && getchar() == '\n') {
        uint8_t *bytes = malloc(len + 1);
        if (fread(bytes, 1, len, stdin) != len)
            return 1;
        print_field(*name == 'i'   ? STRUCTURED_ITEM
                    : *name == 'l' ? STRUCTURED_LIST
                                   : STRUCTURED_DICTIONARY,
            bytes_of(bytes, len));
        free(bytes);
    }
    return 0;
}
