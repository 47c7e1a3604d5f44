#include "proxy/tags.h"

#include "proxy/head.h"

static bool is_separator(uint8_t c)
{
    return c == ' ' || c == '\t' || c == ',';
}

/* The next word of the text; false at its end. */
static bool next_word(struct bytes *text, struct bytes *word)
{
    while (text->len && is_separator(*text->ptr))
        *text = bytes_from(*text, 1);
    size_t len = 0;
    while (len < text->len && !is_separator(text->ptr[len]))
        len++;
    *word = bytes_of(text->ptr, len);
    *text = bytes_from(*text, len);
    return len > 0;
}

static bool is_tag_field(struct bytes name, struct bytes field)
{
    return bytes_equal_nocase(name, BYTES("surrogate-key")) || bytes_equal_nocase(name, BYTES("cache-tag")) ||
           (field.len && bytes_equal_nocase(name, field));
}

struct bytes tags_of_lines(struct bytes lines, struct bytes field, struct arena *arena)
{
    struct bytes rest = lines, word;
    struct head_line line;
    size_t room = 1;
    while (head_next_line(&rest, &line))
        if (is_tag_field(line.name, field))
            room += line.value.len + 1;
    uint8_t *at = arena_take(arena, room);
    if (!at)
        return (struct bytes){0};
    struct writer w = writer_of(at, room);
    for (rest = lines; head_next_line(&rest, &line);)
        while (is_tag_field(line.name, field) && next_word(&line.value, &word)) {
            if (writer_bytes(&w).len)
                write_u8(&w, ' ');
            write_bytes(&w, word);
        }
    CHECK(!w.failed);
    return writer_bytes(&w).len <= TAGS_MAX ? writer_bytes(&w) : (struct bytes){0};
}

bool tags_have(struct bytes tags, struct bytes tag)
{
    struct bytes word;
    while (next_word(&tags, &word))
        if (bytes_equal(word, tag))
            return true;
    return false;
}

bool tags_valid(struct bytes tag)
{
    for (size_t i = 0; i < tag.len; i++)
        if (is_separator(tag.ptr[i]) || tag.ptr[i] < 0x20 || tag.ptr[i] == 0x7f)
            return false;
    return tag.len > 0;
}
