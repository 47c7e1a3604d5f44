#include "http/cache_control.h"

#include "http/fields.h"
#include "http/structured.h"

enum kind { FLAG, NAMES, SECONDS };

static const struct directive {
    struct bytes name;
    enum kind kind;
    size_t offset, names_offset;
} directives[] = {
#define FLAG_ROW(text, member)                                                                               \
    {                                                                                                        \
        BYTES(text), FLAG, offsetof(struct cache_control, member)                                            \
    }
#define NAMES_ROW(text, member, names)                                                                       \
    {                                                                                                        \
        BYTES(text), NAMES, offsetof(struct cache_control, member), offsetof(struct cache_control, names)    \
    }
#define SECONDS_ROW(text, member)                                                                            \
    {                                                                                                        \
        BYTES(text), SECONDS, offsetof(struct cache_control, member)                                         \
    }
    FLAG_ROW("no-store", no_store),
    NAMES_ROW("no-cache", no_cache, no_cache_fields),
    NAMES_ROW("private", is_private, private_fields),
    FLAG_ROW("public", is_public),
    FLAG_ROW("must-revalidate", must_revalidate),
    FLAG_ROW("proxy-revalidate", proxy_revalidate),
    FLAG_ROW("must-understand", must_understand),
    FLAG_ROW("immutable", immutable),
    FLAG_ROW("no-transform", no_transform),
    SECONDS_ROW("max-age", max_age_s),
    SECONDS_ROW("s-maxage", s_maxage_s),
    SECONDS_ROW("stale-while-revalidate", stale_while_revalidate_s),
    SECONDS_ROW("stale-if-error", stale_if_error_s),
};

void cache_control_init(struct cache_control *control)
{
    *control = (struct cache_control){
        .max_age_s = DELTA_SECONDS_NONE,
        .s_maxage_s = DELTA_SECONDS_NONE,
        .stale_while_revalidate_s = DELTA_SECONDS_NONE,
        .stale_if_error_s = DELTA_SECONDS_NONE,
    };
}

bool delta_seconds_parse(struct bytes text, int64_t *seconds)
{
    int64_t sum = 0;
    if (text.len == 0)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9')
            return false;
        sum = sum * 10 + (text.ptr[i] - '0');
        if (sum > DELTA_SECONDS_MAX)
            sum = DELTA_SECONDS_MAX;
    }
    *seconds = sum;
    return true;
}

/* End of the quoted string that starts at `from`, one past its closing quote; 0 where it never closes. */
static size_t quoted_end(struct bytes text, size_t from)
{
    for (size_t i = from + 1; i < text.len; i++) {
        if (text.ptr[i] == '\\')
            i++;
        else if (text.ptr[i] == '"')
            return i + 1;
    }
    return 0;
}

/* Takes what stands before the next comma outside quotes. A quote that never closes is an ordinary character,
 * so that it can't hide a no-store behind it. */
static struct bytes take_element(struct bytes *list)
{
    size_t at = 0;
    bool closes = true;
    while (at < list->len && list->ptr[at] != ',') {
        size_t end = closes && list->ptr[at] == '"' ? quoted_end(*list, at) : 0;
        closes = closes && (list->ptr[at] != '"' || end > 0);
        at = end > 0 ? end : at + 1;
    }
    struct bytes element = bytes_of(list->ptr, at);
    *list = bytes_from(*list, at < list->len ? at + 1 : at);
    return bytes_trim(element);
}

/* Numbers need no escapes: only the quotes around them are removed. */
static struct bytes unquote(struct bytes argument)
{
    if (argument.len >= 2 && argument.ptr[0] == '"' && argument.ptr[argument.len - 1] == '"')
        return bytes_of(argument.ptr + 1, argument.len - 2);
    return argument;
}

static void set_seconds(int64_t *slot, struct bytes argument)
{
    int64_t seconds;
    if (!delta_seconds_parse(unquote(argument), &seconds))
        seconds = 0;
    *slot = *slot == DELTA_SECONDS_NONE || *slot == seconds ? seconds : 0;
}

/* A list of field names, at least one, and nothing else. */
static bool are_names(struct bytes argument)
{
    struct http_list list = http_list_of_value(argument);
    unsigned count = 0;
    for (struct bytes name; http_list_next(&list, &name); count++)
        if (!http_is_token(name))
            return false;
    return count > 0;
}

static void set_names(bool *flag, struct named_fields *named, struct bytes argument)
{
    if (are_names(argument) && named->count < CACHE_CONTROL_LISTS)
        named->lists[named->count++] = argument;
    else
        *flag = true;
}

static void apply(struct cache_control *control, const struct directive *directive, struct bytes argument)
{
    char *slot = (char *)control + directive->offset;
    if (directive->kind == FLAG)
        *(bool *)slot = true;
    else if (directive->kind == NAMES)
        set_names((bool *)slot, (struct named_fields *)(void *)((char *)control + directive->names_offset),
            unquote(argument));
    else
        set_seconds((int64_t *)(void *)slot, argument);
}

static const struct directive *directive_of(struct bytes name)
{
    for (size_t i = 0; i < sizeof directives / sizeof *directives; i++)
        if (bytes_equal_nocase(name, directives[i].name))
            return &directives[i];
    return NULL;
}

static void add_element(struct cache_control *control, struct bytes element)
{
    const uint8_t *equals = memchr(element.ptr, '=', element.len);
    size_t name_len = equals ? (size_t)(equals - element.ptr) : element.len;
    struct bytes argument = bytes_from(element, equals ? name_len + 1 : name_len);
    /* A blank before `=` is malformed; the name still counts, and the blank spoils a number. */
    struct bytes name = bytes_trim(bytes_of(element.ptr, name_len));
    if (name.len != name_len)
        argument = bytes_of(NULL, 0);
    const struct directive *directive = directive_of(name);
    if (directive)
        apply(control, directive, argument);
}

void cache_control_add(struct cache_control *control, struct bytes value)
{
    while (value.len > 0) {
        struct bytes element = take_element(&value);
        if (element.len > 0)
            add_element(control, element);
    }
}

/* ---- targeted fields ---- */

/* The directive is as if it had not come before. */
static void forget(struct cache_control *control, const struct directive *directive)
{
    char *slot = (char *)control + directive->offset;
    if (directive->kind == SECONDS) {
        *(int64_t *)(void *)slot = DELTA_SECONDS_NONE;
        return;
    }
    *(bool *)slot = false;
    if (directive->kind == NAMES)
        ((struct named_fields *)(void *)((char *)control + directive->names_offset))->count = 0;
}

static int64_t member_seconds(const struct structured_value *value)
{
    if (value->type != STRUCTURED_INTEGER || value->number < 0)
        return 0;
    return value->number > DELTA_SECONDS_MAX ? DELTA_SECONDS_MAX : value->number;
}

static void apply_member(struct cache_control *control, const struct structured_member *member)
{
    const struct directive *directive = directive_of(member->key);
    if (!directive)
        return;
    forget(control, directive);
    if (directive->kind == SECONDS)
        *(int64_t *)(void *)((char *)control + directive->offset) = member_seconds(&member->value);
    else if (member->value.type != STRUCTURED_BOOLEAN || member->value.number)
        apply(control, directive, member->value.text);
}

bool cache_control_targeted(struct cache_control *control, struct bytes value)
{
    struct structured_member member;
    unsigned count = 0;
    if (!structured_check(STRUCTURED_DICTIONARY, value))
        return false;
    for (; structured_next_member(STRUCTURED_DICTIONARY, &value, &member); count++)
        apply_member(control, &member);
    return count > 0;
}

bool named_fields_have(const struct named_fields *named, struct bytes name)
{
    for (unsigned i = 0; i < named->count; i++)
        if (http_list_has(http_list_of_value(named->lists[i]), name))
            return true;
    return false;
}
