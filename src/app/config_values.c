#include "app/config_values.h"

#include <stdio.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "io/io.h"

/* ---- parsers of one type each: false where the text is no such value ---- */

static bool parse_bool(const char *text, uint64_t *number)
{
    *number = strcmp(text, "true") == 0;
    return *number || strcmp(text, "false") == 0;
}

struct unit {
    const char *name;
    uint64_t factor;
};

/* Digits and one of the units; an empty name stands for none. */
static bool parse_with_unit(const char *text, const struct unit *units, size_t count, uint64_t *number)
{
    size_t digits = strspn(text, "0123456789");
    uint64_t value;
    if (!bytes_to_u64(bytes_of(text, digits), &value))
        return false;
    for (size_t i = 0; i < count; i++)
        if (strcmp(text + digits, units[i].name) == 0)
            return !__builtin_mul_overflow(value, units[i].factor, number);
    return false;
}

static bool parse_integer(const char *text, uint64_t *number)
{
    return bytes_to_u64(bytes_of_string(text), number);
}

static bool parse_seconds(const char *text, uint64_t *ns)
{
    static const struct unit units[] = {
        {"", NS_PER_S}, {"ms", NS_PER_MS}, {"s", NS_PER_S}, {"m", 60 * NS_PER_S}, {"h", 3600 * NS_PER_S}};
    return parse_with_unit(text, units, sizeof units / sizeof *units, ns);
}

static bool parse_size(const char *text, uint64_t *size_bytes)
{
    static const struct unit units[] = {{"", 1}, {"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30},
        {"kB", 1000}, {"MB", 1000000}, {"GB", 1000000000}};
    return parse_with_unit(text, units, sizeof units / sizeof *units, size_bytes);
}

/* Length of the word at the start of a list divided by '|'. */
static size_t word_len(const char *words)
{
    return strcspn(words, "|");
}

static bool parse_word(const char *text, const char *words, uint64_t *index)
{
    for (*index = 0; *words; (*index)++) {
        size_t len = word_len(words);
        if (strlen(text) == len && strncmp(text, words, len) == 0)
            return true;
        words += len + (words[len] == '|');
    }
    return false;
}

/* "1.2.3.4", "1.2.3.4:80", "::1", "[::1]:80"; *host into the arena. */
static bool parse_address(const char *text, struct arena *arena, struct config_value *value)
{
    struct io_address address;
    const char *colon = strrchr(text, ':');
    uint64_t port = 0;
    bool bracketed = text[0] == '[';
    bool has_port = colon && (bracketed ? colon > text && colon[-1] == ']' : strchr(text, ':') == colon);
    if (has_port && (!bytes_to_u64(bytes_of_string(colon + 1), &port) || port == 0 || port > 65535))
        return false;
    size_t len = has_port ? (size_t)(colon - text) : strlen(text);
    if (bracketed && (len < 2 || text[len - 1] != ']'))
        return false;
    char *host = arena_take(arena, len + 1);
    if (host == NULL)
        return false;
    size_t host_len = bracketed ? len - 2 : len;
    memcpy(host, text + bracketed, host_len);
    host[host_len] = 0;
    value->text = host;
    value->number = port;
    return io_address_parse(&address, host, 1) == 0;
}

static bool has_control(const char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            return true;
    return false;
}

/* Without trailing slashes, but for "/" alone. */
static bool parse_prefix(const char *text, struct arena *arena, struct config_value *value)
{
    size_t len = strlen(text);
    if (text[0] != '/' || len > 1024 || has_control(text))
        return false;
    for (const char *at = text; at; at = strchr(at + 1, '/')) {
        size_t segment = strcspn(at + 1, "/");
        if ((segment == 1 && at[1] == '.') || (segment == 2 && at[1] == '.' && at[2] == '.'))
            return false;
    }
    while (len > 1 && text[len - 1] == '/')
        len--;
    char *copy = arena_take(arena, len + 1);
    if (copy == NULL)
        return false;
    memcpy(copy, text, len);
    copy[len] = 0;
    value->text = copy;
    return true;
}

static bool parse_url(const char *text)
{
    static const char *const schemes[] = {"http://", "https://"};
    if (has_control(text) || strpbrk(text, "?#") != NULL)
        return false;
    if (strncmp(text, "file:///", 8) == 0)
        return true;
    for (size_t i = 0; i < 2; i++) {
        size_t len = strlen(schemes[i]);
        if (strncmp(text, schemes[i], len) == 0)
            return text[len] != 0 && text[len] != '/' && strpbrk(text, "@ \\") == NULL;
    }
    return false;
}

static bool parse_string(const struct config_key *key, const char *text)
{
    size_t len = strlen(text);
    return len >= key->min && len <= 4096 && !has_control(text);
}

static bool within(const struct config_key *key, uint64_t number, uint64_t unit)
{
    return (key->min == 0 && key->max == 0) || (number >= key->min * unit && number <= key->max * unit);
}

static bool parse_scalar(
    const struct config_key *key, const char *text, struct arena *arena, struct config_value *value)
{
    value->text = text;
    switch (key->type) {
    case CONFIG_BOOL:
        return parse_bool(text, &value->number);
    case CONFIG_INTEGER:
        return parse_integer(text, &value->number) && within(key, value->number, 1);
    case CONFIG_SECONDS:
        return parse_seconds(text, &value->number) && within(key, value->number, NS_PER_S);
    case CONFIG_SIZE:
        return parse_size(text, &value->number) && within(key, value->number, 1);
    case CONFIG_WORD:
        return parse_word(text, key->words, &value->number);
    case CONFIG_ADDRESS:
        return parse_address(text, arena, value);
    case CONFIG_PREFIX:
        return parse_prefix(text, arena, value);
    case CONFIG_URL:
        return parse_url(text);
    case CONFIG_HTTP_URL:
        return parse_url(text) && strncmp(text, "http", 4) == 0;
    case CONFIG_PATH:
        return text[0] != 0 && !has_control(text);
    case CONFIG_STRING:
        return parse_string(key, text);
    default:
        UNREACHABLE();
    }
}

static bool parse_words(
    const struct config_key *key, const struct yaml_node *node, struct config_value *value)
{
    for (const struct yaml_node *child = node->first; child; child = child->next) {
        uint64_t index;
        if (child->kind != YAML_SCALAR || !parse_word(child->text, key->words, &index))
            return false;
        if (value->number & (UINT64_C(1) << index))
            return false;
        value->number |= UINT64_C(1) << index;
    }
    return true;
}

static bool is_repeated(const struct config_value *value, const char *text)
{
    for (uint64_t i = 0; i < value->number; i++)
        if (strcmp(value->texts[i], text) == 0)
            return true;
    return false;
}

static bool parse_strings(const struct yaml_node *node, struct arena *arena, struct config_value *value)
{
    size_t room = 1;
    for (const struct yaml_node *child = node->first; child; child = child->next)
        room++;
    const char **texts = arena_take(arena, room * sizeof *texts);
    value->texts = texts;
    for (const struct yaml_node *child = node->first; child && texts; child = child->next) {
        if (child->kind != YAML_SCALAR || child->text[0] == 0 || has_control(child->text) ||
            is_repeated(value, child->text))
            return false;
        texts[value->number++] = child->text;
    }
    return texts != NULL;
}

static bool parse_sequence(const struct config_key *key, const struct yaml_node *node, struct arena *arena,
    struct config_value *value)
{
    if (node->kind != YAML_SEQUENCE)
        return false;
    return key->type == CONFIG_WORDS ? parse_words(key, node, value) : parse_strings(node, arena, value);
}

/* ---- what was expected ---- */

/* "auto, uring or portable" */
static void write_words(struct writer *w, const char *words)
{
    while (*words) {
        size_t len = word_len(words);
        write_bytes(w, bytes_of(words, len));
        words += len;
        if (*words)
            write_format(w, "%s", strchr(words + 1, '|') ? ", " : " or "), words++;
    }
}

static void write_expected(struct writer *w, const struct config_key *key)
{
    unsigned long long low = key->min, high = key->max;
    switch (key->type) {
    case CONFIG_BOOL:
        write_format(w, "true or false");
        break;
    case CONFIG_INTEGER:
        write_format(w, "an integer from %llu to %llu", low, high);
        break;
    case CONFIG_SECONDS:
        write_format(w, "a time from %llu to %llu seconds (as 30, 30s, 500ms, 5m or 1h)", low, high);
        break;
    case CONFIG_SIZE:
        write_format(w, "a size from %llu to %llu bytes (as 65536, 64KiB or 1MiB)", low, high);
        break;
    case CONFIG_WORD:
        write_words(w, key->words);
        break;
    case CONFIG_WORDS:
        write_format(w, "a list of different words out of ");
        write_words(w, key->words);
        break;
    case CONFIG_STRINGS:
        write_format(w, "a list of different texts");
        break;
    case CONFIG_ADDRESS:
        write_format(w, "an IP address, or IP:port");
        break;
    case CONFIG_PREFIX:
        write_format(w, "a path that starts with / and has no . or .. segment");
        break;
    case CONFIG_URL:
        write_format(w, "http://host[:port], https://host[:port] or file:///folder");
        break;
    case CONFIG_HTTP_URL:
        write_format(w, "http://host[:port][/path] or https://host[:port][/path]");
        break;
    case CONFIG_PATH:
        write_format(w, "a path");
        break;
    case CONFIG_STRING:
        write_format(w,
            key->min > 1 ? "a text of at least %llu characters"
            : key->min   ? "a text that is not empty"
                         : "a text",
            low);
        break;
    case CONFIG_MAPPING:
        write_format(w, "a mapping");
        break;
    case CONFIG_LIST:
        write_format(w, "a list of mappings");
        break;
    case CONFIG_ANY:
        write_format(w, "nothing");
    }
}

static void write_found(struct writer *w, const struct config_key *key, const struct yaml_node *node)
{
    if (node->kind == YAML_MAPPING)
        write_format(w, ", found a mapping");
    else if (node->kind == YAML_SEQUENCE && key->type == CONFIG_WORDS)
        write_format(w, ", found another word or the same twice");
    else if (node->kind == YAML_SEQUENCE && key->type == CONFIG_STRINGS)
        write_format(w, ", found something else, or the same twice");
    else if (node->kind == YAML_SEQUENCE)
        write_format(w, ", found a list");
    else if (key->secret || node->replaced)
        return; /* may be a secret */
    else if (node->quoted && (key->type == CONFIG_BOOL || key->type == CONFIG_INTEGER))
        write_format(w, ", found a text in quotes");
    else {
        write_format(w, ", found \"");
        for (size_t i = 0; node->text[i] && i < 60; i++)
            write_u8(w, (unsigned char)node->text[i] < 0x20 ? '?' : (uint8_t)node->text[i]);
        write_format(w, "\"");
    }
}

static void finish_text(struct writer *w, char *text)
{
    size_t len = writer_bytes(w).len;
    text[len < CONFIG_EXPECTED_MAX ? len : CONFIG_EXPECTED_MAX - 1] = 0;
}

void config_value_expected(const struct config_key *key, char expected[CONFIG_EXPECTED_MAX])
{
    struct writer w = writer_of(expected, CONFIG_EXPECTED_MAX - 1);
    write_format(&w, "expected ");
    write_expected(&w, key);
    CHECK(!w.failed);
    finish_text(&w, expected);
}

bool config_value_parse(const struct config_key *key, const struct yaml_node *node, struct arena *arena,
    struct config_value *value, char expected[CONFIG_EXPECTED_MAX])
{
    *value = (struct config_value){.given = true, .line = node->line};
    bool strict = key->type == CONFIG_BOOL || key->type == CONFIG_INTEGER;
    bool fits = key->type == CONFIG_WORDS || key->type == CONFIG_STRINGS
                    ? parse_sequence(key, node, arena, value)
                    : node->kind == YAML_SCALAR && !(strict && node->quoted && !node->replaced) &&
                          parse_scalar(key, node->text, arena, value);
    if (fits)
        return true;
    struct writer w = writer_of(expected, CONFIG_EXPECTED_MAX - 1);
    write_format(&w, "expected ");
    write_expected(&w, key);
    write_found(&w, key, node);
    finish_text(&w, expected);
    return false;
}

void config_value_fall_back(const struct config_key *key, struct arena *arena, struct config_value *value)
{
    if (key->fallback)
        CHECK(parse_scalar(key, key->fallback, arena, value));
}
