#include "http/fields.h"

/* tchar of RFC 9110 5.6.2, one bit for each byte. */
static const uint32_t token_bits[8] = {0x00000000, 0x03FF6CFA, 0xC7FFFFFE, 0x57FFFFFF, 0, 0, 0, 0};

static bool is_token_char(uint8_t c)
{
    return token_bits[c >> 5] >> (c & 31) & 1;
}

bool http_is_token(struct bytes a)
{
    for (size_t i = 0; i < a.len; i++)
        if (!is_token_char(a.ptr[i]))
            return false;
    return a.len > 0;
}

bool http_is_field_value(struct bytes a)
{
    for (size_t i = 0; i < a.len; i++)
        if ((a.ptr[i] < ' ' && a.ptr[i] != '\t') || a.ptr[i] == 0x7F)
            return false;
    return true;
}

static const struct http_field *find_from(const struct http_fields *fields, unsigned from, struct bytes name)
{
    for (unsigned i = from; i < fields->count; i++)
        if (bytes_equal_nocase(fields->fields[i].name, name))
            return &fields->fields[i];
    return NULL;
}

const struct http_field *http_fields_find(const struct http_fields *fields, struct bytes name)
{
    return find_from(fields, 0, name);
}

const struct http_field *http_fields_next(const struct http_fields *fields, const struct http_field *field)
{
    CHECK(field >= fields->fields && field < fields->fields + fields->count);
    return find_from(fields, (unsigned)(field - fields->fields) + 1, field->name);
}

unsigned http_fields_count(const struct http_fields *fields, struct bytes name)
{
    unsigned count = 0;
    for (unsigned i = 0; i < fields->count; i++)
        count += bytes_equal_nocase(fields->fields[i].name, name);
    return count;
}

struct bytes http_fields_value(const struct http_fields *fields, struct bytes name)
{
    const struct http_field *field = http_fields_find(fields, name);
    return field ? field->value : bytes_of(NULL, 0);
}

struct http_list http_list_of(const struct http_fields *fields, struct bytes name)
{
    const struct http_field *field = http_fields_find(fields, name);
    return (struct http_list){fields, field, field ? field->value : bytes_of(NULL, 0)};
}

struct http_list http_list_of_value(struct bytes value)
{
    return (struct http_list){.rest = value};
}

/* Length of the member that `rest` starts with: up to a comma outside quotes. */
static size_t member_len(struct bytes rest)
{
    bool quoted = false;
    size_t i = 0;
    for (; i < rest.len && (quoted || rest.ptr[i] != ','); i++)
        if (rest.ptr[i] == '"')
            quoted = !quoted;
        else if (quoted && rest.ptr[i] == '\\' && i + 1 < rest.len)
            i++;
    return i;
}

bool http_list_next(struct http_list *list, struct bytes *member)
{
    for (;;) {
        while (list->rest.len > 0) {
            size_t len = member_len(list->rest);
            *member = bytes_trim(bytes_of(list->rest.ptr, len));
            list->rest = bytes_from(list->rest, len < list->rest.len ? len + 1 : len);
            if (member->len > 0)
                return true;
        }
        if (list->field != NULL)
            list->field = http_fields_next(list->fields, list->field);
        if (list->field == NULL)
            return false;
        list->rest = list->field->value;
    }
}

bool http_list_has(struct http_list list, struct bytes token)
{
    for (struct bytes member; http_list_next(&list, &member);)
        if (bytes_equal_nocase(member, token))
            return true;
    return false;
}
